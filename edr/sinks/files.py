"""Calls of the operating system that files of events need, and the meaning of their errors."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows
    fcntl = None  # type: ignore[assignment]

OPEN_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
"""Read too, to find an incomplete last line. A symbolic link is not followed: another user could
make one that leads to any file of this user."""

PRIVATE = 0o600
"""The mode of new files: events are not for other users."""

_FAULTS_OF_THE_CONFIGURATION = {
    errno.EACCES,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.ENXIO,
    errno.EPERM,
    errno.EROFS,
}


def write_all(descriptor: int, data: bytes) -> int:
    """Write all of ``data``, and return its length. After an error a part may be written."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    return len(data)


def sync_folder(folder: Path) -> None:
    """Store the names of the files in ``folder`` on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_fault_of_configuration(error: OSError) -> bool:
    """Return whether the path must be changed, or its permissions, before it can be opened."""
    return error.errno in _FAULTS_OF_THE_CONFIGURATION


def describe(error: OSError, path: object) -> str:
    """Return ``error`` as text, with ``path``."""
    return f"{path}: {error.strerror or error}"


def lock(descriptor: int, *, wait: bool) -> bool:
    """Lock a file until its descriptor is closed; return False if another one has it locked."""
    if fcntl is None:  # pragma: no cover - Windows
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def is_at(path: Path, descriptor: int) -> bool:
    """Return whether ``path`` leads to the open file ``descriptor``."""
    try:
        there = path.lstat()
    except FileNotFoundError:
        return False
    here = os.fstat(descriptor)
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)


async def in_thread(
    call: Callable[[*Ts], T], *args: *Ts, on_cancel: Callable[[], None] | None = None
) -> T:
    """Call ``call(*args)`` in a thread.

    Cancellation: it is raised after the call has ended, as the thread still uses the file. A second
    one is raised at once. ``on_cancel`` can end the call earlier.
    """
    job = asyncio.ensure_future(asyncio.to_thread(call, *args))
    try:
        return await asyncio.shield(job)
    except asyncio.CancelledError:
        if on_cancel is not None:
            on_cancel()
        await asyncio.wait({job})
        if not job.cancelled():
            job.exception()  # it is of no use to a caller that was cancelled
        raise
