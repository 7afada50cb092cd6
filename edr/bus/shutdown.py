"""``Shutdown``: how a program that ``edr.run`` runs comes to its end, for all buses of its loop."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edr.bus.lifecycle import Lifecycle


class Shutdown:
    """The end of one program: until when its buses may drain, and whether they left anything.

    Args:
        timeout: seconds for which all buses together may drain; ``None`` for no limit.
    """

    def __init__(self, timeout: float | None) -> None:
        self.is_requested: bool = False
        """Whether a signal asked for the end."""
        self.unprocessed: int = 0
        """Events that buses of the loop dropped or refused at their end."""
        self._timeout = timeout
        self._deadline: float | None = None
        self._buses: weakref.WeakKeyDictionary[Lifecycle, None] = weakref.WeakKeyDictionary()

    def add(self, bus: Lifecycle) -> None:
        """Add a bus of the loop."""
        self._buses[bus] = None

    @property
    def buses(self) -> list[Lifecycle]:
        """The buses of the loop, in the order of their first use."""
        return list(self._buses)

    def remaining(self) -> float | None:
        """Return the seconds that are left to drain, counted from the first call."""
        if self._timeout is None:
            return None
        now = asyncio.get_running_loop().time()
        if self._deadline is None:
            self._deadline = now + self._timeout
        return max(0.0, self._deadline - now)


_shutdowns: dict[asyncio.AbstractEventLoop, Shutdown] = {}


def shutdown_of(loop: asyncio.AbstractEventLoop | None) -> Shutdown | None:
    """Return the shutdown of the program that runs in ``loop``, if ``edr.run`` runs it."""
    return None if loop is None else _shutdowns.get(loop)


def is_program_ending(loop: asyncio.AbstractEventLoop | None) -> bool:
    """Return whether a signal told the program of ``loop`` to end."""
    shutdown = shutdown_of(loop)
    return shutdown is not None and shutdown.is_requested


def count_unprocessed(loop: asyncio.AbstractEventLoop | None, count: int) -> None:
    """Count events that were not processed, for the exit status of ``edr.run``."""
    shutdown = shutdown_of(loop)
    if shutdown is not None:
        shutdown.unprocessed += count


@contextmanager
def shutdown_in(loop: asyncio.AbstractEventLoop, timeout: float | None) -> Iterator[Shutdown]:
    """Make the shutdown of ``loop`` for as long as ``edr.run`` runs there."""
    shutdown = _shutdowns[loop] = Shutdown(timeout)
    try:
        yield shutdown
    finally:
        del _shutdowns[loop]
