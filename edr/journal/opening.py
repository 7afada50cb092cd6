"""``opened``: opens the database of a journal, and creates or salvages it if necessary.

A service can start in any state of its journal. A missing one is created, a damaged one is moved
aside and salvaged, and one on a full disk is opened unchanged. A file that is not a journal, or has
another format version, is refused and not changed. A new database is created at another path and
moved when it is complete, so an incomplete one is never found at the path of the journal.

Opening checks only the header, the length of the file and the small tables, which is cheap. Damage
elsewhere is found by the first read of the damaged page, and the journal is salvaged then.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress

from edr.journal.errors import JournalUnusableError
from edr.journal.folder import JournalFolder
from edr.journal.salvage import Salvage, complete, make, salvage
from edr.journal.schema import (
    APPLICATION,
    PAGE,
    VERSION,
    Metadata,
    connect,
    consumers_in,
    is_damage,
    is_full,
    metadata_in,
)

WRITABLE = 2
"""Highest write version in the header of a database that SQLite can write."""


def opened(
    folder: JournalFolder,
    *,
    full_sync: bool,
    is_damaged: bool,
    known: Metadata | None,
    on_salvage: Callable[[Salvage], object],
) -> sqlite3.Connection:
    """Connect to the journal in ``folder``. Create or salvage it if necessary.

    Args:
        folder: the locked folder.
        full_sync: whether each commit is synced.
        is_damaged: whether damage was found before.
        known: the metadata in memory, if newer than that in the files.
        on_salvage: called after a salvage.

    Raises:
        JournalUnusableError: it is not a journal, or cannot be salvaged. It is unchanged.
        sqlite3.Error, OSError: it cannot be opened now.
    """
    for place in (folder.path, folder.database):
        if place.exists() and not os.access(place, os.R_OK | os.W_OK):
            # SQLite would only report "disk I/O error".
            raise JournalUnusableError(
                f"{place.name} cannot be read and written by this user; check its owner and "
                "permissions",
                folder.path,
            )
    if folder.salvaged.exists():
        complete(folder)
    header = _header_of(folder)
    if not header and folder.id is None:
        make(folder)
        return _checked(folder, full_sync=full_sync)
    if _may_be_opened(folder, header) and not is_damaged:
        try:
            return _checked(folder, full_sync=full_sync)
        except sqlite3.Error as exc:
            if not is_damage(exc) or folder.id is None:
                raise
    on_salvage(salvage(folder, known))
    return _checked(folder, full_sync=full_sync)


def _header_of(folder: JournalFolder) -> bytes:
    with suppress(FileNotFoundError), folder.database.open("rb") as file:
        return file.read(100)
    return b""


def _may_be_opened(folder: JournalFolder, header: bytes) -> bool:
    """Return whether the file is a sound journal; False if it is a damaged one.

    Raises:
        JournalUnusableError: it is not a journal, or has another format version.
    """
    is_database = header.startswith(b"SQLite format 3\0")
    is_ours = is_database and header[68:71] == APPLICATION
    version = int.from_bytes(header[60:64], "big")
    # The application id has the version too. If the two differ, the header is damaged.
    if is_ours and version == header[71] and version != VERSION:
        older = "older" if version < VERSION else "newer"
        raise JournalUnusableError(
            f"format version must be {VERSION}, got {version}; "
            f"read it with the {older} edr that wrote it, or choose another folder",
            folder.path,
        )
    if folder.id is None and not is_ours:
        what = "another program's database" if is_database else "a file that is not a database"
        raise JournalUnusableError(
            f"journal.sqlite3 must be a journal, got {what}; choose another folder", folder.path
        )
    return is_ours and version == header[71] == VERSION and max(header[18:20]) <= WRITABLE


def _checked(folder: JournalFolder, *, full_sync: bool) -> sqlite3.Connection:
    connection = connect(folder.database, full_sync=full_sync)
    try:
        if _has_emptied_log(connection):
            _check_length(connection, folder)
        metadata = metadata_in(connection)
        consumers_in(connection)
        for end in ("max", "min"):  # one statement with both would read every block
            connection.execute(f"SELECT {end}(first) FROM blocks").fetchone()
    except BaseException:
        connection.close()
        raise
    folder.name(metadata.id)
    return connection


def _has_emptied_log(connection: sqlite3.Connection) -> bool:
    """Copy the log of the last owner into the database file; return whether that is complete.

    It is not possible on a full disk. Then the log is read in place.
    """
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    except sqlite3.Error as exc:
        if is_full(exc):
            return False
        raise
    return True


def _check_length(connection: sqlite3.Connection, folder: JournalFolder) -> None:
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    if folder.database.stat().st_size < pages * PAGE:
        raise sqlite3.DatabaseError("the file is shorter than its header claims")
