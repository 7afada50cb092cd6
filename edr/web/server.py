"""``Server``: runs an ASGI application, such as a gateway, with uvicorn and the right options.

* A client that stops reading holds a socket that a graceful close does not free: the kernel waits
  until its buffer is sent. ``TCP_USER_TIMEOUT`` limits this wait, and ``SO_SNDBUF`` limits the
  buffer. Both are set on the listening socket, and accepted connections inherit them.
* A client that sends its headers slowly, or not at all, is disconnected after ``HEADER_TIMEOUT``.
  uvicorn has no limit for that.
* Nor has uvicorn a limit for the rest of a body after the answer, for pings, and for the
  fragments of a frame. A client that sends these and does not read would fill the memory.
* Each connection takes a file of the process. Some files are kept for the rest of the program, and
  further connections are closed. asyncio would log thousands of errors a second.
* The access log is off, since it would store the queries of URLs, with tickets.
* Signals are left to the program.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from edr._util.log import RateLimitedLog, log_safely
from edr.web.frame_rate import FrameRate

if TYPE_CHECKING:
    from starlette.types import ASGIApp
    from websockets.frames import Frame

USER_TIMEOUT = 20_000
"""Milliseconds for which sent data may be unacknowledged, or the window of the peer be closed."""

SEND_BUFFER = 128 * 1024
"""Bytes of the kernel's buffer of one connection. It may otherwise grow to 4 MiB."""

WRITE_BUFFER = 16 * 1024
"""Bytes in the buffer of a connection after which the next write waits. Most of what is not sent
yet is in the kernel's buffer. asyncio's 64 KiB would be held for each client that does not read."""

HEADER_TIMEOUT = 10.0
"""Seconds in which the headers of a request must arrive."""

MAX_HEADERS = 40 * 1024
"""Bytes after which uvicorn closes a connection whose headers have not ended. The gateway itself
refuses 32 KiB, with an answer that says so."""

MAX_FRAME = 64 * 1024
"""Bytes of one frame of a WebSocket."""

MAX_PINGS, PING_BURST = 20.0, 40.0
"""Pings of a client in a second, and at once. Each is answered, whether the client reads or not."""

MAX_FRAGMENTS = 1024
"""Fragments of one frame of a WebSocket. Empty ones do not count for ``MAX_FRAME``."""

MAX_FLUSHES = 6
"""Times ``HEADER_TIMEOUT`` for a client to read the rest of an answer."""

BACKLOG = 1024
"""Connections that wait until they are accepted: all clients may return within a second."""

ACCEPTED_AT_ONCE = 25
"""Connections that asyncio accepts before it looks at the first of them."""

RESERVED_FILES = 200
"""Files that connections leave to the program, or half of all if that is less. More than
``ACCEPTED_AT_ONCE``."""

CLOSE_TIMEOUT = 1
"""Seconds for open requests to end, after the gateway has stopped. uvicorn takes whole seconds."""


_log = RateLimitedLog()


class Server:
    """An HTTP server on one TCP address. It is an async context manager.

    Args:
        app: the ASGI application. Its ``stop``, if it has one, is awaited before the server closes.
        listen: ``HOST:PORT``. Port 0 chooses a free one.
        behind_proxy: whether a proxy with TLS is in front of it. Needed for an address other than
            loopback, unless ``certificate`` is given.
        proxies: the addresses of proxies whose ``X-Forwarded-For`` and ``X-Forwarded-Proto`` are
            believed.
        certificate: the file of a TLS certificate, with its chain.
        key: the file of its private key, if it is not in ``certificate``.

    Raises:
        ValueError: ``listen`` is not valid, or it needs TLS.
    """

    def __init__(
        self,
        app: ASGIApp,
        listen: str = "127.0.0.1:8490",
        *,
        behind_proxy: bool = False,
        proxies: Collection[str] = ("127.0.0.1", "::1"),
        certificate: str | None = None,
        key: str | None = None,
    ) -> None:
        host, separator, port = listen.rpartition(":")
        if not separator or not host or not port.isdecimal() or int(port) > 65_535:  # noqa: PLR2004
            raise ValueError(f"listen must be HOST:PORT, got {listen!r}")
        self._host = host.removeprefix("[").removesuffix("]")
        if not (behind_proxy or certificate or _is_loopback(self._host)):
            raise ValueError(
                f"listen must be a loopback address, got {listen!r}: without TLS, tokens can be "
                "read on the network; give certificate=, or behind_proxy=True"
            )
        self._app = app
        self._port = int(port)
        self._certificate = certificate
        self._key = key
        self._proxies = list(proxies) if behind_proxy else []
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port on which it listens."""
        return self._port

    @property
    def url(self) -> str:
        """The URL of the server, without a final slash."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'https' if self._certificate else 'http'}://{host}:{self._port}"

    async def start(self) -> None:
        """Listen and serve. Idempotent.

        Raises:
            OSError: the address cannot be used, or the certificate cannot be read.
        """
        if self._serving is not None:
            return
        listener = await _listen(self._host, self._port)
        try:
            self._server = _Server(self._config())
        except BaseException:
            listener.close()
            raise
        self._port = listener.getsockname()[1]
        self._serving = asyncio.get_running_loop().create_task(
            self._server.serve(sockets=[listener]), name="edr web server"
        )
        await self._server.has_started.wait()
        log_safely(logging.INFO, "http server listens on %s", self.url)

    async def aclose(self) -> None:
        """Stop the application, end open requests, and close. Idempotent.

        It takes at most 3 s. Connections that are still open are then reset.
        """
        server, serving = self._server, self._serving
        if server is None or serving is None:
            return
        stop = getattr(self._app, "stop", None)
        if stop is not None:
            await stop()
        server.stop()
        await asyncio.wait([serving])
        server.abort_connections()
        await asyncio.sleep(0)  # for their ``connection_lost``

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""
        await self.aclose()

    def _config(self) -> uvicorn.Config:
        return uvicorn.Config(
            self._app,
            http=_Http,
            ws=_WebSocket,
            backlog=ACCEPTED_AT_ONCE,
            log_config=None,
            log_level="info",  # at DEBUG it logs the handshakes of WebSockets, with their tokens
            access_log=False,
            lifespan="off",
            server_header=False,
            proxy_headers=bool(self._proxies),
            forwarded_allow_ips=self._proxies,
            h11_max_incomplete_event_size=MAX_HEADERS,
            timeout_graceful_shutdown=CLOSE_TIMEOUT,
            ws_max_size=MAX_FRAME,
            ws_per_message_deflate=False,
            ws_ping_interval=20.0,
            ws_ping_timeout=20.0,
            ssl_certfile=self._certificate,
            ssl_keyfile=self._key,
            ssl_version=ssl.PROTOCOL_TLS_SERVER,
        )


