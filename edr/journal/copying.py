"""Consistent copies of a journal, also while it is in use.

The journal is not locked or changed. Its owner never waits for a copy, and its disk may be
read-only.

The database is copied first, then its write-ahead log. A checkpoint may change the database in
between, but only by pages that are also in the log, and so in the copy of the log. So the copies
agree unless SQLite restarted the log. A restart writes new salts into the header of the log, and
then the copy is repeated. https://www.sqlite.org/fileformat2.html, chapter 4.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from contextlib import closing, suppress
from pathlib import Path

from edr.journal.errors import JournalError
from edr.journal.folder import DATABASE, LOCK, LOG, SALVAGED
from edr.journal.salvage import RESERVED, write_metadata
from edr.journal.schema import metadata_in

ATTEMPTS = 20
"""Attempts to copy. SQLite restarts the log after each 2 MB that the owner writes."""

LOG_HEADER = 32
"""Bytes of the header of the log."""


def copy_journal(path: Path, to: Path) -> None:
    """Copy the journal in the folder ``path`` into a new folder ``to``.

    Raises:
        JournalError: the journal is written faster than it can be copied.
        OSError: the journal cannot be read, or the copy cannot be written.
    """
    to.mkdir(mode=0o700)
    for _ in range(ATTEMPTS):
        before = _generation(path)
        for name in (LOCK, SALVAGED, DATABASE, LOG):  # the database before its log
            (to / name).unlink(missing_ok=True)
            with suppress(FileNotFoundError):
                shutil.copyfile(path / name, to / name)
        if _generation(path) == before:
            return
    raise JournalError(f"{path} is written faster than it can be copied; try again later")


def back_up(path: Path, to: Path) -> None:
    """Copy the journal in the folder ``path`` into a new folder ``to``, durably and atomically.

    The copy skips a million positions, so that it never assigns a position that the original has
    assigned after the copy.

    Raises:
        JournalError: ``to`` exists, or the journal is written faster than it can be copied.
        OSError: the journal cannot be read, or the copy cannot be written.
    """
    if os.path.lexists(to):
        raise JournalError(f"{to} exists already; choose a new folder for the copy")
    with tempfile.TemporaryDirectory(prefix=f".{to.name}-", dir=to.parent) as folder:
        copy = Path(folder) / "copy"
        copy_journal(path, copy)
        _skip_positions(copy / DATABASE)
        for file in copy.iterdir():
            file.chmod(0o600)
            _sync(file)
        _sync(copy)
        copy.rename(to)
        _sync(to.parent)


def _skip_positions(database: Path) -> None:
    # A damaged database is copied unchanged, as a salvage also skips positions.
    with suppress(sqlite3.DatabaseError), closing(sqlite3.connect(database)) as connection:
        metadata = metadata_in(connection)
        with connection:
            write_metadata(
                connection,
                metadata._replace(high_water_mark=metadata.high_water_mark + RESERVED, clean=False),
            )


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _generation(path: Path) -> tuple[object, ...]:
    """Return a value that changes when the log restarts or the database is replaced."""
    numbers = []
    for name in (DATABASE, SALVAGED):
        file = path / name
        numbers.append(file.stat().st_ino if file.exists() else 0)
    try:
        with (path / LOG).open("rb") as log:
            header = log.read(LOG_HEADER)
    except FileNotFoundError:
        header = b""
    return (*numbers, header)
