"""``FileSink``: events as lines in a file, for other programs to follow, rotate and compress."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from edr.delivery import FaultLog
from edr.records import Event
from edr.sinks.appending import AppendedFile
from edr.sinks.encoding import Encoded, Encoder
from edr.sinks.errors import RefusedError, RetryError
from edr.sinks.files import describe, in_thread, is_fault_of_configuration
from edr.sinks.rotation import Rotate, Rotation

SYNC_INTERVAL = 1.0
"""Seconds between two syncs of ``fsync="1s"``."""

TRUNCATED = (
    "found its file truncated by another program, which may have lost lines; "
    "logrotate must rename the file: use nocreate and delaycompress instead of copytruncate"
)

_logger = logging.getLogger("edr.sinks")


class FileSink:
    """Appends events to a file, one line each.

    Each batch is in the file as a whole or not at all. The file is created for this user only. If
    it was renamed or removed, as by logrotate, the next batch goes to a new file at ``path``.
    Logrotate needs ``nocreate``, and ``delaycompress``, as a batch may be written to the renamed
    file. With its ``copytruncate``, lines are lost that are written between its copy and its
    truncation. The sink logs a warning then.

    Args:
        path: the file. Its folder must exist. A symbolic link is not followed.
        encode: returns a batch as lines; by default ``Encoder(lines=True)``, edr's own JSON.
        rotate: renames the file when it is large; ``None``: it grows.
        fsync: ``"batch"``: a batch is on the disk before it is acknowledged, so a power loss costs
            nothing. ``"1s"``: a power loss may cost the last second. ``"never"``: the operating
            system decides. The end of the process costs nothing with any of them.
        name: the name in log lines; by default the path.

    Raises:
        ValueError: an option is not valid.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        encode: Callable[[Sequence[Event]], Encoded] | None = None,
        rotate: Rotate | None = None,
        fsync: Literal["batch", "1s", "never"] = "batch",
        name: str | None = None,
    ) -> None:
        if fsync not in {"batch", "1s", "never"}:
            raise ValueError(f"fsync must be batch, 1s or never, got {fsync!r}")
        self.path: Path = Path(path)
        self._encode = encode or Encoder(lines=True)
        self._rotate = rotate
        self._rotation = None if rotate is None else Rotation(self.path, rotate)
        self._fsync = fsync
        self._log = FaultLog(f"sink {name or str(path)!r}", _logger)
        self._file: AppendedFile | None = None
        self._using = asyncio.Lock()
        """Held while a thread uses the file."""
        self._sync_timer: asyncio.TimerHandle | None = None
        self._syncing: asyncio.Task[None] | None = None
        self._tidying: asyncio.Task[None] | None = None
        self._stop_tidying = threading.Event()

    def __repr__(self) -> str:
        return f"<FileSink {str(self.path)!r}>"

    async def open(self) -> None:
        """Open the file, and create it if it is missing.

        Raises:
            RefusedError: the path or its permissions are wrong.
            RetryError: it cannot be opened now.
        """
        async with self._using:
            await self._call(self._open)
        self._tidy()

    async def write(self, batch: Sequence[Event]) -> None:
        """Append ``batch``.

        Raises:
            RetryError: it was not written, such as because the disk is full.
            RejectError: some events cannot be encoded.
            RefusedError: the file was removed and cannot be created again.
        """
        data = self._encode(batch).data
        if not data.endswith(b"\n"):
            data += b"\n"
        async with self._using:
            has_rotated = await self._call(self._append, data)
        if has_rotated:
            self._tidy()
        if self._file is not None and self._file.was_truncated:
            self._file.was_truncated = False
            self._log.fault(logging.WARNING, "truncated", TRUNCATED)
        if self._fsync == "1s" and self._sync_timer is None:
            loop = asyncio.get_running_loop()
            self._sync_timer = loop.call_later(SYNC_INTERVAL, self._sync_soon)

    async def reopen(self) -> None:
        """Close the file if it was renamed or removed, so that another program can have it now.

        Each ``write`` does it too. A program can call it on SIGHUP.
        """
        async with self._using:
            if self._file is not None:
                await self._call(self._check)

    async def aclose(self) -> None:
        """Close the file. A compression that runs is stopped, and continues after ``open``."""
        if self._sync_timer is not None:
            self._sync_timer.cancel()
            self._sync_timer = None
        self._stop_tidying.set()
        jobs = {job for job in (self._syncing, self._tidying) if job is not None}
        if jobs:
            await asyncio.wait(jobs)
        async with self._using:
            if self._file is not None:
                await in_thread(self._close)

    async def _call(self, call: Callable[..., bool], *args: bytes) -> bool:
        try:
            return await in_thread(call, *args)
        except OSError as exc:
            reason = describe(exc, self.path)
            if self._file is None and is_fault_of_configuration(exc):
                raise RefusedError(reason) from exc
            raise RetryError(reason) from exc

    # In a thread

    def _open(self) -> bool:
        if self._file is None:
            self._file = AppendedFile(self.path)
        return True

    def _check(self) -> bool:
        """Close the file if the path leads to another one; return whether it is open."""
        if self._file is not None and not self._file.is_at_path():
            self._close()
        return self._file is not None

    def _append(self, data: bytes) -> bool:
        """Append lines; return whether the file was renamed before."""
        self._check()
        self._open()
        has_rotated = self._rotated(len(data))
        assert self._file is not None
        self._file.append(data, sync=self._fsync == "batch")
        return has_rotated

    def _rotated(self, length: int) -> bool:
        """Rename the file if it is full, and open a new one."""
        if self._rotate is None or self._rotation is None or self._file is None:
            return False
        size = self._file.size
        if not size or size + length <= self._rotate.size:
            return False
        self._close()
        self._rotation.rename()
        self._open()
        return True

    def _close(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            try:
                if self._fsync != "never":
                    file.sync()
            finally:
                file.close()

    # In the background

    def _sync_soon(self) -> None:
        self._sync_timer = None
        self._syncing = asyncio.get_running_loop().create_task(self._sync())

    async def _sync(self) -> None:
        async with self._using:
            if self._file is not None:
                try:
                    await in_thread(self._file.sync)
                except OSError as exc:
                    self._log.fault(logging.ERROR, "sync", "could not sync its file: %s", exc)

    def _tidy(self) -> None:
        """Compress older files in a thread, one job at a time."""
        if self._rotation is not None and (self._tidying is None or self._tidying.done()):
            self._stop_tidying = threading.Event()
            self._tidying = asyncio.get_running_loop().create_task(self._tidied(self._rotation))

    async def _tidied(self, rotation: Rotation) -> None:
        try:
            await in_thread(rotation.tidy, self._stop_tidying)
        except OSError as exc:  # the next rotation tries it again
            self._log.fault(
                logging.WARNING, "tidy", "could not compress or remove an older file: %s", exc
            )
