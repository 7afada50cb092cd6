"""``Gateway``: the ASGI application. It finds the route of a request, and checks the client first.

A mounted application receives no lifespan events, so the gateway starts with its first request. It
ends with ``stop``, or with the bus.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeAlias

from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

from edr.bus import Bus, default_bus
from edr.errors import BusClosedError
from edr.journal import Journal
from edr.records import EVERY_EVENT, Binding, checked_bindings
from edr.streams import Streams
from edr.web.access import Access
from edr.web.authentication import Authenticate, Authentication
from edr.web.channel import Channel
from edr.web.client_list import GatewayClient
from edr.web.clients import Clients
from edr.web.context import Context, GatewayStatistics
from edr.web.limits import ClientCounts, Limits
from edr.web.operators import clients, top
from edr.web.origins import PREFLIGHT, Origins
from edr.web.pages import Pages
from edr.web.queries import explain, recent, ticket
from edr.web.refusals import RefusedError
from edr.web.responses import answer, answer_json, refuse
from edr.web.sse_route import stream_events
from edr.web.tickets import Tickets
from edr.web.visit import Visit
from edr.web.websocket import serve

MIB = 2**20

Answer: TypeAlias = Callable[[Visit], Awaitable[dict[str, Any]]]


class Route(NamedTuple):
    """A route that needs an identity."""

    methods: tuple[str, ...]
    answer: Answer | None
    """Returns the JSON object of the answer; ``None`` for the stream of events."""


ROUTES: Mapping[str, Route] = {
    "/events": Route(("GET", "POST"), None),
    "/recent": Route(("GET", "POST"), recent),
    "/explain": Route(("GET", "POST"), explain),
    "/ticket": Route(("POST",), ticket),
    "/clients": Route(("GET",), clients),
    "/top": Route(("GET",), top),
}
"""The routes below the mount of the gateway."""


class Gateway:
    """Streams the events of a bus to browsers and other HTTP clients. It is an ASGI application.

    Mount it, or run it alone with ``edr.web.Server``. Use it in the loop of the bus. It has no
    events from before it was created (without ``journal``).

    Args:
        bus: the bus; by default the default bus of the loop that serves the first request.
        bindings: the events that the gateway can show; without one, every event.
        authenticate: returns the grant of a token, or ``None``. See ``Authenticate``.
        origins: the sites whose pages may use the gateway; its own site may always.
        hosts: the host names of the gateway; see ``edr.web.Origins``.
        ring: the most events in memory, for clients that lag or return.
        ring_bytes: the most bytes of them.
        history: keep every event, also one that no client matches. Needed to show the past to the
            first client. Each emit then costs more; see ``edr.streams.Streams``.
        journal: show the events of this journal. Cursors then stay valid across restarts.
        heartbeat: seconds without an event after which a client is sent its cursor.
        send_timeout: seconds after which a client that does not read is given up.
        limits: the limits of clients and of requests.
        viewer: serve the page that shows the events.
        name: its name in ``edr top`` and in metrics.

    Raises:
        TypeError, ValueError: an argument is not valid.
    """

    def __init__(
        self,
        bus: Bus | None = None,
        *bindings: Binding,
        authenticate: Authenticate,
        origins: Collection[str] = (),
        hosts: Collection[str] | None = None,
        ring: int = 10_000,
        ring_bytes: int = 32 * MIB,
        history: bool = True,
        journal: Journal | None = None,
        heartbeat: float = 15.0,
        send_timeout: float = 10.0,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        viewer: bool = True,
        name: str = "web",
    ) -> None:
        for option, value in (("heartbeat", heartbeat), ("send_timeout", send_timeout)):
            if not isinstance(value, (int, float)) or not 0 < value < float("inf"):
                raise ValueError(f"{option} must be a number of seconds above 0, got {value!r}")
        self.name: str = name
        self.kind: str = "gateway"
        self._bus = bus
        self._bindings = checked_bindings(bindings) if bindings else ()
        self._authentication = Authentication(authenticate)
        self._origins = Origins(origins, hosts)
        self._ring = ring
        self._ring_bytes = ring_bytes
        self._history = history and journal is None
        self._journal = journal
        self._heartbeat = heartbeat
        self._send_timeout = send_timeout
        self._limits = limits
        self._counts = ClientCounts(limits)
        self._pages = Pages() if viewer else None
        self._context: Context | None = None
        self._is_attached = False
        if bus is not None:
            self._context = self._new_context(bus)

    # As a server calls it

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, a WebSocket or the lifespan of a server."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "websocket":
            await self._serve_websocket(scope, receive, send)
        else:
            await self._serve(scope, receive, send)

    async def _serve_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            context = self._running_context()
        except BusClosedError as exc:
            refusal = RefusedError("bus_closed", str(exc))
        else:
            path = path_of(scope)
            if path == "/ws":
                await serve(context, scope, receive, send)
                return
            refusal = RefusedError("not_found", f"the gateway has no WebSocket at {path[:100]}")
        await Channel(receive, send).refuse(scope, refusal)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        headers = self._origins.cors(request)
        context = None
        try:
            context = self._running_context()
            await self._answer(context, request, receive, send, headers)
        except RefusedError as exc:
            if context is not None:
                context.refused[exc.code] += 1
            await refuse(send, exc, headers)
        except BusClosedError:
            scope["query_string"] = b""  # not checked, and a server may log it
            refusal = RefusedError("bus_closed", "the bus of the gateway is closed")
            await refuse(send, refusal, headers)
        except ClientDisconnect:
            pass

    async def _answer(
        self,
        context: Context,
        request: Request,
        receive: Receive,
        send: Send,
        headers: Mapping[str, str],
    ) -> None:
        path = path_of(request.scope)
        route = ROUTES.get(path)
        context.access.check(request, is_page=route is None)
        if route is None:
            await self._show_page(request, path, send)
            return
        if request.method == "OPTIONS":
            await answer(send, 204, b"", {**headers, **PREFLIGHT})
            return
        if request.method not in route.methods:
            allowed = {"Allow": ", ".join(route.methods)}
            detail = f"the method must be {' or '.join(route.methods)}"
            raise RefusedError("method_not_allowed", detail, headers=allowed)
        context.check_running()
        peer = context.access.peer_of(request, "http" if route.answer else "sse")
        with context.counts.enter(peer.address) as seat:
            identity = await context.access.identify(request, peer)
            seat.take_account(identity.grant.account)
            visit = Visit(context, request, identity, peer, seat)
            if route.answer is None:
                await stream_events(visit, receive, send, headers)
            else:
                await answer_json(send, await route.answer(visit), headers)

    async def _show_page(self, request: Request, path: str, send: Send) -> None:
        page = self._pages.respond(request, path) if self._pages is not None else None
        if page is None:
            raise RefusedError("not_found", f"the gateway has no {path[:100]}")
        if request.method not in {"GET", "HEAD"}:
            raise RefusedError(
                "method_not_allowed",
                "the method must be GET or HEAD",
                headers={"Allow": "GET, HEAD"},
            )
        await page(request.scope, request.receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self.start()
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return

    # The life of the gateway

    async def start(self) -> None:
        """Begin to keep events, without waiting for the first client. Idempotent.

        Raises:
            BusClosedError: the bus is closed.
        """
        self._running_context()

    async def renew(self) -> None:
        """Call the authenticator again for each client, such as after tokens have changed.

        A client whose grant has ended receives ``bye`` with the reason ``grant``. The others
        continue. It returns when the authenticator has answered for each, after at most 5 s.
        Without it, a grant is renewed each minute.
        """
        await self._authentication.renew()

    async def stop(self) -> None:
        """End all streams, with the reason ``stopping``, and refuse new clients. Idempotent.

        Each client first receives the events that it can read in 0.7 s. It returns within 1 s.
        Cancellation: the streams end nevertheless.
        """
        context = self._context
        if context is None:
            return
        if not context.is_stopping:
            context.is_stopping = True
            context.bus.remove_service(self)
            context.streams.close()
        await context.clients.stop("stopping")

    async def drain(self, timeout: float | None = None) -> int:
        """Send the last events, and stop. Return 0. Called by the bus when it drains."""
        if self._context is not None:
            await self._context.streams.drain(timeout)
        await self.stop()
        return 0

    async def aclose(self) -> None:
        """Stop. Idempotent."""
        await self.stop()

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
        """Stop."""
        await self.stop()

    def statistics(self) -> GatewayStatistics:
        """Return the counts of this moment."""
        context = self._context
        if context is None:
            return GatewayStatistics(0, 0, 0, 0, 0, {}, {})
        streams = context.streams.statistics()
        return GatewayStatistics(
            clients=len(context.clients),
            groups=streams.groups,
            sent=streams.sent,
            missed=streams.missed,
            withheld=streams.withheld,
            refused=dict(context.refused),
            closed=dict(context.clients.closed),
        )

    def clients(self) -> list[GatewayClient]:
        """Return the clients whose streams run, oldest first. It takes about 10 µs for each."""
        context = self._context
        return [] if context is None else [GatewayClient.of(each) for each in context.clients]

    @property
    def counts(self) -> ClientCounts:
        """The clients by account and by address, before they are authenticated too."""
        return self._counts

    @property
    def bindings(self) -> Sequence[Binding]:
        """The events that it can show."""
        return self._bindings or (EVERY_EVENT,)

    def status(self) -> dict[str, Any]:
        """Return its state and its counts, as ``edr top`` shows them."""
        context, counts = self._context, self.statistics()
        accounts = {} if context is None else context.counts.by_account
        return {
            "state": "stopped" if context is not None and context.is_stopping else "running",
            "delivered": counts.sent,
            "missed": counts.missed,  # not "lost": each client was told, and may resume
            "clients": counts.clients,
            "groups": counts.groups,
            "withheld": counts.withheld,
            "closed": counts.closed,
            "accounts": {name or "everything": n for name, n in accounts.items()},
        }

    def _running_context(self) -> Context:
        """Return the context of the bus, and attach the gateway to the bus the first time.

        Raises:
            BusClosedError: the bus is closed.
            WrongLoopError: the bus belongs to another loop.
        """
        context = self._context
        if self._bus is None and (context is None or context.bus is not default_bus()):
            # A new loop, such as that of the next test, has a new default bus.
            context = self._context = self._new_context(default_bus())
            self._is_attached = False
        assert context is not None
        if not self._is_attached and not context.is_stopping:
            context.bus.add_service(self, "web gateway")
            self._is_attached = True
        return context

    def _new_context(self, bus: Bus) -> Context:
        streams = Streams(
            bus,
            *self._bindings,
            size=self._ring,
            bytes=self._ring_bytes,
            history=self._history,
            journal=self._journal,
        )
        return Context(
            bus=bus,
            streams=streams,
            access=Access(self._authentication, Tickets(), self._origins),
            counts=self._counts,
            clients=Clients(heartbeat=self._heartbeat, send_timeout=self._send_timeout),
            limits=self._limits,
        )


def path_of(scope: Scope) -> str:
    """Return the path below the mount of the gateway, without a final slash; ``/`` for the page.

    Some frameworks leave the prefix in ``path`` and name it in ``root_path``. Litestar removes it.
    """
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    if root and (path == root or path.startswith(f"{root}/")):
        path = path[len(root) :]
    return path.rstrip("/") or "/"
