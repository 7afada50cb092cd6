"""The database of a journal: its tables, how it is opened, and what its errors mean.

One connection, in one thread, and nobody else's: ``locking_mode=EXCLUSIVE`` needs no shared memory,
and SQLite before 3.51.3 can lose a write where two connections share a log. In WAL mode a commit
is one write and one sync, whatever its size.

``synchronous=FULL`` syncs the log at each commit, so a commit survives the loss of power;
``NORMAL`` only at checkpoints, so it survives the death of the process.

The blobs stand last in their row, keys before rows: what comes first is read without what comes
behind.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import zlib
from pathlib import Path
from typing import NamedTuple

import orjson

from edr.journal.codec import Block
from edr.journal.errors import JournalError, JournalFull, JournalInUse

APPLICATION_ID = 0x65647201  # "edr" and 1
VERSION = 1
PAGE = 4096
CHECKPOINT = 512
"""Pages of the log at which it is written back: 2 MB, so that a full disk is soon worked off."""

COLUMNS = ", ".join(Block._fields)


TABLES = f"""
CREATE TABLE blocks (
    first INTEGER PRIMARY KEY, last INTEGER NOT NULL,
    since INTEGER NOT NULL, until INTEGER NOT NULL,
    levels INTEGER NOT NULL, apps INTEGER NOT NULL, accounts INTEGER NOT NULL,
    keys_crc INTEGER NOT NULL, rows_crc INTEGER NOT NULL, compressed INTEGER NOT NULL,
    keys BLOB NOT NULL, rows BLOB NOT NULL
);
CREATE TABLE facts (number INTEGER PRIMARY KEY, crc INTEGER NOT NULL, fact BLOB NOT NULL);
CREATE TABLE readers (number INTEGER PRIMARY KEY, crc INTEGER NOT NULL, reader BLOB NOT NULL);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {VERSION};
"""


class Hole(NamedTuple):
    """Positions that no entry has: never given, or lost by damage."""

    low: int
    high: int
    lost: int
    """How many entries were there: 0, or at least this many."""


class Facts(NamedTuple):
    """What a journal knows of itself."""

    id: str
    mark: int
    """Positions up to here may have been given."""
    clean: bool
    """Whether the last owner closed it, so that ``mark`` is the last position given."""
    holes: tuple[Hole, ...] = ()
    steps: tuple[int, ...] = ()
    """Positions of entries that were recorded earlier than the entry before: the clock was set
    back. Each begins a block."""

    def to_bytes(self) -> bytes:
        """Return what is stored."""
        return orjson.dumps((*self[:3], [tuple(hole) for hole in self.holes], self.steps))

    @classmethod
    def from_bytes(cls, data: bytes) -> Facts:
        """Undo ``to_bytes``."""
        name, mark, clean, holes, *rest = orjson.loads(data)
        steps = tuple(rest[0]) if rest else ()
        return cls(name, mark, clean, tuple(Hole(*hole) for hole in holes), steps)


class ReaderState(NamedTuple):
    """What is remembered of a reader."""

    name: str
    bindings: str
    """Their JSON, in one fixed form."""
    frontier: int
    """It was given all that it wants up to here."""
    unacked: tuple[tuple[int, int], ...] = ()
    """Positions up to the frontier that it did not acknowledge, and how often each was given."""
    missed: int = 0
    untold: int = 0
    """How many of the missed no ``Gap`` has told yet."""
    last_ack: int | None = None

    @property
    def position(self) -> int:
        """It is done with everything up to here."""
        return self.unacked[0][0] - 1 if self.unacked else self.frontier

    def to_bytes(self) -> bytes:
        """Return what is stored."""
        return orjson.dumps(tuple(self))

    @classmethod
    def from_bytes(cls, data: bytes) -> ReaderState:
        """Undo ``to_bytes``."""
        name, bindings, frontier, unacked, missed, untold, last_ack = orjson.loads(data)
        pairs = tuple((position, delivery) for position, delivery in unacked)
        return cls(name, bindings, frontier, pairs, missed, untold, last_ack)


def connect(path: Path, *, full_sync: bool) -> sqlite3.Connection:
    """Open the database at ``path``, made if it is missing, for one thread at a time."""
    if not path.exists():
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    connection = sqlite3.connect(
        path,
        isolation_level=None,
        timeout=0,
        cached_statements=64,
        check_same_thread=False,  # the worker's; but the end of the program may close it
    )
    try:
        for pragma in (
            "locking_mode = EXCLUSIVE",  # before all that reads, or there is shared memory
            f"page_size = {PAGE}",
            "auto_vacuum = INCREMENTAL",
            "journal_mode = WAL",
            f"synchronous = {'FULL' if full_sync else 'NORMAL'}",
            f"wal_autocheckpoint = {CHECKPOINT}",
            "temp_store = MEMORY",
            "cache_size = -2048",
            "trusted_schema = OFF",
        ):
            connection.execute(f"PRAGMA {pragma}").fetchall()
    except BaseException:
        connection.close()
        raise
    return connection


def facts_in(connection: sqlite3.Connection) -> Facts:
    """Read what a journal knows of itself.

    Raises:
        sqlite3.DatabaseError: it is damaged.
    """
    row = connection.execute("SELECT crc, fact FROM facts WHERE number = 1").fetchone()
    if row is None or zlib.crc32(row[1]) != row[0]:
        raise sqlite3.DatabaseError("the facts are damaged")
    return Facts.from_bytes(row[1])


def readers_in(connection: sqlite3.Connection) -> dict[int, ReaderState]:
    """Read the states of all readers, by their numbers.

    Raises:
        sqlite3.DatabaseError: one is damaged.
    """
    states = {}
    for number, crc, data in connection.execute("SELECT number, crc, reader FROM readers"):
        if zlib.crc32(data) != crc:
            raise sqlite3.DatabaseError("the state of a reader is damaged")
        states[number] = ReaderState.from_bytes(data)
    return states


def is_damage(exc: sqlite3.Error) -> bool:
    """Tell whether the file is damaged, rather than hard to reach.

    What has no code of SQLite's was found by us.
    """
    code = getattr(exc, "sqlite_errorcode", None)
    if code is None:
        return type(exc) is sqlite3.DatabaseError
    return code == sqlite3.SQLITE_IOERR_SHORT_READ or code & 0xFF in (
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_ERROR,  # no such table: the first page is damaged
    )


def is_too_big(exc: sqlite3.Error) -> bool:
    """Tell whether a value is larger than any that SQLite takes."""
    code = getattr(exc, "sqlite_errorcode", None)
    return isinstance(exc, sqlite3.DataError) or code == sqlite3.SQLITE_TOOBIG


def translated(exc: BaseException, path: Path) -> JournalError:
    """Return what to raise for ``exc``, which came from the database or the file system."""
    if isinstance(exc, JournalError):
        return exc
    code = getattr(exc, "sqlite_errorcode", None)
    if code is not None and code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return JournalInUse(
            f"{path}: another program, such as a sqlite3 shell, has journal.sqlite3 open ({exc}); "
            "close it there, and look into a journal with 'python -m edr.journal'"
        )
    if code == sqlite3.SQLITE_FULL or (
        isinstance(exc, OSError) and exc.errno in (errno.ENOSPC, errno.EDQUOT)
    ):
        return JournalFull(f"{path}: the disk is full; it goes on by itself when there is room")
    return JournalError(f"{path}: {exc}; it is tried again")
