"""``Listener``: a Unix socket at a path, of a safe mode from its first moment, removed at its end.

A socket is bound under a temporary name and renamed once it accepts connections. So a socket that
refuses connections has lost its process, and can be removed.

Its mode is right when it appears. On Linux, a socket takes the mode of its descriptor. Elsewhere it
is bound under a umask, which is that of the whole process and holds for the time of this call.

A forked child closes its copies of the descriptors. Otherwise connections would succeed, and hang,
after the parent has ended. The child removes no file.
"""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import sys
from contextlib import suppress
from itertools import count
from pathlib import Path

from edr._sockets.probing import is_listening
from edr._util.forks import tracked_across_forks
from edr._util.wakeup import wake
from edr.errors import SocketPathError

BACKLOG = 64
"""Connections that wait until the event loop accepts them."""

MAX_PATH = 107 if sys.platform == "linux" else 103
"""Bytes of a socket's path; the kernel's structure has one more, for a zero."""

UMASK = 0o177
"""Of a new socket: only its user may read and write."""

_counter = count()


class Listener:
    """A listening Unix socket.

    Args:
        path: where it appears. A socket without a process is replaced.
        mode: its mode.

    Raises:
        SocketPathError: the path cannot be used; the message says why.
    """

    def __init__(self, path: Path, mode: int) -> None:
        self.path: Path = path
        self._pid = os.getpid()
        temporary = path.with_name(f".{self._pid}.{next(_counter)}")
        for each in (path, temporary):
            if len(os.fsencode(each)) > MAX_PATH:
                raise SocketPathError(
                    f"the path of a socket must have at most {MAX_PATH} bytes, got "
                    f"{len(os.fsencode(each))}: {each}; use a shorter path"
                )
        if is_listening(path):
            raise SocketPathError(
                f"a process accepts connections at {path} already; use another name or path"
            )
        if os.path.lexists(path) and not path.is_socket():
            raise SocketPathError(f"{path} must be a socket or be missing, but is another file")
        self.socket: socket.socket = socket.socket(socket.AF_UNIX)
        try:
            self.socket.setblocking(False)
            _bind(self.socket, temporary, mode)
            try:
                self.socket.listen(BACKLOG)
                status = temporary.lstat()
                temporary.rename(path)
            except BaseException:  # the file must not stay, whatever interrupted this
                temporary.unlink()
                raise
        except OSError as exc:
            self.socket.close()
            raise SocketPathError(f"{path} cannot be bound ({exc.strerror or exc})") from exc
        self._identity = (status.st_dev, status.st_ino)
        _open.add(self)

    async def accept(self) -> socket.socket:
        """Wait for a connection, and return its socket, which does not block.

        Cancellation: safe, no connection is lost. ``loop.sock_accept`` loses one that arrives in
        the same turn of the loop, and reports an error to the exception handler of the loop.

        Raises:
            OSError: a connection cannot be accepted now, such as: no file descriptor is free.
        """
        while True:
            try:
                accepted, _ = self.socket.accept()
            except BlockingIOError:
                await self._until_readable()
            else:
                accepted.setblocking(False)
                return accepted

    async def _until_readable(self) -> None:
        loop = asyncio.get_running_loop()
        readable: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self.socket, wake, readable)
        try:
            await readable
        finally:
            if not loop.is_closed():
                loop.remove_reader(self.socket)

    def close(self) -> None:
        """Close the socket, and remove its file unless another one is in its place. Idempotent."""
        _open.discard(self)
        self.socket.close()
        if self._pid != os.getpid():
            return
        with suppress(OSError):
            status = self.path.lstat()
            if (status.st_dev, status.st_ino) == self._identity:
                self.path.unlink()
        self._pid = 0

    def close_in_child(self) -> None:
        """Close the descriptor in a forked process."""
        self.socket.close()


def _bind(unbound: socket.socket, path: Path, mode: int) -> None:
    with suppress(OSError):  # not on macOS
        os.fchmod(unbound.fileno(), mode & ~UMASK)
    if sys.platform == "linux":
        unbound.bind(os.fspath(path))
    else:  # pragma: no cover - other systems
        before = os.umask(UMASK)
        try:
            unbound.bind(os.fspath(path))
        finally:
            os.umask(before)
    if stat.S_IMODE(path.lstat().st_mode) != mode:
        path.chmod(mode)  # wider, or narrowed by the umask of the process


_open = tracked_across_forks(Listener.close_in_child)
