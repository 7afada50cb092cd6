"""``opened``: the database of a journal, found sound or made so.

There is no state in which a service cannot start because of its journal: what is missing is made,
what is damaged is moved aside and salvaged. Refused, and left as it is, is what never was a
journal, and one that a newer edr wrote.

Only what costs nothing is looked at: the header, the length of the file, the tables that are small.
A page that is damaged far inside is found when it is read.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress

from edr.journal.errors import JournalUnusable
from edr.journal.folder import JournalFolder
from edr.journal.salvage import complete, new_id, salvage, write_facts
from edr.journal.schema import (
    APPLICATION_ID,
    PAGE,
    TABLES,
    VERSION,
    Facts,
    connect,
    facts_in,
    is_damage,
    readers_in,
)

WRITABLE = 2
"""Newest version of the file format; of a later one SQLite would only read."""


def opened(
    folder: JournalFolder,
    *,
    full_sync: bool,
    is_damaged: bool,
    say: Callable[[str], object],
) -> sqlite3.Connection:
    """Connect to the journal in ``folder``, which is made, or salvaged, if need be.

    Args:
        folder: where it is; locked.
        full_sync: whether each commit is synced.
        is_damaged: whether it is known to be damaged.
        say: told of a salvage.

    Raises:
        JournalUnusable: something else is there, or it cannot be salvaged. It is untouched.
        sqlite3.Error, OSError: it cannot be opened now.
    """
    if folder.salvaged.exists():
        complete(folder)
    if not is_damaged and _may_be_opened(folder):
        try:
            return _checked(folder, full_sync=full_sync)
        except sqlite3.Error as exc:
            if not is_damage(exc) or folder.id is None:
                raise
    result = salvage(folder)
    say(
        f"journal {folder.path} was damaged: {result.saved} entries were saved into a new one, "
        f"{result.lost or 'no'} others are known to be lost; "
        f"the damaged files are kept as {result.moved_to.name}"
    )
    return _checked(folder, full_sync=full_sync)


def _may_be_opened(folder: JournalFolder) -> bool:
    """Tell whether the file is a database of ours, or can become one; if not, it is damaged.

    Raises:
        JournalUnusable: it is something else.
    """
    header = b""
    with suppress(FileNotFoundError), folder.database.open("rb") as file:
        header = file.read(100)
    if not header:
        return folder.id is None
    if not header.startswith(b"SQLite format 3\0"):
        if folder.id is None:
            raise JournalUnusable("journal.sqlite3 is no database", folder.path)
        return False
    is_ours = int.from_bytes(header[68:72], "big") == APPLICATION_ID
    version = int.from_bytes(header[60:64], "big")
    if is_ours and version > VERSION:
        raise JournalUnusable(
            f"it is of version {version}, and this edr reads up to {VERSION}", folder.path
        )
    if folder.id is None and not is_ours and not _is_empty(folder):
        raise JournalUnusable("journal.sqlite3 is another program's database", folder.path)
    return folder.id is None or (is_ours and max(header[18:20]) <= WRITABLE)


def _is_empty(folder: JournalFolder) -> bool:
    """Tell whether a database has no tables: the making of it was cut short."""
    with closing(sqlite3.connect(f"file:{folder.database}?mode=ro", uri=True)) as connection:
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return not tables


def _checked(folder: JournalFolder, *, full_sync: bool) -> sqlite3.Connection:
    connection = connect(folder.database, full_sync=full_sync)
    try:
        if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            connection.execute("BEGIN IMMEDIATE")
            for statement in _statements():
                connection.execute(statement)
            write_facts(connection, Facts(new_id(), 0, clean=True))
            connection.execute("COMMIT")
        # What the last owner left in the log; then the file has all its pages.
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        _check_length(connection, folder)
        facts = facts_in(connection)
        readers_in(connection)
        connection.execute("SELECT max(first), min(first) FROM blocks").fetchone()
    except BaseException:
        connection.close()
        raise
    if folder.id != facts.id:
        folder.name(facts.id)
    return connection


def _check_length(connection: sqlite3.Connection, folder: JournalFolder) -> None:
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    if folder.database.stat().st_size < pages * PAGE:
        raise sqlite3.DatabaseError("the file is shorter than it says")


def _statements() -> Iterator[str]:
    # executescript would commit before, and a half-made database is what must not be.
    for statement in TABLES.split(";"):
        if statement.strip():
            yield statement
