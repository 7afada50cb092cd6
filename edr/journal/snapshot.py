"""``SnapshotReader``: reads a journal in use by another process, without a lock or a change.

SQLite cannot do that. The owner has the database locked, so a read-only connection gets "database
is locked". ``nolock=1`` cannot open a database with a log, and ``immutable=1`` ignores the log,
which has the newest entries. A copy of the files can be opened, but a journal of 400 MiB cannot be
copied for each look. So this module reads the pages itself: those in the log first, then those in
the database file.

A read is of one commit, the last one in the log when it began. The pages in the database file
belong to this commit as long as SQLite copies no later pages into it (a checkpoint). So the read is
repeated if afterwards the log was restarted, or the file was written. The file was not written if
its modification time is the same, and was already in the past when the read began.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self, TypeVar

from edr.journal.cells import Cells, NoRowError
from edr.journal.errors import JournalError
from edr.journal.fetching import Fetcher
from edr.journal.folder import DATABASE, LOG
from edr.journal.log_frames import LogFrames
from edr.journal.retention import existed
from edr.journal.schema import (
    APPLICATION,
    PAGE,
    VERSION,
    ConsumerState,
    Metadata,
    MissingRange,
    is_sound,
)
from edr.journal.tree import TreeBlocks, tables

ATTEMPTS = 50
"""Attempts of a read. The owner changes the database file once for 2 MB that it writes."""

PAUSE = 0.02
"""Seconds between attempts."""

STEP = 50_000_000
"""Nanoseconds, at most, between the steps of the clock of a file system."""

COARSE_STEP = 2_000_000_000
"""As ``STEP``, for file systems that store whole seconds."""

T = TypeVar("T")


class UnreadableError(Exception):
    """The files are damaged, or are not those of a journal. Internal to this package."""


_SIGNS_OF_DAMAGE = (
    UnreadableError,
    NoRowError,
    sqlite3.DatabaseError,
    ValueError,
    TypeError,
    IndexError,
)
"""Errors of a read of damaged pages, or of pages of different commits."""


class Snapshot(NamedTuple):
    """A journal as of one commit."""

    id: str
    missing_ranges: tuple[MissingRange, ...]
    """Positions without an entry."""
    consumers: dict[str, ConsumerState]
    fetcher: Fetcher
    first: int
    """Position of the oldest entry; 0 if the journal is empty."""
    last: int
    """Position of the newest entry; 0 if the journal is empty."""
    bytes: int
    """Bytes of the database and its log."""

    @property
    def entries(self) -> int:
        """Number of entries."""
        return existed(self.missing_ranges, self.first, self.last) if self.first else 0


class SnapshotReader:
    """Reads the journal in a folder as of its last commit. Use it in one thread at a time.

    Args:
        path: the folder of the journal.

    Raises:
        FileNotFoundError: the folder has no database.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._database = -1
        self._log_file = -1
        self._log = LogFrames(-1)
        self._identity: tuple[object, ...] = ()
        self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files. Idempotent."""
        for file in (self._database, self._log_file):
            if file >= 0:
                os.close(file)
        self._database = self._log_file = -1

    def has_changed(self) -> bool:
        """Return whether the journal may have changed since the last read. This is cheap."""
        with suppress(OSError):
            return (
                self._identity_at_path() != self._identity
                or self._log.has_restarted
                or self._log.has_grown
            )
        return True

    def read(self, query: Callable[[Snapshot], T]) -> T:
        """Return the result of ``query``, which gets the state of the last commit.

        ``query`` may be called several times, if the owner writes during the read.

        Raises:
            UnreadableError: the files are damaged, or are not those of a journal.
            JournalError: the journal is written faster than it can be read.
            OSError: the files cannot be read.
        """
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(PAUSE)
            if self._identity_at_path() != self._identity:
                self.close()
                self._open()
            before = self._stamp()  # first, so that it includes no change of a later commit
            self._log.advance()
            try:
                result = query(self._snapshot())
            except _SIGNS_OF_DAMAGE as exc:
                if self._is_consistent(before):
                    raise UnreadableError(str(exc) or "a page is damaged") from exc
            else:
                if self._is_consistent(before):
                    return result
        raise JournalError(f"{self._path} is written faster than it can be read; try again later")

    # Inner parts

    def _open(self) -> None:
        self._database = os.open(self._path / DATABASE, os.O_RDONLY)
        with suppress(FileNotFoundError):
            self._log_file = os.open(self._path / LOG, os.O_RDONLY)
        self._log = LogFrames(self._log_file)
        self._identity = tuple(
            _identity(os.fstat(file)) if file >= 0 else None
            for file in (self._database, self._log_file)
        )

    def _identity_at_path(self) -> tuple[object, ...]:
        found: list[object] = []
        for name in (DATABASE, LOG):
            try:
                found.append(_identity((self._path / name).stat()))
            except FileNotFoundError:
                found.append(None)
        return tuple(found)

    def _stamp(self) -> tuple[int, int] | None:
        """Return a value that changes when the database file is written; None if it may not."""
        status = os.fstat(self._database)
        return (status.st_mtime_ns, status.st_size) if _is_past(status.st_mtime_ns) else None

    def _is_consistent(self, before: tuple[int, int] | None) -> bool:
        if self._identity_at_path() != self._identity or self._log.has_restarted:
            return False
        if before is not None and before == self._stamp():
            return True
        return not self._log.advance()  # without another commit, there is nothing to copy

    def _page(self, number: int) -> bytes:
        if number < 1:
            raise NoRowError
        page = self._log.page(number)
        if page is None:
            page = os.pread(self._database, PAGE, (number - 1) * PAGE)
        return page.ljust(PAGE, b"\0")

    def _snapshot(self) -> Snapshot:
        header = self._page(1)
        if (
            not header.startswith(b"SQLite format 3\0")
            or header[68:71] != APPLICATION
            or int.from_bytes(header[60:64], "big") != VERSION
        ):
            raise UnreadableError(f"must be a journal of format version {VERSION}")
        count = self._log.page_count or int.from_bytes(header[28:32], "big")
        sizes = [os.fstat(file).st_size for file in (self._database, self._log_file) if file >= 0]
        if not self._log.page_count and sizes[0] < count * PAGE:
            raise UnreadableError("the file is shorter than its header claims")
        cells = Cells(self._page, count)
        trees = tables(self._page, cells)
        if not trees.keys() >= {"blocks", "metadata", "consumers"}:
            raise UnreadableError("a table is missing")
        records = {
            name: [cells.row(*place)[1] for place in trees[name].ascending()]
            for name in ("metadata", "consumers")
        }
        if not all(is_sound(*row[1:]) for rows in records.values() for row in rows):
            raise UnreadableError("the metadata or the state of a consumer is damaged")
        (metadata,) = [Metadata.from_bytes(row[2]) for row in records["metadata"]]
        states = [ConsumerState.from_bytes(row[2]) for row in records["consumers"]]
        blocks = TreeBlocks(trees["blocks"])
        ends = Fetcher(blocks).ends()
        first, last = (ends[0].first, ends[1].last) if ends else (0, 0)
        if metadata.clean and (first, len(states)) != (metadata.first, metadata.consumers):
            raise UnreadableError("an entry or the state of a consumer is missing")
        # Higher positions may be reserved. They were not assigned in this commit.
        fetcher = Fetcher(blocks, first, last, last, metadata.missing_ranges, metadata.steps)
        return Snapshot(
            metadata.id,
            metadata.missing_ranges,
            {state.name: state for state in states},
            fetcher,
            first,
            last,
            sum(sizes),
        )


def _is_past(modified: int) -> bool:
    """Return whether a file that is written from now on gets another modification time."""
    if modified % 1_000_000_000 == 0:
        return abs(time.time_ns() - modified) > COARSE_STEP
    clock = getattr(time, "CLOCK_REALTIME_COARSE", None)
    if clock is None:
        return abs(time.time_ns() - modified) > STEP
    # Linux: the clock of modification times.
    return time.clock_gettime_ns(clock) != modified


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
