"""``JournalFiles``: reads the files of a journal that may be in use or damaged.

A journal has one owner, which locks it. Other programs read its files: a tail, a backup, a support
engineer. The journal is neither locked nor changed, its owner never waits, and its disk may be
read-only.

Sound files are read in place. Damaged files are copied into a temporary folder, see ``TMPDIR``, and
the copy is salvaged and read (``fallback``).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple, Self

from edr import Binding
from edr.journal.codec import microseconds, time_of
from edr.journal.copying import back_up
from edr.journal.fallback import FallbackReader
from edr.journal.fetching import Counted, Fetched, Lost
from edr.journal.journal import Entry
from edr.journal.retention import existed
from edr.journal.selection import Selection
from edr.journal.snapshot import Snapshot
from edr.journal.tailing import Tailing


class JournalSummary(NamedTuple):
    """A summary of a journal."""

    id: str | None
    """The id of the journal; None if the journal is damaged."""
    entries: int
    """Number of entries."""
    first: int
    """Position of the oldest entry; 0 if the journal is empty."""
    last: int
    """Position of the newest entry; 0 if the journal is empty."""
    since: datetime | None
    """When the oldest entry was recorded; None if the journal is empty."""
    until: datetime | None
    """When the newest entry was recorded; None if the journal is empty."""
    bytes: int
    """Bytes of the files in its folder."""
    consumers: tuple[str, ...]
    """Names of its consumers, sorted."""


class StoredConsumer(NamedTuple):
    """The stored state of a named consumer."""

    name: str
    bindings: str
    """The JSON array of its bindings."""
    position: int
    """All entries up to this position were acknowledged or did not match."""
    lag: int
    """Number of entries after ``position``, matching or not."""
    unacked: int
    """Number of entries delivered and not acknowledged yet."""
    missed: int
    """Number of entries lost to retention or damage since it was created, matching or not."""
    last_ack: datetime | None
    """When it last acknowledged an entry."""


class DamageReport(NamedTuple):
    """The result of ``JournalFiles.verify``."""

    sound: int
    """Number of entries that can be read, or saved if the journal is damaged."""
    damaged: tuple[tuple[int, int, int], ...]
    """First and last position of each damaged range, and the number of its lost entries."""
    needs_salvage: bool
    """Whether the database is damaged, so that the next owner salvages it."""

    @property
    def is_damaged(self) -> bool:
        """Whether anything is damaged."""
        return bool(self.damaged) or self.needs_salvage


class JournalFiles:
    """Reads the journal in a folder without opening it. A context manager.

    The journal may be open in another process, or damaged. It is neither locked nor changed. All
    methods except ``follow`` block. Use it in one thread at a time.

    Args:
        path: the folder of the journal.

    Raises:
        JournalUnusableError: the folder has no journal of this format version.
        JournalError: from each method, if the journal is written faster than it can be read.
        OSError: from each method, if the files cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path: Path = Path(path)
        self._reader = FallbackReader(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files, and remove the copy if there was one. Idempotent."""
        self._reader.close()

    def summary(self) -> JournalSummary:
        """Return a summary."""

        def query(state: Snapshot) -> JournalSummary:
            ends = state.fetcher.ends()
            return JournalSummary(
                state.id,
                state.entries,
                state.first,
                state.last,
                time_of(ends[0].since) if ends else None,
                time_of(ends[1].until) if ends else None,
                self._size(),
                tuple(sorted(state.consumers)),
            )

        summary = self._reader.read(query)
        return summary._replace(id=None) if self._reader.is_salvaged else summary

    def consumers(self) -> list[StoredConsumer]:
        """Return the consumers, sorted by name."""

        def query(state: Snapshot) -> list[StoredConsumer]:
            return [
                StoredConsumer(
                    name,
                    consumer.bindings,
                    consumer.position,
                    existed(
                        state.missing_ranges, max(consumer.position + 1, state.first), state.last
                    ),
                    len(consumer.unacked),
                    consumer.missed,
                    None if consumer.last_ack is None else time_of(consumer.last_ack),
                )
                for name, consumer in sorted(state.consumers.items())
            ]

        return self._reader.read(query)

    def verify(self) -> DamageReport:
        """Read and check everything, in a copy as of one moment."""
        store = self._reader.copied()
        sound, blocks = store.read(lambda fetcher: fetcher.verify())
        damaged = [(block.first, block.last, block.size) for block in blocks]
        if store.salvaged is not None:
            damaged += store.salvaged.missing
        return DamageReport(sound, tuple(sorted(damaged)), store.salvaged is not None)

    def entries(
        self,
        *bindings: Binding,
        after: int = 0,
        since: datetime | timedelta | None = None,
        last: int | None = None,
    ) -> Iterator[Entry | Lost]:
        """Yield the matching entries that are stored at the first call, in order.

        ``Lost`` stands in the place of entries that were lost after ``after``. Entries that
        retention removed before the first one that is read are not reported, unless ``after`` is
        given.

        Args:
            bindings: an entry matches if one of them matches; without bindings, every entry.
            after: only entries after this position.
            since: only entries since this time, or since so long ago.
            last: only the newest matching entries, this many.
        """
        selection = Selection(bindings)
        first, end = self._reader.read(lambda state: (state.first, state.last))
        position = self._start(selection, after, since, last, end)
        while position < end:
            fetched = self._fetch(selection, position)
            for item in fetched.items:
                is_retired = isinstance(item, Lost) and not item.is_damage and item.position < first
                if item.position <= end and (after or not is_retired):
                    yield item
            if fetched.position == position:
                return
            position = fetched.position

    async def follow(
        self,
        *bindings: Binding,
        after: int | None = None,
        since: datetime | timedelta | None = None,
        last: int | None = None,
        every: float = 0.25,
    ) -> AsyncGenerator[Entry | Lost, None]:
        """Yield the matching stored entries, then new ones after they are committed. Never ends.

        It reads each committed entry once, also when the owner restarts or salvages the journal.
        ``Lost`` stands in the place of entries that retention or damage removed before they were
        read. If another journal replaces this one at the path, it is read from its first entry.
        If the folder is missing, the next one is awaited.

        Without ``after``, ``since`` and ``last`` it begins with the next entry.

        Cancellation ends it; ``position`` of the last entry is where to continue. Close the
        generator with ``contextlib.aclosing``.

        Args:
            bindings: an entry matches if one of them matches; without bindings, every entry.
            after: only entries after this position.
            since: only entries since this time, or since so long ago.
            last: begin with the newest matching entries, this many.
            every: seconds between looks for new entries. A look without news costs a few system
                calls.
        """
        from anyio.to_thread import run_sync  # noqa: PLC0415 - readers of stored entries need none

        selection = Selection(bindings)
        if after is None and since is None and last is None:
            position = await run_sync(self._reader.read, lambda state: state.last)
        else:
            end = await run_sync(self._reader.read, lambda state: state.last)
            position = await run_sync(self._start, selection, after or 0, since, last, end)
            if after is None:  # retention before the first entry is not a loss then
                position = max(position, await run_sync(self._reader.read, _before_first))
        tailing = Tailing(self._reader, selection, position)
        while True:
            for item in await run_sync(tailing.next):
                yield item
            if tailing.is_caught_up:
                await asyncio.sleep(every)

    def copy(self, to: str | os.PathLike[str]) -> None:
        """Copy the journal, as of one moment, into the new folder ``to``, durably and atomically.

        The copy can be opened as a journal. It continues with positions that this one has not
        assigned.

        Raises:
            JournalError: ``to`` exists, or the journal is written faster than it can be copied.
        """
        back_up(self.path, Path(to))

    # Inner parts

    def _fetch(self, selection: Selection, position: int) -> Fetched:
        return self._reader.read(lambda state: state.fetcher.fetch(selection, position))

    def _start(
        self,
        selection: Selection,
        after: int,
        since: datetime | timedelta | None,
        last: int | None,
        end: int,
    ) -> int:
        """Return the position after which to read; ``last`` counts entries up to ``end``."""
        start = after
        if since is not None:
            now = datetime.now(UTC)
            wanted = now - since if isinstance(since, timedelta) else since
            position = self._reader.read(
                lambda state: state.fetcher.before(microseconds(wanted), microseconds(now))
            )
            start = max(start, position)
        if last is not None:
            start = max(start, self._start_of_last(selection, last, end))
        return start

    def _start_of_last(self, selection: Selection, count: int, end: int) -> int:
        counted = Counted(end, count, end + 1)
        while counted.missing:
            at = counted
            counted = self._reader.read(
                lambda state: state.fetcher.count_back(selection, at.missing, at.before)  # noqa: B023
            )
        return counted.position

    def _size(self) -> int:
        return sum(file.stat().st_size for file in self.path.iterdir() if file.is_file())


def _before_first(state: Snapshot) -> int:
    return max(0, state.first - 1)
