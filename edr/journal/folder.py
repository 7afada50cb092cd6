"""``JournalFolder``: where a journal lies, and the lock that keeps it to one owner.

``events.journal/`` (0700) holds ``journal.sqlite3`` (0600) with its log, and ``lock``. The lock
file holds the id of the journal and the owner's process id. The id tells a database that is missing
or empty from one that never existed, so a damaged journal is never taken for a new one.

The lock is the kernel's (flock): it is released with its process, however that ends. A child that
was forked closes its copy without touching the file, or the lock would outlive the parent in it.

SQLite and the kernel keep removed files for those who have them open, so a commit into a folder
that was removed succeeds, into nothing. Therefore the owner compares the files at these paths with
those that it opened, at each commit, and never opens or deletes a file that took their place.
"""

from __future__ import annotations

import errno
import os
import weakref
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import orjson

from edr.journal.errors import JournalError, JournalInUseError, JournalUnusableError

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows
    fcntl = None  # type: ignore[assignment]

DATABASE = "journal.sqlite3"
LOG = "journal.sqlite3-wal"
LOCK = "lock"
SALVAGING = "journal.salvaging"
"""What a salvage has got so far; worth nothing until it is complete."""
SALVAGED = "journal.salvaged"
"""A complete salvage that takes the database's place next."""


class JournalFolder:
    """The folder of a journal, made if it is missing, and locked until ``release``.

    Raises:
        JournalInUseError: another owner has it open.
        JournalUnusableError: it is not a journal's folder, or cannot be written to or locked.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.database: Path = path / DATABASE
        self.salvaging: Path = path / SALVAGING
        self.salvaged: Path = path / SALVAGED
        self.log: Path = path / LOG
        self._files: dict[str, _Identity] = {}
        self._log: _Identity | None = None
        self._gone: tuple[str, str] | None = None
        self._lock = -1
        _make(path)
        self._lock = _open_lock(path)
        _open.add(self)
        try:
            self.check()
            self.id = _id_in(self._lock)
            """Of the journal that was here when the lock was last taken, if there was one."""
        except OSError as exc:
            self.release()
            raise JournalUnusableError(
                f"its lock file cannot be read ({exc.strerror})", path
            ) from exc
        except JournalError:
            self.release()
            raise

    def name(self, id: str) -> None:
        """Write down which journal this is, and which process has it open."""
        text = orjson.dumps({"id": id, "pid": os.getpid()}) + b"\n"
        try:
            # Truncated last: on a full disk only existing bytes can be overwritten.
            os.pwrite(self._lock, text, 0)
            os.ftruncate(self._lock, len(text))
            if self.id != id:
                os.fsync(self._lock)
                self.sync()
        except OSError:
            if self.id != id:
                raise  # the process id is only for people
        self.id = id

    def put_database(self, file: Path) -> None:
        """Move ``file`` into the database's place."""
        file.replace(self.database)
        self._files = {DATABASE: _Identity.at(self.database)}

    def remember_files(self) -> None:
        """Remember the files that are open now, for ``check`` and ``has_log``."""
        self._files = {DATABASE: _Identity.at(self.database)}
        self._log = _Identity.at(self.log)

    def check(self) -> None:
        """Check that the lock and the database at the journal's paths are those that were opened.

        Raises:
            JournalUnusableError: they were removed or replaced, now or before: it is final.
            OSError: the folder cannot be looked into.
        """
        if self._gone is None:
            expected = {LOCK: _Identity.of(os.fstat(self._lock)), **self._files}
            for name, identity in expected.items():
                found = _found(self.path / name)
                if found != identity:
                    self._gone = (name, "removed" if found is None else "replaced")
                    break
            else:
                return
        raise JournalUnusableError(
            f"{' was '.join(self._gone)} while the journal was open, so nothing more can be stored "
            "in it; close it, and open the path again",
            self.path,
        )

    def has_log(self) -> bool:
        """Return whether the log is the one that was opened.

        Without it nothing is lost yet: SQLite still has the file, and moves what is in it into the
        database when it closes that.
        """
        return _found(self.log) == self._log

    def sync(self) -> None:
        """Make durable which files are here."""
        folder = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def release(self) -> None:
        """Release the lock, so that others can open the journal. Idempotent."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _make(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        there = {each.name for each in path.iterdir()}
    except (FileExistsError, NotADirectoryError):
        raise JournalUnusableError("a journal is a folder, and this is a file", path) from None
    except OSError as exc:
        raise _no_access(path, exc) from exc
    if there and not there & {DATABASE, LOCK, SALVAGED}:
        raise JournalUnusableError(
            "this folder holds other files, and no journal; give it a folder of its own", path
        )


class _Identity(NamedTuple):
    """Tells a file from another one that took its name."""

    device: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> _Identity:
        return cls(status.st_dev, status.st_ino)

    @classmethod
    def at(cls, path: Path) -> _Identity:
        return cls.of(os.stat(path))  # noqa: PTH116 - each commit asks, and Path.stat costs twice that


def _found(path: Path) -> _Identity | None:
    try:
        return _Identity.at(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _open_lock(path: Path) -> int:
    try:
        lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as exc:
        raise _no_access(path, exc) from exc
    if fcntl is not None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            error = _not_locked(path, lock, exc)
            os.close(lock)
            raise error from exc
    return lock


def _not_locked(path: Path, lock: int, exc: OSError) -> JournalError:
    if exc.errno not in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES):
        return JournalUnusableError(
            f"its lock file cannot be locked ({exc.strerror}); a journal needs a local disk", path
        )
    holder: object = None
    with suppress(OSError):
        holder = _field_in(lock, "pid")
    process = "another process" if holder is None else f"process {holder}"
    this = " (this one)" if holder == os.getpid() else ""
    return JournalInUseError(
        f"{path} is open in {process}{this}, and a journal has one owner at a time: "
        "close it there, or take another folder; "
        f"'python -m edr.journal read {path}' shows what is in it"
    )


def _no_access(path: Path, exc: OSError) -> JournalUnusableError:
    if not path.exists():
        return JournalUnusableError(
            f"the folder cannot be made ({exc.strerror}); make {path.parent} writable, "
            "or take another path",
            path,
        )
    return JournalUnusableError(
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
