"""``AppendedFile``: one open file to which whole lines are appended. Its calls block.

A batch is in the file as a whole or not at all: after an error, the part of it that was written is
cut off. So a batch that is written again is not doubled. If another process has appended lines in
between, nothing is cut, and an incomplete line is terminated instead.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

from edr.sinks.files import OPEN_FLAGS, PRIVATE, is_at, sync_folder, write_all


class AppendedFile:
    """A regular file, opened for appending, and created if it is missing.

    Args:
        path: the file. Its folder must exist.

    Raises:
        OSError: it cannot be opened, or it is not a regular file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        is_new = not os.path.lexists(path)
        self._descriptor = os.open(path, OPEN_FLAGS | os.O_APPEND | os.O_NONBLOCK, PRIVATE)
        try:
            if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
                raise PermissionError(errno.EPERM, "is not a regular file")
            if is_new:
                sync_folder(path.parent)
        except OSError:
            os.close(self._descriptor)
            raise
        self.was_truncated: bool = False
        """Whether another process has removed lines. The owner resets it."""
        self._end = self.size
        """Its size after the last call that succeeded. Only another process makes it smaller."""
        self._may_be_incomplete = True
        """Whether the last line may have no end: a crash or a full disk may have cut it."""

    @property
    def size(self) -> int:
        """Its bytes now."""
        return os.fstat(self._descriptor).st_size

    def is_at_path(self) -> bool:
        """Return whether the path still leads to this file, which may have been renamed."""
        return is_at(self.path, self._descriptor)

    def append(self, data: bytes, *, sync: bool) -> None:
        """Append whole lines. With ``sync`` they are on the disk when this returns.

        Raises:
            OSError: they were not written.
        """
        before = self.size
        self.was_truncated |= before < self._end
        self._end = before
        if self._may_be_incomplete and before and self._last_byte(before) != b"\n":
            data = b"\n" + data
        self._may_be_incomplete = True
        try:
            write_all(self._descriptor, data)
            if sync:
                os.fsync(self._descriptor)
        except OSError:
            self._cut(before, len(data))
            raise
        self._end = before + len(data)
        self._may_be_incomplete = False

    def sync(self) -> None:
        """Wait until the disk has everything that was written."""
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Close it. Idempotent."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)

    def _last_byte(self, size: int) -> bytes:
        return os.pread(self._descriptor, 1, size - 1)

    def _cut(self, before: int, length: int) -> None:
        """Remove what a failed call has written, unless it is not the only addition."""
        with suppress(OSError):
            if before < self.size <= before + length:
                os.ftruncate(self._descriptor, before)
