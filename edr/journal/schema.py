"""The database of a journal: its tables, how it is opened, and the meaning of its errors.

There is one connection, used by one thread. ``locking_mode=EXCLUSIVE`` needs no shared memory, and
SQLite before 3.51.3 can lose a write if two connections share a log. In WAL mode a commit is one
write and one sync, whatever its size.

``synchronous=FULL`` syncs the log at each commit, so a commit survives a power failure. ``NORMAL``
syncs at checkpoints only, so a commit survives the end of the process.

The blobs are the last columns of a row, keys before rows, because SQLite reads a column without the
later ones.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import orjson

from edr.journal.codec import HEADER, Block, DamagedBlockError, check_header
from edr.journal.errors import JournalError, JournalFullError, JournalInUseError

VERSION = 3
"""Version of the tables and blocks. No other version is read."""
APPLICATION = b"edr"
APPLICATION_ID = int.from_bytes(APPLICATION, "big") << 8 | VERSION
PAGE = 4096
CHECKPOINT = 512
"""Pages of the log at which it is copied into the database: 2 MB keep the log small."""

TABLES = f"""
CREATE TABLE blocks (
    first INTEGER PRIMARY KEY, last INTEGER NOT NULL,
    since INTEGER NOT NULL, until INTEGER NOT NULL,
    levels INTEGER NOT NULL, apps INTEGER NOT NULL, accounts INTEGER NOT NULL,
    keys_crc INTEGER NOT NULL, rows_crc INTEGER NOT NULL, compressed INTEGER NOT NULL,
    header_crc INTEGER NOT NULL,
    keys BLOB NOT NULL, rows BLOB NOT NULL
);
CREATE TABLE metadata (number INTEGER PRIMARY KEY, crc INTEGER NOT NULL, data BLOB NOT NULL);
CREATE TABLE consumers (number INTEGER PRIMARY KEY, crc INTEGER NOT NULL, data BLOB NOT NULL);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {VERSION};
"""

COLUMNS = ", ".join(HEADER)


class MissingRange(NamedTuple):
    """Positions without an entry: never assigned, or lost to damage."""

    low: int
    high: int
    lost: int
    """Number of lost entries, at least. They had the first positions of the range."""

    def missed(self, after: int, end: int) -> int:
        """Return how many of its lost entries were after ``after``, up to ``end``, at least.

        Their exact number may be unknown. So any part of a range with losses has at least one.
        """
        low, high = max(after + 1, self.low), min(end, self.high)
        if not self.lost or high < low:
            return 0
        return max(1, min(high, self.low + self.lost - 1) - low + 1)


class Metadata(NamedTuple):
    """The metadata of a journal: one row of the database."""

    id: str
    high_water_mark: int
    """Positions up to here may have been assigned."""
    clean: bool
    """Whether the last owner closed it, so that the mark is the last assigned position."""
    missing_ranges: tuple[MissingRange, ...] = ()
    steps: tuple[int, ...] = ()
    """Positions of entries with an earlier time than the entry before, because the clock was set
    back. Each begins a block."""
    first: int = 0
    """Position of the oldest entry when it was closed; 0 if it was empty."""
    consumers: int = 0
    """Number of consumers when it was closed."""

    def to_bytes(self) -> bytes:
        """Return the stored form."""
        missing_ranges = [tuple(missing) for missing in self.missing_ranges]
        return orjson.dumps((*self[:3], missing_ranges, *self[4:]))

    @classmethod
    def from_bytes(cls, data: bytes) -> Metadata:
        """Return the value of a stored form."""
        name, high_water_mark, clean, missing_ranges, steps, first, consumers = orjson.loads(data)
        return cls(
            name,
            high_water_mark,
            clean,
            tuple(MissingRange(*missing) for missing in missing_ranges),
            tuple(steps),
            first,
            consumers,
        )


class ConsumerState(NamedTuple):
    """The stored state of a consumer."""

    name: str
    bindings: str
    """Their JSON, in a fixed order."""
    delivered_up_to: int
    """It has received all matching entries up to this position."""
    unacked: tuple[tuple[int, int], ...] = ()
    """Its unacknowledged positions up to there, and how often each was delivered."""
    missed: int = 0
    unreported: int = 0
    """Missed entries that no ``Gap`` has reported yet."""
    last_ack: int | None = None
    leased: int = 0
    """It may have received entries up to here, if it was not closed. See ``consumer``."""

    @property
    def position(self) -> int:
        """All entries up to this position were acknowledged or did not match."""
        return self.unacked[0][0] - 1 if self.unacked else self.delivered_up_to

    def to_bytes(self) -> bytes:
        """Return the stored form."""
        return orjson.dumps(tuple(self))

    @classmethod
    def from_bytes(cls, data: bytes) -> ConsumerState:
        """Return the value of a stored form."""
        name, bindings, delivered_up_to, unacked, missed, unreported, last_ack, leased = (
            orjson.loads(data)
        )
        pairs = tuple((position, delivery) for position, delivery in unacked)
        return cls(name, bindings, delivered_up_to, pairs, missed, unreported, last_ack, leased)


_NEW_DATABASE_PRAGMAS = (f"page_size = {PAGE}", "auto_vacuum = INCREMENTAL")
# Only for a new database: later they have no effect, but write, which fails on a full disk.


def connect(path: Path, *, full_sync: bool) -> sqlite3.Connection:
    """Open the database at ``path`` for one thread at a time. Create it if it is missing."""
    is_new = not path.exists() or not path.stat().st_size
    if is_new:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    connection = sqlite3.connect(
        path,
        isolation_level=None,
        timeout=0,
        cached_statements=64,
        check_same_thread=False,  # the worker uses it, but the exit of the program may close it
    )
    # The tables have no text. A flipped bit may make a blob a text, of the same bytes.
    connection.text_factory = bytes
    try:
        for pragma in (
            "locking_mode = EXCLUSIVE",  # before the first read, which creates shared memory
            *(_NEW_DATABASE_PRAGMAS if is_new else ()),
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


def header_in(row: Sequence[int]) -> Block:
    """Return the header that was read as ``COLUMNS``, as a block without its keys and rows.

    Raises:
        sqlite3.DatabaseError: it is damaged.
    """
    try:
        check_header(row)
    except DamagedBlockError:
        raise sqlite3.DatabaseError("the header of a block is damaged") from None
    return Block._make((*row, b"", b""))


def metadata_in(connection: sqlite3.Connection) -> Metadata:
    """Return the metadata of a journal.

    Raises:
        sqlite3.DatabaseError: it is damaged.
    """
    row = connection.execute("SELECT crc, data FROM metadata WHERE number = 1").fetchone()
    if row is None or not is_sound(*row):
        raise sqlite3.DatabaseError("the metadata is damaged")
    return Metadata.from_bytes(row[1])


def consumers_in(connection: sqlite3.Connection) -> dict[int, ConsumerState]:
    """Return the states of all consumers by number.

    Raises:
        sqlite3.DatabaseError: a state is damaged.
    """
    states = {}
    before = -1
    for number, crc, data in connection.execute("SELECT number, crc, data FROM consumers"):
        # The checksum does not cover the number. Any number is valid if all are in order.
        if number <= before or not is_sound(crc, data):
            raise sqlite3.DatabaseError("the state of a consumer is damaged")
        states[number] = ConsumerState.from_bytes(data)
        before = number
    return states


def is_sound(crc: object, data: object) -> bool:
    """Return whether ``data``, as read from the database, has the checksum ``crc``."""
    return isinstance(data, bytes) and zlib.crc32(data) == crc


def is_damage(exc: sqlite3.Error) -> bool:
    """Return whether ``exc`` reports damage, rather than a failed access.

    An error without an SQLite code was raised by this package.
    """
    code = getattr(exc, "sqlite_errorcode", None)
    if code is None:
        return type(exc) is sqlite3.DatabaseError
    return code == sqlite3.SQLITE_IOERR_SHORT_READ or code & 0xFF in (
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_ERROR,  # no such table: the first page is damaged
        sqlite3.SQLITE_TOOBIG,  # the length of a value is damaged
    )


def is_full(exc: BaseException) -> bool:
    """Return whether ``exc`` reports a full disk."""
    if isinstance(exc, OSError):
        return exc.errno in (errno.ENOSPC, errno.EDQUOT)
    return getattr(exc, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL


def translated(exc: BaseException, path: Path) -> JournalError:
    """Return the journal error for ``exc``, an error of the database or the file system."""
    if isinstance(exc, JournalError):
        return exc
    code = getattr(exc, "sqlite_errorcode", None)
    if code is not None and code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return JournalInUseError(
            f"{path}: another program, such as a sqlite3 shell, has journal.sqlite3 open ({exc}); "
            "close it there, and use 'edr journal' to read a journal"
        )
    if is_full(exc):
        return JournalFullError(
            f"{path}: the disk is full; events are stored again when there is room"
        )
    return JournalError(f"{path}: {exc}; it is tried again")
