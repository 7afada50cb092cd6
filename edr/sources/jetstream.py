"""``JetStreamSource``: the entries of a journal that other processes write, such as a stream.

An entry is acknowledged after the journal of the bus has stored its event. So a crash in between
repeats entries, with the same ids, and loses none.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any, Literal, TypeVar

from edr._util.backoff import Backoff
from edr.bus import Gap
from edr.errors import EdrError, JournalError
from edr.journal import Consumer, Entry, Journal
from edr.records import Binding, Event
from edr.sources.answers import Reply
from edr.sources.ingest import Document, Ingest
from edr.sources.reading_task import ReadingTask
from edr.sources.source import Counts, SourceStatistics, drain_within

T = TypeVar("T")

BATCH = 256
"""Entries that are stored together."""

FIRST_PAUSE, MAX_PAUSE = 1.0, 60.0
"""Seconds between attempts to read, doubled up to the last one."""


class JetStreamSource:
    """Publishes the entries of a named consumer, and acknowledges them when they are stored.

    It opens the journal and closes it. While the journal cannot be opened or read, it tries again
    after 1 s, 2 s, and so on up to 60 s. Entries that the journal of the bus refuses, or whose body
    is too large for the bus, are counted as refused, logged and acknowledged.

    Order: by rising position, except for repeated entries. Repetition: after a crash or ``aclose``,
    up to 256 entries, and those acknowledged within the last 0.1 s.

    Args:
        name: its name.
        ingest: stores the events.
        journal: the journal to read, such as a ``JetStreamJournal``. Not the journal of the bus.
        bindings: the entries to read; without bindings, every entry. They replace the stored
            bindings of the consumer.
        consumer: the name of the consumer. Sources with one name share its position.
        start: the first entry of a new consumer.
    """

    kind: str = "source"
    bindings: Sequence[Binding] = ()
    is_durable: bool = True

    def __init__(
        self,
        name: str,
        ingest: Ingest,
        journal: Journal,
        *bindings: Binding,
        consumer: str,
        start: Literal["now", "oldest"] = "now",
    ) -> None:
        self.name: str = name
        self._ingest = ingest
        self._journal = journal
        self._selected = bindings
        self._consumer = consumer
        self._begins: Literal["now", "oldest"] = start
        self._counts = Counts(name, ingest)
        self._backoff = Backoff(FIRST_PAUSE, MAX_PAUSE)
        self._is_stopped = False
        self._waiting: asyncio.Task[Any] | None = None
        self._task = ReadingTask(name, self._counts)

    async def start(self) -> None:
        """Start reading. It does not wait for a connection. Idempotent."""
        if self._counts.state == "new":
            self._task.start(self._run())

    async def drain(self, timeout: float | None = None) -> int:
        """Stop reading, store and acknowledge the entries that were read, close, and return 0.

        Idempotent. Waiting and cancellation: see ``Source.drain``.
        """
        self._is_stopped = True
        return await drain_within(timeout, lambda: self._task.stop(self._interrupt), self.aclose)

    async def aclose(self) -> None:
        """Close now. Entries that were not acknowledged are read again at the next start."""
        await self._task.aclose()

    def statistics(self) -> SourceStatistics:
        """Return the counts of this moment."""
        return self._counts.statistics()

    def status(self) -> dict[str, Any]:
        """Return the state and the counts, as ``edr top`` shows them."""
        return self._counts.status()

    def _interrupt(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()

    async def _run(self) -> None:
        try:
            while not self._is_stopped:
                try:
                    consumer = await self._interruptible(self._open())
                    try:
                        await self._consume(consumer)
                    finally:
                        await consumer.aclose()
                except _StoppedError:
                    raise
                except Exception as exc:  # of the journal, or of its client library
                    await self._pause(exc)
        except _StoppedError:
            pass
        finally:
            self._counts.connections = 0
            with suppress(EdrError):  # the last acks were not stored: their entries are repeated
                await self._journal.aclose()

    async def _open(self) -> Consumer:
        await self._journal.open()
        return await self._journal.consumer(
            self._consumer,
            *self._selected,
            start=self._begins,
            max_unacked=BATCH,
            rebind=True,
        )

    async def _consume(self, consumer: Consumer) -> None:
        while True:
            try:
                await self._interruptible(self._ingest.ready())
            except JournalError as exc:  # the journal of the bus was closed
                self._counts.failed(str(exc))
                raise _StoppedError from exc
            items = await self._interruptible(consumer.take(BATCH))
            if not items:
                raise JournalError("the journal was closed")
            self._counts.state = "stopping" if self._is_stopped else "running"
            self._backoff.reset()
            entries = [item for item in items if not isinstance(item, Gap)]
            missed = sum([item.missed for item in items if isinstance(item, Gap)])
            if missed:
                self._counts.missed += missed
                self._counts.fault(logging.WARNING, "missed %d entries of its journal", missed)
            await self._store(entries)
            consumer.ack(*entries)

    async def _store(self, entries: Sequence[Entry]) -> None:
        reply = Reply()  # of these, only the counts are used
        stored = await self._ingest.store(
            [Document(reply, entry.position, entry.event) for entry in entries],
            decode=_as_it_is,
            tries_again=lambda: not self._is_stopped,
        )
        self._counts.add(stored)
        if stored.error is not None:
            raise _StoppedError

    async def _pause(self, exc: Exception) -> None:
        seconds = self._backoff.next()
        self._counts.state = "retrying"
        self._counts.fault(
            logging.WARNING, "could not read its journal, trying again in %g s: %s", seconds, exc
        )
        await self._interruptible(asyncio.sleep(seconds))

    async def _interruptible(self, work: Coroutine[Any, Any, T]) -> T:
        """Return the result of ``work``, unless the source is stopped before.

        Raises:
            _StoppedError: the source is stopped.
        """
        if self._is_stopped:
            work.close()
            raise _StoppedError
        task = self._waiting = asyncio.create_task(work)
        try:
            await asyncio.wait([task])
        finally:
            self._waiting = None
            if not task.done():
                task.cancel()
                await asyncio.wait([task])
        if task.cancelled():
            raise _StoppedError
        result: T = task.result()
        return result


class _StoppedError(Exception):
    """The source reads no further."""


def _as_it_is(event: Event, node: str) -> Event:  # noqa: ARG001 - it has a node
    return event
