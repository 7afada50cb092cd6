"""``Recorded``: earlier events from the journal of a bus, for a process without a history.

A journal has all of its entries on disk, so ``last`` counts over all of them, and not over those of
a window. The tail continues with new entries of the journal. A change from the journal to the emits
would repeat events, or miss some.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from edr.bus import Bus, Gap
from edr.control.connection import Answers, RequestError
from edr.control.cpu_share import CpuShare
from edr.control.protocol import MAX_BATCH
from edr.control.tail_lines import TailLines
from edr.journal import Cursor, Entry, Journal, JournalError
from edr.records import EVERY_EVENT, Binding, Event
from edr.streams import parse_cursor
from edr.streams.journal_feed import window_id

BATCH = 64
"""Entries that are read at once. The events of a batch are in memory while it is written."""


class Recorded:
    """The events in the journal of a bus.

    Args:
        bus: has a journal, or not.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    @property
    def is_available(self) -> bool:
        """Whether the bus has a journal that can be read."""
        return hasattr(self._bus.journal, "cursor")

    @property
    def id(self) -> str:
        """The first part of its cursors, which are those of a gateway with this journal too."""
        return window_id(self._journal)

    def note(self, bindings: Sequence[Binding]) -> str | None:
        """Return a note for the reader of a tail, if the journal may not store all its events."""
        stored = self._journal.bindings
        if EVERY_EVENT in stored or (bindings and all(each in stored for each in bindings)):
            return None
        return "the events are those of the journal, which stores only events of its bindings"

    def has(self, cursor: str) -> bool:
        """Return whether ``cursor`` is one of the journal."""
        parsed = parse_cursor(cursor)
        return self.is_available and parsed is not None and parsed.window_id == self.id

    async def tail(
        self,
        bindings: Sequence[Binding],
        answers: Answers,
        *,
        after: str | None,
        last: int | None,
        follow: bool,
    ) -> None:
        """Write the stored events, and new ones with ``follow``, until the request is stopped.

        Args:
            bindings: the events to show; without bindings, every event.
            answers: receives the lines.
            after: a cursor of the journal; begin after this event.
            last: begin with this number of earlier events; ignored with ``after``.
            follow: continue with new entries.
        """
        lines = TailLines(answers)
        share = CpuShare(asyncio.get_running_loop().time)
        parsed = None if after is None else parse_cursor(after)
        begin = {"last": last} if parsed is None else {"after": parsed.position}
        try:
            await self._journal.flush()
            async with self._journal.cursor(*bindings, **begin, live=follow) as cursor:
                while items := await cursor.take(BATCH):
                    share.start()
                    chunks = self._chunks(items, cursor, lines)
                    share.stop()
                    for chunk in chunks:
                        await answers.write(partial(bytes, chunk))
                    await asyncio.sleep(share.pause())
        except JournalError as exc:
            raise RequestError("failed", str(exc)) from None
        finally:
            answers.end = lines.counts

    def _chunks(
        self, items: Sequence[Entry | Gap], cursor: Cursor, lines: TailLines
    ) -> list[bytes]:
        """Return the lines of ``items``, in pieces of about ``MAX_BATCH`` bytes."""
        chunks = [b""]
        for item in items:
            if isinstance(item, Gap):
                line = lines.gap(item.missed, "expired", f"{self.id}-{cursor.position}")
            else:
                line = lines.event(f"{self.id}-{item.position}", item.event.to_json())
            if len(chunks[-1]) + len(line) > MAX_BATCH:
                chunks.append(b"")
            chunks[-1] += line
        return chunks

    async def newest(self, bindings: Sequence[Binding], last: int) -> list[Event]:
        """Return the newest ``last`` stored events that match, oldest first."""
        try:
            await self._journal.flush()
            async with self._journal.cursor(*bindings, last=last, live=False) as cursor:
                return [item.event async for item in cursor if isinstance(item, Entry)]
        except JournalError as exc:
            raise RequestError("failed", str(exc)) from None

    @property
    def _journal(self) -> Journal:
        return self._bus.journal  # type: ignore[return-value]  # is_available
