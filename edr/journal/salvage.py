"""``make`` creates a journal; ``salvage`` moves the sound entries of a damaged one to a new one.

The damaged files stay in the folder, as ``*.corrupt-<time>``. The new journal has another id,
because the highest position of the old one may be unknown. Every saved entry keeps its position, so
consumers continue at their positions. Lost positions become missing ranges, and consumers get a
``Gap`` for them.

The new database is complete and synced before any file is moved. An interrupted salvage is
restarted or completed when the journal is opened again.
"""

from __future__ import annotations

import sqlite3
import uuid
import zlib
from collections.abc import Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from edr.journal.codec import Block, DamagedBlockError
from edr.journal.errors import JournalUnusableError
from edr.journal.folder import JournalFolder
from edr.journal.pages import Pages
from edr.journal.schema import TABLES, ConsumerState, Metadata, MissingRange, connect

RESERVED = 1_000_000
"""Positions reserved in one commit, so that most commits need not write the metadata."""


class Salvage(NamedTuple):
    """The result of a salvage."""

    saved: int
    """Number of entries in the new journal."""
    missing: tuple[MissingRange, ...]
    """Ranges of entries of the old journal that are not in the new one."""
    lost_consumers: int
    """Number of consumers whose state existed and could not be read."""
    moved_to: Path

    @property
    def lost(self) -> int:
        """Number of entries known to be missing. The true number may be higher."""
        return sum(missing.lost for missing in self.missing)


def new_id() -> str:
    """Return an id for a new journal."""
    return uuid.uuid4().hex


def create(connection: sqlite3.Connection, metadata: Metadata) -> None:
    """Create the tables of a journal."""
    connection.executescript(TABLES)
    write_metadata(connection, metadata)


def make(folder: JournalFolder) -> None:
    """Create a new journal in ``folder``."""
    _remove(folder.salvaging)
    with closing(connect(folder.salvaging, full_sync=True)) as new:
        create(new, Metadata(new_id(), 0, clean=True))
        new.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    folder.log.unlink(missing_ok=True)
    folder.put_database(folder.salvaging)
    folder.sync()


def write_metadata(connection: sqlite3.Connection, metadata: Metadata) -> None:
    """Store the metadata of a journal."""
    data = metadata.to_bytes()
    connection.execute("REPLACE INTO metadata VALUES (1, ?, ?)", (zlib.crc32(data), data))


def write_consumer(connection: sqlite3.Connection, number: int, consumer: ConsumerState) -> None:
    """Store the state of a consumer."""
    data = consumer.to_bytes()
    connection.execute("REPLACE INTO consumers VALUES (?, ?, ?)", (number, zlib.crc32(data), data))


INSERT_BLOCK = f"INSERT INTO blocks VALUES ({', '.join('?' * len(Block._fields))})"


def salvage(folder: JournalFolder, known: Metadata | None = None) -> Salvage:
    """Replace the damaged journal in ``folder`` by a new one with its sound entries.

    Args:
        folder: the locked folder.
        known: the metadata, if the journal was open until now. Otherwise it is read from the files.

    Raises:
        JournalUnusableError: the disk is full, or access is denied. The files are unchanged.
    """
    try:
        _remove(folder.salvaging)
        saved, missing, lost_consumers, metadata = _copy(folder, known)
        folder.salvaging.replace(folder.salvaged)
        folder.sync()
        moved_to = complete(folder)
    except (OSError, sqlite3.Error) as exc:
        raise JournalUnusableError(
            f"the journal is damaged and cannot be salvaged: {exc}", folder.path
        ) from exc
    folder.name(metadata.id)
    return Salvage(saved, missing, lost_consumers, moved_to)


def complete(folder: JournalFolder) -> Path:
    """Rename the damaged files, and move the salvaged database to their path."""
    moved_to = _aside(folder.database)
    with suppress(FileNotFoundError):
        folder.log.replace(moved_to.with_name(moved_to.name + "-wal"))
    with suppress(FileNotFoundError):
        folder.database.replace(moved_to)
    folder.put_database(folder.salvaged)
    folder.sync()
    return moved_to


def _copy(
    folder: JournalFolder, known: Metadata | None
) -> tuple[int, tuple[MissingRange, ...], int, Metadata]:
    if not folder.database.exists():
        folder.database.touch(mode=0o600)
    with Pages(folder.database) as pages, closing(connect(folder.salvaging, full_sync=True)) as new:
        pages.scan()
        old = known or pages.metadata or Metadata("", 0, clean=False)
        missing_ranges = list(old.missing_ranges)
        create(new, Metadata("", 0, clean=False))
        saved = first = until = 0
        last = old.first - 1 if old.clean else -1
        lost: list[MissingRange] = []
        steps = []
        new.execute("BEGIN")
        for found in pages.blocks:
            try:
                block = pages.block(found)
                block.check()
            except DamagedBlockError:
                continue
            if block.last < old.first:  # removed by retention; its page was not reused yet
                continue
            if last >= 0:
                lost += _between(last, block.first, missing_ranges)
            new.execute(INSERT_BLOCK, block)
            saved += block.size
            if block.since < until:
                steps.append(block.first)
            first, last, until = first or block.first, block.last, block.until
        last = max(last, 0)
        end = max(last, old.high_water_mark) + RESERVED
        if old.clean:
            lost += _between(last, old.high_water_mark + 1, missing_ranges)
            missing_ranges.append(MissingRange(old.high_water_mark + 1, end, 0))
        else:
            missing_ranges = [missing for missing in missing_ranges if missing.low <= last]
            (missing_ranges if pages.is_whole else lost).append(
                MissingRange(last + 1, end, int(not pages.is_whole))
            )
        gone = tuple(sorted([*missing_ranges, *lost]))
        metadata = Metadata(new_id(), end, True, gone, tuple(steps), first, len(pages.consumers))
        lost_consumers = max(0, old.consumers - len(pages.consumers)) if old.clean else 0
        write_metadata(new, metadata)
        for number, consumer in enumerate(pages.consumers.values(), 1):
            write_consumer(new, number, consumer)
        new.execute("COMMIT")
        new.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return saved, tuple(lost), lost_consumers, metadata


def _between(last: int, first: int, missing_ranges: Sequence[MissingRange]) -> list[MissingRange]:
    """Return the newly missing ranges between two blocks, without ``missing_ranges``."""
    found = []
    low = last + 1
    for known in sorted(missing_ranges):
        if low <= known.low and known.high < first:
            if low < known.low:
                found.append(MissingRange(low, known.low - 1, known.low - low))
            low = known.high + 1
    if low < first:
        found.append(MissingRange(low, first - 1, first - low))
    return found


def _aside(path: Path) -> Path:
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    return path.with_name(f"{path.name}.corrupt-{now}")


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
