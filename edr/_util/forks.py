"""Objects that must change in a child process after ``os.fork``."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar
from weakref import WeakSet

T = TypeVar("T")


def tracked_across_forks(in_child: Callable[[T], object]) -> WeakSet[T]:
    """Return a set of objects, on each of which a forked child process calls ``in_child``.

    The set does not keep its objects alive. Call this once for each class, at import time: a
    registration with the interpreter stays until the process exits.
    """
    objects: WeakSet[T] = WeakSet()

    def after_fork() -> None:
        for each in list(objects):
            in_child(each)

    if hasattr(os, "register_at_fork"):  # not on Windows
        os.register_at_fork(after_in_child=after_fork)
    return objects
