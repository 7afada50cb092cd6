"""``copy_journal``: a copy of a journal's files as of one moment, also while it is written to.

Nothing is locked: the owner of an open journal never waits for who looks into it, and a disk that
is read-only will do.

The database is copied first, its log after that. A checkpoint may change the database meanwhile,
but only by pages that are in the log, and the copy of the log has them all: so the copies agree,
as long as the log was not begun anew. Its header shows that, since it gets new salts then; the
copy is made again. https://www.sqlite.org/fileformat2.html, chapter 4.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from edr.journal.errors import JournalError
from edr.journal.folder import DATABASE, LOCK, LOG, SALVAGED

ATTEMPTS = 20
"""Copies that are made before giving up: an owner begins the log anew for each 2 MB it writes."""

LOG_HEADER = 32
"""Bytes at the start of the log."""


def copy_journal(path: Path, to: Path) -> None:
    """Copy the journal in the folder ``path`` into a new folder ``to``.

    Raises:
        JournalError: it is written to faster than it can be copied.
        OSError: it cannot be read, or there is no room for the copy.
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
    raise JournalError(f"{path} is written to faster than it can be copied; try again later")


def _generation(path: Path) -> tuple[object, ...]:
    """Return what changes when the log is begun anew, or another database takes its place."""
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
