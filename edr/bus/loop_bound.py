"""``LoopBound``: what belongs to one event loop, one thread and one process, until it is closed.

A bus is used from coroutines that trust it to be in their own loop. Whoever uses it from another
loop or thread, or in a fork, or after its end, hears so at once, with the call to use instead.

The hot path asks one question: is this thread ``_thread``? It is 0, which is no thread's, while
the bus cannot be used as it is; ``enter`` finds out why.
"""

from __future__ import annotations

import asyncio
import os
import weakref
from threading import get_ident
from typing import Any

from edr.errors import BusClosedError, WrongLoopError


class LoopBound:
    """Knows its loop from the first use on, and refuses any other."""

    def __init__(self) -> None:
        self._loop: Any = None
        self._thread = 0
        self._closed = False
        self._pid = os.getpid()
        _all.add(self)

    def enter(self) -> asyncio.AbstractEventLoop:
        """Make the running loop the bus's own, if it has none yet, and return it.

        Every method that needs it does this; call it yourself only to fix the loop early.

        Raises:
            BusClosedError: the bus was drained or closed.
            WrongLoopError: it belongs to another loop or thread, or to the process that forked.
        """
        self._check_open()
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise WrongLoopError(
                f"no event loop runs in this thread; from here, use emit_threadsafe of {self!r}"
            ) from None
        if self._loop is None:
            self._loop = loop
            self._thread = get_ident()
            self._entered(loop)
        elif self._loop is not loop:
            raise WrongLoopError(
                f"{self!r} belongs to another event loop; "
                "use emit_threadsafe, or a bus for each loop"
            )
        return loop

    def _entered(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin what needs a loop. Called once."""
        raise NotImplementedError

    def _check_open(self) -> None:
        """Raise if it is closed, or the parent's of this process."""
        if self._closed:
            raise BusClosedError(f"{self!r} was drained or closed")
        if self._pid != os.getpid():
            raise WrongLoopError(
                f"{self!r} belongs to process {self._pid}, which forked; "
                "make a new event loop in the child, and a new bus there"
            )

    def check_usable(self) -> None:
        """Let through before any loop has used it, and in its own."""
        self._check_open()
        if self._loop is not None or is_loop_running():
            self.enter()

    def _is_elsewhere(self) -> bool:
        """Tell whether this thread is not that of the loop, or the process not the loop's."""
        return self._loop is not None and not _runs_here(self._loop)


def _runs_here(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def is_loop_running() -> bool:
    """Tell whether an event loop runs in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


_all: weakref.WeakSet[LoopBound] = weakref.WeakSet()


def _after_fork() -> None:
    for each in _all:
        each._thread = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
