"""``HttpServer``: ``/livez``, ``/readyz``, ``/metrics`` and ``/ingest`` of the application.

It starts before the journal is open, so that ``/livez`` answers while a damaged one is repaired.
Signals are left to the program.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from edr._util.log import log_safely
from edr.app.application import Application

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

MAX_LAG = 5.0
"""Seconds for which the loop may have been held up: more, and the service should be restarted."""

HEARTBEAT_INTERVAL = 1.0
"""Seconds between two measurements of the lag of the loop."""

CLOSE_TIMEOUT = 3.0
"""Seconds for open requests to end at the stop."""

_logger = logging.getLogger("edr.app")


class HttpServer:
    """One HTTP server on one address.

    Args:
        application: is measured.
        listen: ``HOST:PORT``. Port 0 chooses a free one.
        ingest: returns the application that answers ``POST /ingest``; ``None`` without a source
            of the type http.
        may_read_metrics: returns whether a request with this ``Authorization`` header may read the
            metrics; by default all may.
    """

    def __init__(
        self,
        application: Application,
        listen: str,
        *,
        ingest: Callable[[], ASGIApp | None] = lambda: None,
        may_read_metrics: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self.address: str = listen
        self._application = application
        self._ingest = ingest
        self._may_read_metrics = may_read_metrics
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self._heart: asyncio.Task[None] | None = None
        self._lag = 0.0

    async def start(self) -> None:
        """Listen and serve. Idempotent.

        Raises:
            OSError: the address cannot be used.
        """
        if self._serving is not None:
            return
        listener = await self._listen()
        host, port = listener.getsockname()[:2]
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        config = uvicorn.Config(
            self._app(),
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=int(CLOSE_TIMEOUT),
        )
        self._server = _Server(config)
        loop = asyncio.get_running_loop()
        self._heart = loop.create_task(self._beat(), name="edr http heartbeat")
        self._serving = loop.create_task(
            self._server.serve(sockets=[listener]), name="edr http server"
        )
        log_safely(logging.INFO, "http server listens on %s", self.address, logger=_logger)

    async def aclose(self) -> None:
        """End open requests, within 3 s, and stop. Idempotent."""
        if self._heart is not None:
            self._heart.cancel()
            await asyncio.wait([self._heart])
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            await asyncio.wait([self._serving], timeout=CLOSE_TIMEOUT + 1)
            self._serving.cancel()
            await asyncio.wait([self._serving])

    async def _listen(self) -> socket.socket:
        host, _, port = self.address.rpartition(":")
        loop = asyncio.get_running_loop()
        infos = await loop.getaddrinfo(
            host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, address = infos[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(128)
            listener.setblocking(False)
        except OSError as exc:
            listener.close()
            reason = f"http.listen: cannot listen on {self.address}: {exc.strerror or exc}"
            raise OSError(exc.errno, reason) from exc
        return listener

    def _app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/livez", self._livez),
                Route("/readyz", self._readyz),
                Route("/metrics", self._metrics),
                Route("/ingest", _Forward(self._ingest)),
            ]
        )

    async def _livez(self, _: Request) -> Response:
        if self._lag < MAX_LAG:
            return PlainTextResponse("ok\n")
        return PlainTextResponse(f"the loop was held up for {self._lag:.1f} s\n", 503)

    async def _readyz(self, _: Request) -> Response:
        lines = [f"application: {self._application.state}"]
        for name, status in self._application.status().items():
            error = status.get("error")
            text = f"{name}: {status.get('state')}" + (f": {error}" if error else "")
            lines.append("".join(each if each.isprintable() else "?" for each in text))
        text = "\n".join(lines) + "\n"
        return PlainTextResponse(text, 200 if self._application.is_ready else 503)

    async def _metrics(self, request: Request) -> Response:
        if not self._may_read_metrics(request.headers.get("authorization", "")):
            return PlainTextResponse("a token with the right metrics is needed\n", 401)
        try:
            from edr.app.metrics import page_of  # noqa: PLC0415 - needs prometheus-client
        except ImportError:
            return PlainTextResponse("install edr with its extra 'prometheus'\n", 501)
        page = page_of(self._application)
        return Response(page, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + HEARTBEAT_INTERVAL
            await asyncio.sleep(HEARTBEAT_INTERVAL)
            self._lag = loop.time() - due


class _Forward:
    """An ASGI application that calls the one of this moment, or answers 503."""

    def __init__(self, target: Callable[[], ASGIApp | None]) -> None:
        self._target = target

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        target = self._target()
        if target is None:
            target = PlainTextResponse("not now\n", 503, {"Retry-After": "5"})
        await target(scope, receive, send)


class _Server(uvicorn.Server):
    """A server that leaves the signals to the program."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture nothing."""
        yield
