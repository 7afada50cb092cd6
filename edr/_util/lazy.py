"""Packages that load their names when they are first used (PEP 562).

Importing pydantic and asyncio takes most of the time that edr takes to start. Programs that need
neither, such as the command line's client, therefore import edr's packages without their contents.

Example, the ``__init__`` of a package::

    from typing import TYPE_CHECKING

    from edr._util.lazy import lazy_names

    if TYPE_CHECKING:  # type checkers and editors see plain imports
        from edr.wire import text as text
        from edr.wire.formats import wire_format as wire_format
    else:
        __getattr__, __dir__ = lazy_names(
            __name__, {"edr.wire.formats": "wire_format"}, modules="text"
        )

    __all__ = ["text", "wire_format"]

A test compares the three lists. A lazy name must not be the name of a submodule: importing the
submodule would set the attribute to it.

Thread safety: the import system has a lock for each module, so threads that use a name at the same
time wait for one import and receive the same object.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

tables: dict[str, dict[str, str | None]] = {}
"""Each lazy package, with its names and the module of each; ``None`` for a module of its own."""


def lazy_names(
    package: str, names: Mapping[str, str], *, modules: str = "", extra: str = ""
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` for the ``__init__`` of a package.

    Args:
        package: ``__name__`` of the package.
        names: modules, and the names that each one defines, separated by white space.
        modules: modules of the package that are attributes of it, separated by white space.
        extra: the extra of edr that installs the libraries which the package needs, for the error
            when one of them is missing.
    """
    table: dict[str, str | None] = dict.fromkeys(modules.split())
    table |= {name: source for source, listed in names.items() for name in listed.split()}
    tables[package] = table

    def load(name: str) -> Any:
        module = sys.modules[package]
        if name not in table:
            raise AttributeError(
                f"module {package!r} has no attribute {name!r}", name=name, obj=module
            )
        source = table[name]
        if source is None:
            return import_module(f"{package}.{name}")  # which sets the attribute
        try:
            value = getattr(import_module(source), name)
        except ModuleNotFoundError as exc:
            if not extra or (exc.name or "").startswith("edr"):
                raise
            raise ImportError(
                f"{package} needs {exc.name}: install edr with its extra {extra!r}", name=exc.name
            ) from exc
        setattr(module, name, value)  # so that the next use does not come here
        return value

    def public_names() -> list[str]:
        loaded = vars(sys.modules[package])
        private = {name for name in loaded if name.startswith("_")}
        return sorted(private | table.keys() | set(loaded.get("__all__", ())))

    return load, public_names


def show_in_facade(source: str, facade: str = "edr") -> None:
    """Make the public names of ``source`` belong to ``facade``, whichever is imported first.

    Tracebacks, reprs and pickles then name ``edr.Event``. The facade receives all these names at
    once, because ``typing.get_type_hints`` reads the module of a class and does not load names.

    Call it at the end of ``source``, a module in the table of ``facade``.
    """
    shown = vars(sys.modules[source])
    for name, defined_in in tables[facade].items():
        if defined_in == source:
            shown[name].__module__ = facade
            setattr(sys.modules[facade], name, shown[name])
