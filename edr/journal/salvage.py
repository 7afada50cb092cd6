"""``make`` and ``salvage``: a new journal, and what is left of a damaged one moved into a new one.

The damaged files are kept beside it, as ``*.corrupt-<time>``. The new journal has another id, since
nobody can tell which positions the old one had given; but every entry that was saved keeps its
position, so that consumers go on where they were. Positions that were lost are holes, which
consumers are told of.

The new database is complete and synced before anything is moved; a salvage that is cut short at
any point is begun anew, or completed, when the journal is opened the next time.
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
from edr.journal.schema import TABLES, ConsumerState, Facts, Hole, connect

RESERVED = 1_000_000
"""Positions that are reserved at a time."""


class Salvage(NamedTuple):
    """What came of a salvage."""

    saved: int
    """Entries that are in the new journal."""
    missing: tuple[Hole, ...]
    """Where entries were in the old one that are not in the new one."""
    lost_consumers: int
    """Consumers whose state is known to have been there, and could not be read."""
    moved_to: Path

    @property
    def lost(self) -> int:
        """How many entries are known to be missing; at least."""
        return sum(hole.lost for hole in self.missing)


def new_id() -> str:
    """Return the name of a new journal."""
    return uuid.uuid4().hex


def create(connection: sqlite3.Connection, facts: Facts) -> None:
    """Make the tables of a journal."""
    connection.executescript(TABLES)
    write_facts(connection, facts)


def make(folder: JournalFolder) -> None:
    """Make a new journal in ``folder``."""
    _remove(folder.salvaging)
    with closing(connect(folder.salvaging, full_sync=True)) as new:
        create(new, Facts(new_id(), 0, clean=True))
        new.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    folder.database.with_name(folder.database.name + "-wal").unlink(missing_ok=True)
    folder.put_database(folder.salvaging)
    folder.sync()


def write_facts(connection: sqlite3.Connection, facts: Facts) -> None:
    """Store what a journal knows of itself."""
    data = facts.to_bytes()
    connection.execute("REPLACE INTO facts VALUES (1, ?, ?)", (zlib.crc32(data), data))


def write_consumer(connection: sqlite3.Connection, number: int, consumer: ConsumerState) -> None:
    """Store the state of a consumer."""
    data = consumer.to_bytes()
    connection.execute("REPLACE INTO consumers VALUES (?, ?, ?)", (number, zlib.crc32(data), data))


INSERT_BLOCK = f"INSERT INTO blocks VALUES ({', '.join('?' * len(Block._fields))})"


def salvage(folder: JournalFolder, known: Facts | None = None) -> Salvage:
    """Put a new journal in the place of the damaged one in ``folder``.

    Args:
        folder: where it is; locked.
        known: the facts, if the journal was open until now. Else those in the files are used.

    Raises:
        JournalUnusableError: there is no room, or no permission. Nothing was changed.
    """
    try:
        _remove(folder.salvaging)
        saved, missing, lost_consumers, facts = _copy(folder, known)
        folder.salvaging.replace(folder.salvaged)
        folder.sync()
        moved_to = complete(folder)
    except (OSError, sqlite3.Error) as exc:
        raise JournalUnusableError(
            f"it is damaged, and cannot be salvaged: {exc}", folder.path
        ) from exc
    folder.name(facts.id)
    return Salvage(saved, missing, lost_consumers, moved_to)


def complete(folder: JournalFolder) -> Path:
    """Move the damaged files aside, and the salvaged database into their place."""
    moved_to = _aside(folder.database)
    log = folder.database.with_name(folder.database.name + "-wal")
    with suppress(FileNotFoundError):
        log.replace(moved_to.with_name(moved_to.name + "-wal"))
    with suppress(FileNotFoundError):
        folder.database.replace(moved_to)
    folder.put_database(folder.salvaged)
    folder.sync()
    return moved_to


def _copy(folder: JournalFolder, known: Facts | None) -> tuple[int, tuple[Hole, ...], int, Facts]:
    if not folder.database.exists():
        folder.database.touch(mode=0o600)
    with Pages(folder.database) as pages, closing(connect(folder.salvaging, full_sync=True)) as new:
        pages.scan()
        old = known or pages.facts or Facts("", 0, clean=False)
        holes = list(old.holes)
        create(new, Facts("", 0, clean=False))
        saved = first = until = 0
        last = old.first - 1 if old.clean else -1
        lost: list[Hole] = []
        steps = []
        new.execute("BEGIN")
        for found in pages.blocks:
            try:
                block = pages.block(found)
                block.check()
            except DamagedBlockError:
                continue
            if block.last < old.first:  # retention removed it, and its page is still there
                continue
            if last >= 0:
                lost += _between(last, block.first, holes)
            new.execute(INSERT_BLOCK, block)
            saved += block.size
            if block.since < until:
                steps.append(block.first)
            first, last, until = first or block.first, block.last, block.until
        last = max(last, 0)
        end = max(last, old.mark) + RESERVED
        if old.clean:
            lost += _between(last, old.mark + 1, holes)
            holes.append(Hole(old.mark + 1, end, 0))
        else:
            holes = [hole for hole in holes if hole.low <= last]
            (holes if pages.is_whole else lost).append(Hole(last + 1, end, int(not pages.is_whole)))
        gone = tuple(sorted([*holes, *lost]))
        facts = Facts(new_id(), end, True, gone, tuple(steps), first, len(pages.consumers))
        lost_consumers = max(0, old.consumers - len(pages.consumers)) if old.clean else 0
        write_facts(new, facts)
        for number, consumer in enumerate(pages.consumers.values(), 1):
            write_consumer(new, number, consumer)
        new.execute("COMMIT")
        new.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return saved, tuple(lost), lost_consumers, facts


def _between(last: int, first: int, holes: Sequence[Hole]) -> list[Hole]:
    """Return what is missing between two blocks, but for the holes that were there before."""
    missing = []
    low = last + 1
    for hole in sorted(holes):
        if low <= hole.low and hole.high < first:
            if low < hole.low:
                missing.append(Hole(low, hole.low - 1, hole.low - low))
            low = hole.high + 1
    if low < first:
        missing.append(Hole(low, first - 1, first - low))
    return missing


def _aside(path: Path) -> Path:
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    return path.with_name(f"{path.name}.corrupt-{now}")


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
