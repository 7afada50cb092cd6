"""``opened``: the database of a journal, sound or salvaged.

A service can start in each state of its journal: a missing one is made, a damaged one is moved
aside and salvaged, and one on a full disk is opened as it is. A file that is not a journal, or has
the format of another version, is refused and not changed. A new database is made next to its place
and moved there when it is complete, so a half-made one is never found there.

Opening checks only the header, the length of the file and the small tables, which costs nothing.
A page that is damaged elsewhere is found when it is read, and the journal is salvaged then.
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
"""Newest version of the file format; of a later one SQLite would only read."""


def opened(
    folder: JournalFolder,
    *,
    full_sync: bool,
    is_damaged: bool,
    known: Metadata | None,
    on_salvage: Callable[[Salvage], object],
) -> sqlite3.Connection:
    """Connect to the journal in ``folder``, which is made, or salvaged, if need be.

    Args:
        folder: where it is; locked.
        full_sync: whether each commit is synced.
        is_damaged: whether it is known to be damaged.
        known: the metadata, if they are known better than the files say them.
        on_salvage: called after a salvage.

    Raises:
        JournalUnusableError: something else is there, or it cannot be salvaged. It is untouched.
        sqlite3.Error, OSError: it cannot be opened now.
    """
    for place in (folder.path, folder.database):
        if place.exists() and not os.access(place, os.R_OK | os.W_OK):
            # SQLite would say "disk I/O error".
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
    """Tell whether the file is a sound database of ours; if not, it is one that is damaged.

    Raises:
        JournalUnusableError: it is something else.
    """
    is_database = header.startswith(b"SQLite format 3\0")
    is_ours = is_database and header[68:71] == APPLICATION
    version = int.from_bytes(header[60:64], "big")
    # The application id has it too: where the two differ, the header is damaged.
    if is_ours and version == header[71] and version != VERSION:
        older = "older" if version < VERSION else "newer"
        raise JournalUnusableError(
            f"its format is version {version}, and this edr reads version {VERSION} only; "
            f"read it with the {older} edr that wrote it, or give this one another folder",
            folder.path,
        )
    if folder.id is None and not is_ours:
        what = "another program's database" if is_database else "no database"
        raise JournalUnusableError(f"journal.sqlite3 is {what}", folder.path)
    return is_ours and version == header[71] == VERSION and max(header[18:20]) <= WRITABLE


def _checked(folder: JournalFolder, *, full_sync: bool) -> sqlite3.Connection:
    connection = connect(folder.database, full_sync=full_sync)
    try:
        if _has_emptied_log(connection):
            _check_length(connection, folder)
        metadata = metadata_in(connection)
        consumers_in(connection)
        for end in ("max", "min"):  # both in one statement would look at every block
            connection.execute(f"SELECT {end}(first) FROM blocks").fetchone()
    except BaseException:
        connection.close()
        raise
    folder.name(metadata.id)
    return connection


def _has_emptied_log(connection: sqlite3.Connection) -> bool:
    """Move what the last owner left in the log into the file; return whether it has all pages.

    On a full disk that is not possible, and the log is read as it is.
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
        raise sqlite3.DatabaseError("the file is shorter than it says")
