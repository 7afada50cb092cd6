"""The HTTP servers of the application: ``HttpServer``, and ``WebServer`` for the web gateway.

``HttpServer`` has ``/livez``, ``/readyz``, ``/metrics`` and ``/ingest``. It starts before the
journal is open, so that ``/livez`` answers while a damaged one is repaired. With one address for
``http`` and ``web``, it also has all other paths for the gateway.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, TypedDict

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from edr.app.application import Application
from edr.app.config import WebConfig
from edr.web import Server

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

MAX_LAG = 5.0
"""Seconds for which the loop may have been held up: more, and the service should be restarted."""

HEARTBEAT_INTERVAL = 1.0
"""Seconds between two measurements of the lag of the loop."""


class Network(TypedDict):
    """The options of ``edr.web.Server`` about TLS and proxies."""

    behind_proxy: bool
    proxies: tuple[str, ...]
    certificate: str | None
    key: str | None


PLAIN = Network(behind_proxy=True, proxies=(), certificate=None, key=None)
"""For ``http`` alone, which may listen on every address without TLS: probes have no secrets. The
configuration check requires tokens for ``/ingest``. No proxy is believed."""


def network_of(web: WebConfig) -> Network:
    """Return the options of the server of ``web``."""
    return Network(
        behind_proxy=web.behind_proxy,
        proxies=web.proxies,
        certificate=None if web.certificate is None else str(web.certificate),
        key=None if web.key is None else str(web.key),
    )


class HttpServer:
    """One HTTP server on one address.

    Args:
        application: is measured.
        listen: ``HOST:PORT``. Port 0 chooses a free one.
        ingest: returns the application that answers ``POST /ingest``; ``None`` without a source
            of the type http.
        may_read_metrics: returns whether a request with this ``Authorization`` header may read the
            metrics; by default all may.
        web: returns the application for all other paths; ``None`` while it does not run. By default
            they answer 404.
        network: TLS and proxies.
    """

    def __init__(
        self,
        application: Application,
        listen: str,
        *,
        ingest: Callable[[], ASGIApp | None] = lambda: None,
        may_read_metrics: Callable[[str], bool] = lambda _: True,
        web: Callable[[], ASGIApp | None] | None = None,
        network: Network = PLAIN,
    ) -> None:
        self.address: str = listen
        self._application = application
        self._ingest = ingest
        self._may_read_metrics = may_read_metrics
        self._web = web
        self._network = network
        self._server: Server | None = None
        self._heart: asyncio.Task[None] | None = None
        self._lag = 0.0

    async def start(self) -> None:
        """Listen and serve. Idempotent.

        Raises:
            OSError: the address cannot be used.
        """
        if self._server is not None:
            return
        app: ASGIApp = self._app()
        if self._web is not None:
            app = _ByPath(app, _Forward(self._web))
        server = await _started("http", app, self.address, self._network)
        self.address = server.url.partition("://")[2]
        self._server = server
        self._heart = asyncio.get_running_loop().create_task(
            self._beat(), name="edr http heartbeat"
        )

    async def aclose(self) -> None:
        """End open requests, within 3 s, and stop. Idempotent."""
        if self._heart is not None:
            self._heart.cancel()
            await asyncio.wait([self._heart])
        if self._server is not None:
            await self._server.aclose()

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


class _ByPath:
    """Gives the paths of ``HttpServer`` to one application, and all others to another one.

    Starlette's own router would add work to each write of a stream.
    """

    PATHS = frozenset({"/livez", "/readyz", "/metrics", "/ingest"})

    def __init__(self, own: ASGIApp, others: ASGIApp) -> None:
        self._own = own
        self._others = others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_own = scope["type"] == "http" and scope["path"] in self.PATHS
        await (self._own if is_own else self._others)(scope, receive, send)


class WebServer:
    """The server of the web gateway, if ``http`` has another address or is not configured.

    Args:
        web: returns the gateway; ``None`` while it does not run.
        configuration: the section ``web``.
    """

    def __init__(self, web: Callable[[], ASGIApp | None], configuration: WebConfig) -> None:
        self.address: str = configuration.listen
        self._web = web
        self._network = network_of(configuration)
        self._server: Server | None = None

    async def start(self) -> None:
        """Listen and serve. Idempotent.

        Raises:
            OSError: the address or the certificate cannot be used.
        """
        if self._server is None:
            self._server = await _started("web", _Forward(self._web), self.address, self._network)
            self.address = self._server.url.partition("://")[2]

    async def aclose(self) -> None:
        """Stop. The gateway has ended its streams before. Idempotent."""
        if self._server is not None:
            await self._server.aclose()


async def _started(section: str, app: ASGIApp, listen: str, network: Network) -> Server:
    server = Server(app, listen, **network)
    try:
        await server.start()
    except OSError as exc:
        raise OSError(exc.errno, f"{section}.listen: {exc.strerror or exc}") from exc
    return server