def max_connections() -> int:
    """Return how many connections a server may have, from the limit of open files."""
    if sys.platform == "win32":
        return sys.maxsize
    import resource  # noqa: PLC0415 - Windows has none

    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return sys.maxsize
    return max(files // 2, files - RESERVED_FILES)


class _Http(H11Protocol):
    """Aborts a connection whose headers, or the rest of whose body, do not arrive in time."""

    _deadline: asyncio.TimerHandle | None = None
    _flushes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=WRITE_BUFFER)
        self._expect_headers()
        most = max_connections()
        if len(self.connections) > most:
            _log.log(
                logging.WARNING,
                "connections",
                "a web server has %d connections and closed a further one; raise the limit of open "
                "files (ulimit -n)",
                most,
            )
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._deadline is not None:
            self._deadline.cancel()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        if self._deadline is not None:  # otherwise it would hold this object
            self._deadline.cancel()
        super().handle_websocket_upgrade(event)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._expect_headers()

    def _expect_headers(self, flushes: int = 0) -> None:
        self._flushes = flushes
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(HEADER_TIMEOUT, self._check_headers)

    def _check_headers(self) -> None:
        cycle = self.cycle
        is_answered = cycle is not None and cycle.response_complete  # the body is not read any more
        if self.conn.their_state is not h11.IDLE and not is_answered:
            return
        if self.transport.get_write_buffer_size() and self._flushes < MAX_FLUSHES:
            self._expect_headers(self._flushes + 1)  # it reads the last answer
        else:
            self.transport.abort()


class _WebSocket(WebSocketsSansIOProtocol):
    """Ends a connection with a flood of pings or fragments. These do not reach the application."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._pings = FrameRate(MAX_PINGS, PING_BURST, clock=self.loop.time)
        self._fragments = 0

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            # websockets has refused a header, such as a long one. uvicorn would send nothing, and
            # the connection would stay open.
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and self.close_sent:
            # The handshake is refused, and complete. uvicorn would log an error for each of them.
            self.handshake_complete = True

    def handle_ping(self) -> None:
        if self._pings.allows():
            super().handle_ping()
        else:
            self.transport.abort()

    def handle_cont(self, event: Frame) -> None:
        self._fragments = 0 if event.fin else self._fragments + 1
        if self._fragments <= MAX_FRAGMENTS:
            super().handle_cont(event)
        else:
            self.transport.abort()


class _Server(uvicorn.Server):
    """A server that leaves the signals to the program, and says when it has started."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        config.load()  # reads the certificate, so that its fault is raised in ``start``
        self.has_started = asyncio.Event()
        self._stops = asyncio.Event()

    def stop(self) -> None:
        """Begin to close."""
        self.should_exit = True
        self._stops.set()

    async def main_loop(self) -> None:
        """Wait for ``stop``. uvicorn would look for it ten times a second."""
        while not await self.on_tick(0):  # 0 renews the header Date
            with suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._stops.wait()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for each in sockets or ():
            each.listen(BACKLOG)  # asyncio has set ACCEPTED_AT_ONCE, which limits both
        self.has_started.set()

    def abort_connections(self) -> None:
        """Reset the connections that did not end."""
        for connection in list(self.server_state.connections):
            transport: Any = connection.transport
            transport.abort()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture nothing."""
        yield


async def _listen(host: str, port: int) -> socket.socket:
    """Return a listening socket whose connections have the right options."""
    infos = await asyncio.get_running_loop().getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    family, kind, protocol, _, address = infos[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        if sys.platform == "linux":
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT)
        with suppress(OSError):  # keep-alive finds a peer that is gone while nothing is sent
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as exc:
        listener.close()
        raise OSError(exc.errno, f"cannot listen on {host}:{port}: {exc.strerror or exc}") from exc
    return listener


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
