"""``load_function``: a function of the user's that a configuration names."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any


def load_function(path: str) -> Callable[..., Any]:
    """Return the function at ``package.module:function``. Its module is imported.

    Raises:
        Exception: the import failed, the module does not have the name, or it is not a function.
    """
    module, _, name = path.partition(":")
    found: Any = import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    if not callable(found):
        raise TypeError("it must be a function")
    function: Callable[..., Any] = found
    return function
