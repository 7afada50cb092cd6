"""``expose``: show a bus on a Unix socket, in one line; and ``Exposed``, the exposed bus.

The socket is a service of the bus. It stays open while the bus drains, so that one can watch the
drain, and closes after it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import socket
import sys
import weakref
from collections.abc import Collection, Coroutine, Iterable, Mapping
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from edr._sockets import Listener, check_shared_folder, peer_uid
from edr._util.forks import tracked_across_forks
from edr._util.log import RateLimitedLog, log_safely
from edr._util.opening import Opening
from edr.bus import Bus, default_bus
from edr.control.connection import Connection, RequestError, error_line
from edr.control.handlers import PERMISSIONS, Handlers, Reload
from edr.control.parts import PartList, Parts
from edr.control.protocol import MAX_LINE, VERSION
from edr.control.runtime_folder import (
    NAME,
    check_supported,
    make_runtime_folder,
    runtime_folder,
)
from edr.control.snapshot import Snapshots
from edr.streams import Streams

MAX_CONNECTIONS = 64
"""Open connections. A connection costs about 20 KiB, and up to 2 MiB while a long line arrives."""

CLOSE_TIMEOUT = 1.0
"""Seconds in which clients may read the last lines when the bus ends. Others get less."""

READ_TIMEOUT = 0.25
"""Seconds of ``CLOSE_TIMEOUT`` after which a client that reads nothing is disconnected."""

ACCEPT_PAUSE = 1.0
"""Seconds without new connections after one could not be accepted."""

WINDOW = 4096
"""Events that a tail may be behind, if ``history`` is not larger."""

WINDOW_BYTES = 8 * 2**20
"""Memory of these events. With a larger ``history``, it grows by 1 KiB for each event."""


@dataclass(frozen=True, slots=True)
class ControlStatistics:
    """The counts of a control socket at one moment."""

    connections: int
    """Open connections."""
    requests: int
    """Open requests of all connections."""
    accepted: int
    """Connections since the start, without the refused ones."""
    refused: int
    """Connections of other users, and those above the limit."""


class Exposed:
    """A bus that is exposed on a socket. Made by ``expose``; a service of its bus.

    ``async with`` closes the socket at the end of the block, and so does the end of the bus.

    Attributes:
        name: the name under which ``edr ls`` lists the bus.
        path: the path of the socket.
    """

    def __init__(
        self,
        bus: Bus,
        name: str,
        listener: Listener,
        handlers: Handlers,
        streams: Streams,
        hello: dict[str, Any],
    ) -> None:
        self.name: str = name
        self.path: Path = listener.path
        self._bus = bus
        self._listener = listener
        self._handlers = handlers
        self._streams = streams
        self._hello = orjson.dumps({**hello, "can": handlers.can}) + b"\n"
        self._log = RateLimitedLog()
        self._pid = os.getpid()
        self._connections: dict[asyncio.Task[None], Connection] = {}
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._accepted = 0
        self._refused = 0
        self._accepting: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Exposed {self.name!r} at {self.path}>"

    async def start(self) -> None:
        """Accept connections. ``expose`` calls it. Idempotent."""
        if self._accepting is None:
            self._accepting = _spawn(self._accept(), f"edr control {self.name}")
            _open.add(self)

    async def drain(self, timeout: float | None = None) -> int:  # noqa: ARG002
        """Return 0 at once: observers have nothing that a drain must wait for.

        The socket stays open until ``aclose``, which the bus calls when all services have drained.
        """
        return 0

    async def aclose(self) -> None:
        """End all requests, remove the socket, and close the connections. Idempotent.

        Clients receive the end of their requests, and a line ``bye``. A client that does not read
        is disconnected after 1 s. Cancellation: closing continues.
        """
        if self._pid != os.getpid():
            return  # after a fork, the socket and the loop belong to the parent process
        if self._closing is None:
            self._closing = _spawn(self._close(), f"edr control {self.name} closes")
        await asyncio.shield(self._closing)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def statistics(self) -> ControlStatistics:
        """Return the counts of this moment, as a frozen snapshot."""
        return ControlStatistics(
            connections=len(self._connections),
            requests=sum([each.requests for each in self._connections.values()]),
            accepted=self._accepted,
            refused=self._refused,
        )

    # Accept

    async def _accept(self) -> None:
        try:
            while True:
                try:
                    await self._open(await self._listener.accept())
                except OSError as exc:  # such as: no file descriptor is free
                    self._log.log(
                        logging.WARNING,
                        "accept",
                        "control socket %s cannot accept connections now: %s",
                        self.path,
                        exc,
                    )
                    await asyncio.sleep(ACCEPT_PAUSE)
        finally:
            self._listener.close()  # also when the loop ends without the end of the bus

    async def _open(self, accepted: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=MAX_LINE, loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        try:
            error = self._refusal(accepted)
            transport, _ = await loop.connect_accepted_socket(lambda: protocol, accepted)
        except BaseException:
            accepted.close()
            raise
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        if error is not None:
            self._refused += 1
            writer.write(error_line(error))
            writer.close()
            return
        self._accepted += 1
        self._sockets.add(accepted)
        connection = Connection(reader, writer, self._handlers.start, self._on_fault)
        task = _spawn(connection.serve(self._hello), f"edr control {self.name} connection")
        self._connections[task] = connection
        task.add_done_callback(self._on_end)

    def _on_end(self, task: asyncio.Task[None]) -> None:
        self._connections.pop(task).abort()  # it may have been cancelled before it began
        if not task.cancelled() and (exc := task.exception()) is not None:
            self._on_fault(exc)

    def _refusal(self, accepted: socket.socket) -> RequestError | None:
        try:
            uid = peer_uid(accepted)
        except OSError:
            uid = -1
        if uid not in (0, os.geteuid()):
            self._log.log(
                logging.WARNING,
                "peer",
                "control socket %s refused a connection of the user %d",
                self.path,
                uid,
            )
            return RequestError("not_permitted", "the socket belongs to another user")
        if len(self._connections) >= MAX_CONNECTIONS:
            return RequestError(
                "too_many_connections", f"the socket has {MAX_CONNECTIONS} connections"
            )
        return None

    def _on_fault(self, exc: BaseException) -> None:
        self._log.log(
            logging.ERROR,
            f"fault {type(exc).__name__}",
            "control socket %s failed to answer a request: %r",
            self.path,
            exc,
            exc=exc,
        )

    # End

    async def _close(self) -> None:
        self._bus.remove_service(self)
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.wait([self._accepting])
        self._listener.close()
        reason = "the bus has closed" if self._bus.closed else "the control socket was closed"
        goodbye = orjson.dumps({"is": "bye", "detail": reason}) + b"\n"
        closings = {
            _spawn(connection.close(goodbye), "edr control closes a connection"): connection
            for connection in list(self._connections.values())  # an eager task may end it
        }
        await _while_read(closings)
        tasks = [*closings, *self._connections]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._streams.close()
        _open.discard(self)

    def close_in_child(self) -> None:
        """Close the descriptors of the connections in a forked process."""
        for each in list(self._sockets):
            with suppress(OSError):
                each.close()


def expose(
    bus: Bus | None = None,
    *,
    name: str | None = None,
    history: int = 0,
    allow: Collection[str] = (),
    parts: Parts | None = None,
    path: str | os.PathLike[str] | None = None,
    mode: int = 0o600,
    reload: Reload | None = None,
) -> Opening[Exposed]:
    """Expose a bus on a Unix socket, so that ``edr tail``, ``top`` and ``explain`` can observe it.

    ``await expose()`` exposes the default bus until it ends. ``async with expose() as exposed``
    closes the socket at the end of the block. While the bus drains, the socket stays open.

    Observers do not disturb the bus: they have no subscription and no queue, a drain does not wait
    for them, and an event that no observer matches costs nothing more. A tail takes at most 5 % of
    the loop's time. An observer that is too slow is told how many events it missed.

    Args:
        bus: the bus; by default the default bus of the running loop.
        name: what operators type to name the process: letters, digits, ``_``, ``.`` and ``-``. By
            default the name of the program.
        history: number of earlier events that are kept, for ``edr tail --last`` and ``edr explain
            --last``. With a history every event counts as matched, so an emit without a subscriber
            costs five times as much. Without a history they read the journal of the bus, if it has
            one.
        allow: the changes that the socket permits: ``"emit"``, ``"bindings"``, ``"sinks"``,
            ``"reload"``. By default it is read-only.
        parts: components without a subscription that are shown too, or a function that returns
            those of this moment; see ``Part``. Links of the bus are shown without this.
        path: the path of the socket. By default ``NAME.PID.sock`` in the runtime folder:
            ``$EDR_RUNTIME_DIR``, else ``$XDG_RUNTIME_DIR/edr``, else ``edr-UID`` in the temporary
            folder.
        mode: the mode of the socket. Only processes of this user and of root are served, also with
            a wider mode.
        reload: called for ``edr reload``, which prints its result. Needed for ``allow={"reload"}``.

    Raises:
        SocketPathError: the socket cannot be made, or its folder is not safe. Raised when the
            result is awaited.
        BusClosedError, WrongLoopError: the bus cannot be used here; as above.
        TypeError, ValueError: an argument is not valid.
    """
    if name is None:
        name = program_name()
    elif not isinstance(name, str) or not NAME.fullmatch(name):
        raise ValueError(
            "name must be 1 to 63 letters, digits, _, . and -, and begin with a letter or digit, "
            f"got {name!r}"
        )
    if not isinstance(history, int) or isinstance(history, bool) or history < 0:
        raise ValueError(f"history must be a number of events, 0 or more, got {history!r}")
    permitted = _checked_permissions(allow)
    if "reload" in permitted and reload is None:
        raise ValueError("allow={'reload'} needs a function: expose(reload=…)")
    if not isinstance(mode, int) or mode & ~0o777 or mode & _OWNER != _OWNER:
        raise ValueError(f"mode must be permissions that include 0600, such as 0o660, got {mode!r}")

    async def start() -> Exposed:
        exposed_bus = default_bus() if bus is None else bus
        exposed_bus.enter()
        file = _path_for(name, path)
        log = RateLimitedLog()
        streams = Streams(
            exposed_bus,
            size=max(WINDOW, history),
            bytes=max(WINDOW_BYTES, history * 1024),
            history=history > 0,
        )
        part_list = PartList(exposed_bus, parts, log)
        handlers = Handlers(
            exposed_bus,
            streams,
            part_list,
            Snapshots(exposed_bus, part_list, log),
            allow=permitted,
            history=history,
            reload=reload,
        )
        try:
            listener = Listener(file, mode)
        except BaseException:
            streams.close()
            raise
        hello = {
            "edr": VERSION,
            "bus": name,
            "node": exposed_bus.node,
            "pid": os.getpid(),
            "version": _version(),
            "history": history,
        }
        exposed = Exposed(exposed_bus, name, listener, handlers, streams, hello)
        try:
            exposed_bus.add_service(exposed, f"control socket {name}")
        except BaseException:
            listener.close()
            streams.close()
            raise
        await exposed.start()
        log_safely(logging.INFO, "control socket of %s opened at %s", name, file)
        return exposed

    return Opening(start)


def _path_for(name: str, path: str | os.PathLike[str] | None) -> Path:
    """Return the path of the socket, after a check of its folder."""
    check_supported()
    if path is not None:
        file = Path(path).absolute()
        check_shared_folder(file.parent)
        return file
    folder = runtime_folder()
    make_runtime_folder(folder)
    return folder / f"{name}.{os.getpid()}.sock"


def _checked_permissions(allow: Iterable[str]) -> frozenset[str]:
    permitted = frozenset([allow] if isinstance(allow, str) else allow)
    unknown = permitted - set(PERMISSIONS)
    if unknown:
        raise ValueError(
            f"allow must have only {', '.join(PERMISSIONS)}, got {', '.join(map(repr, unknown))}"
        )
    return permitted


def program_name() -> str:
    """Return the name of this program, without characters that a name must not have."""
    program = Path(sys.argv[0] if sys.argv else "")
    stem = program.parent.name if program.stem == "__main__" else program.stem
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", stem).lstrip("_.-")[:63]
    return name or "python"


def _version() -> str:
    from edr import __version__  # noqa: PLC0415 - the facade is not loaded before this package

    return __version__


async def _while_read(closings: Mapping[asyncio.Task[None], Connection]) -> None:
    """Wait until the connections are closed, or until no client reads its last lines any more."""
    reading = dict(closings)
    end = asyncio.get_running_loop().time() + CLOSE_TIMEOUT
    while reading and (left := end - asyncio.get_running_loop().time()) > 0:
        unread = {task: connection.unread for task, connection in reading.items()}
        await asyncio.wait(reading, timeout=min(READ_TIMEOUT, left))
        reading = {
            task: connection
            for task, connection in reading.items()
            if not task.done() and not 0 < unread[task] <= connection.unread
        }


def _spawn(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    # Without the context of the caller: a span or a context of events must not live as long.
    return asyncio.get_running_loop().create_task(work, name=name, context=Context())


_OWNER = 0o600

_open = tracked_across_forks(Exposed.close_in_child)
