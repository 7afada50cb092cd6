"""``Source``: the interface of every source, and its counts.

An application starts its sources last and drains them first. ``drain`` ends the reading, and
answers the lines that were read. So no event is accepted that the journal has not stored.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from edr._util.log import logger
from edr.delivery import FaultLog
from edr.errors import shown
from edr.records import Binding
from edr.sources.ingest import Ingest, Stored


@dataclass(frozen=True, slots=True)
class SourceStatistics:
    """The counts of a source at one moment."""

    state: str
    """``new``, ``running``, ``waiting`` (the journal cannot store), ``retrying``, ``stopping``,
    ``stopped``, or ``ended``."""
    accepted: int
    """Events that the journal has stored."""
    refused: int
    """Lines that were not valid events, or whose events may not be stored."""
    failed: int
    """Calls and connections that ended because the journal failed."""
    connections: int
    """Open connections, or requests in progress."""
    last_error: str | None
    """The last fault."""
    missed: int = 0
    """Entries that the journal of a ``JetStreamSource`` lost before they were read."""


class Source(Protocol):
    """Brings events of the outside to a bus.

    It is a ``Service``, and a part of ``edr.control`` of kind ``source``.
    """

    @property
    def name(self) -> str:
        """Its name, unique among the sources of a program."""
        ...

    @property
    def kind(self) -> str:
        """``"source"``."""
        ...

    @property
    def bindings(self) -> Sequence[Binding]:
        """Always empty: a source takes no events of the bus."""
        ...

    @property
    def is_durable(self) -> bool:
        """Always true: events are answered after they are stored, so ``drain`` leaves none."""
        ...

    async def start(self) -> None:
        """Start reading. Idempotent."""
        ...

    async def drain(self, timeout: float | None = None) -> int:
        """Stop reading, store and answer the lines that were read, close, and return 0.

        Idempotent. Waiting: until the journal has stored their events, for ``timeout`` seconds at
        most; ``None`` for no limit. Then it closes as ``aclose`` does. Cancellation: the reading
        stays stopped, and the lines are still stored and answered, until ``aclose``.
        """
        ...

    async def aclose(self) -> None:
        """Close now. Lines without an answer may or may not be stored. Idempotent."""
        ...

    def statistics(self) -> SourceStatistics:
        """Return the counts of this moment."""
        ...

    def status(self) -> dict[str, Any]:
        """Return the state and the counts, as ``edr top`` shows them."""
        ...


async def drain_within(
    timeout: float | None,
    stop: Callable[[], Awaitable[None]],
    aclose: Callable[[], Awaitable[None]],
) -> int:
    """Call ``stop``, for ``timeout`` seconds at most, then ``aclose``, and return 0."""
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout):
            await stop()
    await aclose()
    return 0


class Counts:
    """The counts and the log of one source.

    Args:
        name: the name of the source.
        ingest: stores its events.
    """

    def __init__(self, name: str, ingest: Ingest) -> None:
        self._ingest = ingest
        self.state: str = "new"
        self.connections: int = 0
        self.missed: int = 0
        self._accepted = 0
        self._refused = 0
        self._failed = 0
        self._log = FaultLog(f"source {name!r}", logger)

    def add(self, stored: Stored) -> None:
        """Count a result of ``Ingest.store``."""
        self._accepted += stored.accepted
        self._refused += stored.refused
        if stored.error is not None:
            self.failed(stored.error)
        if stored.example is not None:
            line, path, reason = stored.example
            fault = shown(f"{path}: {reason}" if path else reason, 300)
            self._log.fault(
                logging.WARNING,
                "refused",
                "refused %d lines, such as line %d: %s",
                stored.refused,
                line,
                fault,
            )

    def failed(self, reason: str) -> None:
        """Count a connection or a call that a fault ended."""
        self._failed += 1
        self._log.last_error = reason

    def fault(self, level: int, message: str, *args: object) -> None:
        """Log a fault of the source itself."""
        self._log.last_error = message % args
        self._log.fault(level, message, message, *args)

    def statistics(self) -> SourceStatistics:
        """Return the counts of this moment."""
        is_waiting = self.state == "running" and self._ingest.error is not None
        return SourceStatistics(
            state="waiting" if is_waiting else self.state,
            accepted=self._accepted,
            refused=self._refused,
            failed=self._failed,
            connections=self.connections,
            last_error=self._log.last_error,
            missed=self.missed,
        )

    def status(self) -> dict[str, Any]:
        """Return the counts as a part of ``edr.control`` shows them."""
        counts = self.statistics()
        lost = {"refused": counts.refused, "missed": counts.missed}
        return {
            "state": counts.state,
            "offered": counts.accepted + counts.refused,
            "delivered": counts.accepted,
            "lost": {name: count for name, count in lost.items() if count},
            "error": None if counts.state == "running" else counts.last_error,
            "last_error": counts.last_error,
            "connections": counts.connections,
            "failed": counts.failed,
        }
