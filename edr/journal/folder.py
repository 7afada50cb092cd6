"""``JournalFolder``: where a journal lies, and the lock that keeps it to one owner.

``events.journal/`` (0700) holds ``journal.sqlite3`` (0600) with its log, and ``lock``. The lock
names the journal, besides: so a database that is missing or empty is told from one that never was,
and what was damaged is never taken for new.

The lock is the kernel's (flock): it is gone with its process, however that ends. A child that was
forked gives its copy up without touching the file, or the lock would outlive the parent in it.
"""

from __future__ import annotations

import os
import weakref
from contextlib import suppress
from pathlib import Path

import orjson

from edr.journal.errors import JournalInUse, JournalUnusable

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows
    fcntl = None  # type: ignore[assignment]

DATABASE = "journal.sqlite3"
LOCK = "lock"
SALVAGING = "journal.salvaging"
"""What a salvage has got so far; worth nothing until it is complete."""
SALVAGED = "journal.salvaged"
"""A complete salvage that takes the database's place next."""


class JournalFolder:
    """The folder of a journal, made if it is missing, and locked until ``release``.

    Raises:
        JournalInUse: somebody has it open.
        JournalUnusable: something else is there, or it cannot be written to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.database: Path = path / DATABASE
        self.salvaging: Path = path / SALVAGING
        self.salvaged: Path = path / SALVAGED
        self._lock = -1
        _make(path)
        self._lock = _open_lock(path)
        self.id = _id_in(self._lock)
        """Of the journal that was here when the lock was last taken, if there was one."""
        _open.add(self)

    def name(self, id: str) -> None:
        """Write down which journal this is, and who has it open."""
        text = orjson.dumps({"id": id, "pid": os.getpid()})
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, text + b"\n", 0)
        os.fsync(self._lock)
        self.sync()
        self.id = id

    def sync(self) -> None:
        """Make durable which files are here."""
        folder = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def release(self) -> None:
        """Let others open the journal. Idempotent."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _make(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        there = {each.name for each in path.iterdir()}
    except (FileExistsError, NotADirectoryError):
        raise JournalUnusable("a journal is a folder, and this is a file", path) from None
    except OSError as exc:
        raise _no_access(path, exc) from exc
    if there and not there & {DATABASE, LOCK, SALVAGED}:
        raise JournalUnusable(
            "this folder holds other files, and no journal; give it a folder of its own", path
        )


def _open_lock(path: Path) -> int:
    try:
        lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as exc:
        raise _no_access(path, exc) from exc
    if fcntl is not None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            holder = _field_in(lock, "pid")
            os.close(lock)
            this = " (this one)" if holder == os.getpid() else ""
            raise JournalInUse(
                f"{path} is open in process {holder}{this}, and a journal has one owner at a time: "
                "close it there, or take another folder; "
                f"'python -m edr.journal read {path}' shows what is in it"
            ) from exc
    return lock


def _no_access(path: Path, exc: OSError) -> JournalUnusable:
    return JournalUnusable(
        f"cannot be written to ({exc.strerror}); "
        f"'python -m edr.journal read {path}' shows what is in it",
        path,
    )


def _id_in(lock: int) -> str | None:
    named = _field_in(lock, "id")
    return named if isinstance(named, str) and named else None


def _field_in(lock: int, name: str) -> object:
    with suppress(orjson.JSONDecodeError):
        fields = orjson.loads(os.pread(lock, 4096, 0))
        if isinstance(fields, dict):
            return fields.get(name)
    return None


_open: weakref.WeakSet[JournalFolder] = weakref.WeakSet()


def _after_fork() -> None:
    for folder in list(_open):
        folder.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
