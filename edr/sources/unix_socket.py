"""``SocketSource``: JSON lines from the clients of a Unix socket, each with its answers."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from contextvars import Context
from pathlib import Path
from typing import Any

from edr._sockets import Listener, check_shared_folder, peer_uid
from edr.records import Binding
from edr.sources.answers import Answer
from edr.sources.conversation import READ_SIZE, Conversation
from edr.sources.ingest import Ingest
from edr.sources.reading import InputReader
from edr.sources.source import Counts, SourceStatistics, drain_within

MAX_CONNECTIONS = 64
"""Open connections. Each costs up to 2 MiB while it sends long lines."""

IDLE_TIMEOUT = 3600.0
"""Seconds without a byte from a client. Clients that are gone without a trace would otherwise use
up the connections, and one that sends a line now and then must not lose its connection."""

WRITE_TIMEOUT = 30.0
"""Seconds in which a client must read an answer. One that does not is disconnected."""

LINGER = 1.0
"""Seconds for which the input of a client is dropped after an answer that ends the connection.
Unread input would reset the connection, and the client might not be able to read the answer."""

ACCEPT_PAUSE = 1.0
"""Seconds without new connections after the process had no file descriptor for one."""

_OTHERS = 0o077
_OWNER = 0o600


class SocketSource:
    """Listens on a Unix socket. Each client sends JSON lines, and receives answers as JSON lines.

    A client receives an answer at each blank line and at the end of its input: it shuts down its
    side for writing, and reads. With the default mode only processes of this user and of root are
    served. A wider mode admits the users whom the kernel permits to write to the socket.

    Above 64 connections a client waits until another one has ended.

    Args:
        name: its name.
        ingest: stores the events.
        path: the path of the socket. Its folder must not be writable by other users.
        mode: the permissions of the socket.
        max_connections: open connections.
        idle_timeout: seconds without a byte after which a client is disconnected; ``None`` for no
            limit. It receives an answer with ``not_stored`` first, and may connect again.

    Raises:
        ValueError: an option is not valid.
    """

    kind: str = "source"
    bindings: Sequence[Binding] = ()
    is_durable: bool = True

    def __init__(
        self,
        name: str,
        ingest: Ingest,
        path: str | os.PathLike[str],
        *,
        mode: int = 0o600,
        max_connections: int = MAX_CONNECTIONS,
        idle_timeout: float | None = IDLE_TIMEOUT,
    ) -> None:
        if not isinstance(mode, int) or mode & ~0o777 or mode & _OWNER != _OWNER:
            raise ValueError(
                f"mode must be permissions that include 0600, such as 0o660, got {mode!r}"
            )
        if not isinstance(max_connections, int) or max_connections < 1:
            raise ValueError(f"max_connections must be a number above 0, got {max_connections!r}")
        if idle_timeout is not None and not idle_timeout > 0:
            raise ValueError(f"idle_timeout must be None or above 0, got {idle_timeout!r}")
        self.name: str = name
        self.path: Path = Path(path).absolute()
        self._ingest = ingest
        self._mode = mode
        self._idle_timeout = idle_timeout
        self._free = asyncio.Semaphore(max_connections)
        self._counts = Counts(name, ingest)
        self._listener: Listener | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._conversations: dict[asyncio.Task[None], Conversation] = {}

    async def start(self) -> None:
        """Listen. Idempotent.

        Raises:
            SocketPathError: the socket cannot be made, or its folder is not safe.
        """
        if self._counts.state != "new":
            return
        check_shared_folder(self.path.parent)
        self._listener = Listener(self.path, self._mode)
        self._counts.state = "running"
        self._accepting = _spawn(self._accept(self._listener), f"edr source {self.name}")

    async def drain(self, timeout: float | None = None) -> int:
        """Remove the socket, stop reading, answer the lines that were read, and return 0.

        A client whose lines were not all read receives ``not_stored`` with the number of the first
        one. Idempotent. Waiting and cancellation: see ``Source.drain``.
        """
        return await drain_within(timeout, self._stop, self.aclose)

    async def _stop(self) -> None:
        if self._counts.state in ("running", "stopping"):
            self._counts.state = "stopping"
            for conversation in self._conversations.values():  # before any wait
                conversation.stop()
            await self._stop_accepting()
            if self._conversations:
                await asyncio.wait(list(self._conversations))
        self._counts.state = "stopped"

    async def aclose(self) -> None:
        """Remove the socket, and close all connections now. Idempotent."""
        self._counts.state = "stopped"
        tasks = list(self._conversations)
        for task in tasks:
            task.cancel()
        await self._stop_accepting()
        if tasks:
            await asyncio.wait(tasks)

    def statistics(self) -> SourceStatistics:
        """Return the counts of this moment."""
        return self._counts.statistics()

    def status(self) -> dict[str, Any]:
        """Return the state and the counts, as ``edr top`` shows them."""
        return self._counts.status()

    async def _stop_accepting(self) -> None:
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.wait([self._accepting])
        if self._listener is not None:
            self._listener.close()

    async def _accept(self, listener: Listener) -> None:
        try:
            while True:
                await self._free.acquire()
                is_served = False
                try:
                    client = await listener.accept()
                    is_served = self._serve_if_permitted(client)
                except OSError as exc:
                    if exc.errno in (errno.ECONNABORTED, errno.EINTR):
                        continue
                    self._counts.fault(logging.WARNING, "cannot accept connections now: %s", exc)
                    await asyncio.sleep(ACCEPT_PAUSE)
                finally:
                    if not is_served:
                        self._free.release()
        finally:
            listener.close()  # also when the loop ends without the end of the source

    def _serve_if_permitted(self, client: socket.socket) -> bool:
        if self._counts.state != "running":
            client.close()
            return False
        try:
            uid = peer_uid(client)
        except OSError:
            uid = -1
        if not self._mode & _OTHERS and uid not in (0, os.geteuid()):
            client.close()
            self._counts.fault(logging.WARNING, "refused a connection of the user %d", uid)
            return False
        writer = _Writer(client)
        conversation = Conversation(
            self._ingest,
            InputReader(client.fileno()),
            writer.write,
            self._counts,
            idle_timeout=self._idle_timeout,
        )
        task = _spawn(self._serve(conversation, client), f"edr source {self.name} connection")
        self._conversations[task] = conversation
        self._counts.connections += 1
        task.add_done_callback(lambda task: self._on_end(task, client))
        return True

    async def _serve(self, conversation: Conversation, client: socket.socket) -> None:
        with suppress(OSError, TimeoutError):  # the client has gone, or does not read
            if not await conversation.run():
                await _drop_input(client)

    def _on_end(self, task: asyncio.Task[None], client: socket.socket) -> None:
        with suppress(OSError):  # the client has gone
            client.shutdown(socket.SHUT_RDWR)  # also if a forked process has a copy
        client.close()
        del self._conversations[task]
        self._counts.connections -= 1
        self._free.release()
        if not task.cancelled() and (exc := task.exception()) is not None:
            self._counts.fault(logging.ERROR, "closed a connection after a fault of edr: %r", exc)


async def _drop_input(client: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    client.shutdown(socket.SHUT_WR)
    async with asyncio.timeout(LINGER):
        while await loop.sock_recv(client, READ_SIZE):
            pass


class _Writer:
    """Writes answers to a client."""

    def __init__(self, client: socket.socket) -> None:
        self._client = client

    async def write(self, answer: Answer) -> None:
        """Write ``answer`` as a line.

        Raises:
            OSError: the client has gone.
            TimeoutError: it has not read it in time.
        """
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(WRITE_TIMEOUT):
            await loop.sock_sendall(self._client, answer.to_json() + b"\n")


def _spawn(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    # Without the context of the caller: a span or a context of events must not live as long.
    return asyncio.get_running_loop().create_task(work, name=name, context=Context())
