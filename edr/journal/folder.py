"""``JournalFolder``: the folder of a journal, and the lock that limits it to one owner.

``events.journal/`` (0700) contains ``journal.sqlite3`` (0600) with its write-ahead log, and
``lock``. The lock file contains the id of the journal and the process id of its owner. If it has an
id, a missing or empty database is damage, and not a new journal.

The lock is a kernel lock (flock), which ends with its process. A forked child closes its copy of
the file descriptor, so that the lock does not outlive the parent.

SQLite and the kernel keep removed files while they are open, so a commit into a removed folder
succeeds and is lost. Therefore the owner compares the files at the paths with the opened ones at
each commit. It never opens or deletes a file that replaced one of them.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import orjson

from edr._util.forks import tracked_across_forks
from edr.journal.errors import JournalError, JournalInUseError, JournalUnusableError

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows
    fcntl = None  # type: ignore[assignment]

DATABASE = "journal.sqlite3"
LOG = "journal.sqlite3-wal"
LOCK = "lock"
SALVAGING = "journal.salvaging"
"""The incomplete result of a running salvage."""
SALVAGED = "journal.salvaged"
"""The complete result of a salvage, which replaces the database next."""


class JournalFolder:
    """The folder of a journal. It is created if it is missing, and locked until ``release``.

    Raises:
        JournalInUseError: another owner has it open.
        JournalUnusableError: it is not the folder of a journal, or cannot be written or locked.
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
            """The id of the journal that the lock file names, or None."""
        except OSError as exc:
            self.release()
            raise JournalUnusableError(
                f"its lock file cannot be read ({exc.strerror})", path
            ) from exc
        except JournalError:
            self.release()
            raise

    def name(self, id: str) -> None:
        """Write the id of the journal and of this process into the lock file."""
        text = orjson.dumps({"id": id, "pid": os.getpid()}) + b"\n"
        try:
            # Truncate last: on a full disk, only existing bytes can be overwritten.
            os.pwrite(self._lock, text, 0)
            os.ftruncate(self._lock, len(text))
            if self.id != id:
                os.fsync(self._lock)
                self.sync()
        except OSError:
            if self.id != id:
                raise  # only the process id is outdated, which is used in messages only
        self.id = id

    def put_database(self, file: Path) -> None:
        """Move ``file`` to the path of the database."""
        file.replace(self.database)
        self._files = {DATABASE: _Identity.at(self.database)}

    def remember_files(self) -> None:
        """Store the identities of the open files, for ``check`` and ``has_log``."""
        self._files = {DATABASE: _Identity.at(self.database)}
        self._log = _Identity.at(self.log)

    def check(self) -> None:
        """Raise if the lock or the database was removed or replaced since it was opened.

        Raises:
            JournalUnusableError: it was, now or before. This is final.
            OSError: the folder cannot be read.
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
        """Return whether the log at its path is the opened one.

        A removed log is not lost yet: SQLite has the file open, and copies it into the database
        when it closes.
        """
        return _found(self.log) == self._log

    def sync(self) -> None:
        """Sync the folder, so that its list of files is durable."""
        folder = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def release(self) -> None:
        """Release the lock, so that another owner can open the journal. Idempotent."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _make(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        there = {each.name for each in path.iterdir()}
    except (FileExistsError, NotADirectoryError):
        raise JournalUnusableError(
            "must be a folder, got a file; choose another path", path
        ) from None
    except OSError as exc:
        raise _no_access(path, exc) from exc
    if there and not there & {DATABASE, LOCK, SALVAGED}:
        raise JournalUnusableError(
            "must be an empty folder or a journal, but it has other files; choose another folder",
            path,
        )


class _Identity(NamedTuple):
    """Distinguishes a file from another one of the same name."""

    device: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> _Identity:
        return cls(status.st_dev, status.st_ino)

    @classmethod
    def at(cls, path: Path) -> _Identity:
        return cls.of(os.stat(path))  # noqa: PTH116 - runs at each commit; Path.stat costs twice as much


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
            f"its lock file cannot be locked ({exc.strerror}); use a local disk", path
        )
    holder: object = None
    with suppress(OSError):
        holder = _field_in(lock, "pid")
    process = "another process" if holder is None else f"process {holder}"
    this = " (this one)" if holder == os.getpid() else ""
    return JournalInUseError(
        f"{path} is open in {process}{this}, and a journal has one owner at a time: "
        "close it there, or use another folder; "
        f"'edr journal read {path}' prints its entries"
    )


def _no_access(path: Path, exc: OSError) -> JournalUnusableError:
    if not path.exists():
        return JournalUnusableError(
            f"the folder cannot be made ({exc.strerror}); make {path.parent} writable, "
            "or use another path",
            path,
        )
    return JournalUnusableError(
        f"cannot be written to ({exc.strerror}); 'edr journal read {path}' prints its entries",
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


_open = tracked_across_forks(JournalFolder.release)
