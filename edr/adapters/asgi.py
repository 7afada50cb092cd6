"""ASGI applications: a bus for the lifetime of the application, a context for each request.

Works in every ASGI framework, such as FastAPI, Starlette and Litestar, without importing one.

Example::

    import asyncio
    import edr
    from edr.adapters.asgi import ContextMiddleware

    async def app(scope, receive, send):
        await edr.emit("shop", "1.0", "ok", "info", {"order": 1})
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})

    def account(scope):
        return dict(scope["headers"])[b"x-account"].decode()

    async def main():
        serve = ContextMiddleware(app, account=account)
        headers = [(b"x-account", b"acme"), (b"x-request-id", b"r1")]
        sent = []
        async def send(message):
            sent.append(message)

        async with edr.subscribe() as events:
            await serve({"type": "http", "headers": headers}, None, send)
            event = await anext(events)
        assert event.account_id == "acme"
        assert event.body == {"request_id": "r1", "order": 1}
        assert sent[0]["headers"] == [(b"x-request-id", b"r1")]

    asyncio.run(main())

**The lifespan** starts the bus before the first request, and drains it after the last one. All
servers end the lifespan after the requests, so the drain has all of their events.

**The middleware** opens an ``edr.context`` around each request and each WebSocket connection. It
has the account and the request id. Code of the application reads them with
``edr.current_context()``. The middleware is plain ASGI. Rejected: ``BaseHTTPMiddleware`` of
Starlette, which costs about twenty times as much and does not see WebSockets.
"""

from __future__ import annotations

import re
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    MutableMapping,
)
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Any, TypeAlias, final

from uuid_utils import uuid7

from edr.adapters.before_exit import before_exit as call_before_exit
from edr.bus import Bus, Service, context, start_default_bus

if TYPE_CHECKING:
    from edr.journal import Journal

Scope: TypeAlias = MutableMapping[str, Any]
"""The scope of a request or a connection; see the ASGI specification."""

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

Lifespan: TypeAlias = Callable[[Any], AbstractAsyncContextManager[Any]]
"""Called with the application; what it yields is the state of the lifespan."""

_SAFE_ID = re.compile(rb"[0-9A-Za-z_.:/+=@-]{1,128}")
"""A request id that is accepted from a client. A log line or a header can have it unescaped."""

_TOKEN = re.compile(r"[0-9A-Za-z!#$%&'*+.^_`|~-]+")
_STARTS = {"http.response.start", "websocket.accept", "websocket.http.response.start"}


def lifespan(
    own: Lifespan | None = None,
    *,
    bus: Bus | None = None,
    journal: Callable[[], Journal] | None = None,
    services: Iterable[Callable[[Bus], Service | Awaitable[object]]] = (),
    before_exit: Callable[[], object] | None = None,
    drain_timeout: float | None = 10.0,
) -> Lifespan:
    """Return a lifespan that runs a bus for the lifetime of an application.

    ``FastAPI(lifespan=lifespan())``; ``Starlette`` accepts it too, and ``Litestar(lifespan=[…])``.

    At the start it opens the bus and its journal, starts the services in their order, and enters
    ``own``. At the end it leaves ``own`` first. Then the bus drains, and ends its services and its
    journal; see ``Bus.drain``. The bus also drains if ``own`` or the start of a service raises, and
    the exception is raised again. If the lifespan is cancelled, the bus closes at once.

    An application may run several times, in tests for example: each time has its own default bus
    and its own journal.

    Args:
        own: the lifespan of the application, if it has one. Its state is passed on.
        bus: the bus; by default the default bus of the loop, with the options of
            ``edr.configure``.
        journal: makes the journal of the default bus: ``lambda: SqliteJournal("events.journal")``.
            In a test with the fixture ``edr_bus``, the bus has the journal of that fixture instead.
        services: functions that are called with the bus, such as ``edr.control.expose`` or ``lambda
            bus: NatsLink(bus, url)``. ``start()`` of the result is called, or the result is
            awaited. The bus ends them.
        before_exit: called at SIGINT or SIGTERM, before the server waits for open responses. Let it
            end event streams, which keep the server from its end: ``gateway.stop``. See
            ``edr.adapters.before_exit``.
        drain_timeout: seconds for the drain; ``None`` for no limit.

    Raises:
        ValueError: both ``bus`` and ``journal`` are given.
        RuntimeError: ``journal`` is given, and the default bus is in use before the start. Raised
            at the start, as are the errors of the journal and of the services.
    """
    if bus is not None and journal is not None:
        raise ValueError("journal must be that of the given bus: write Bus(journal=…)")
    starts = tuple(services)

    @asynccontextmanager
    async def run(app: Any) -> AsyncIterator[Any]:
        served = _started(journal) if bus is None else bus
        async with _open(served, drain_timeout):
            for make in starts:
                await _start(make(served))
            with nullcontext() if before_exit is None else call_before_exit(before_exit):
                async with nullcontext() if own is None else own(app) as state:
                    yield state

    return run


def _started(journal: Callable[[], Journal] | None) -> Bus:
    return start_default_bus() if journal is None else start_default_bus(journal=journal())


@asynccontextmanager
async def _open(bus: Bus, drain_timeout: float | None) -> AsyncIterator[None]:
    """Open the bus; at the end drain it, or close it if this is cancelled."""
    try:
        await bus.__aenter__()
        yield
    except Exception:  # of the application; a cancellation closes the bus without a drain
        await bus.drain(drain_timeout)
        raise
    else:
        await bus.drain(drain_timeout)
    finally:
        await bus.aclose()


async def _start(service: Service | Awaitable[object]) -> None:
    if isinstance(service, Awaitable):
        await service
    else:
        await service.start()


def method_and_path(scope: Scope) -> dict[str, str]:
    """Return the method and the path of a request, for ``ContextMiddleware(fields=…)``.

    A WebSocket connection has no method. A path may have names and numbers of users.
    """
    fields = {"path": scope["path"]}
    if "method" in scope:
        fields["method"] = scope["method"]
    return fields


@final
class ContextMiddleware:
    """Give each event that is emitted in a request the account and the id of the request.

    ``app.add_middleware(ContextMiddleware, account=account_of)``. It applies to the handler, its
    background tasks, the generator of a streaming response, and every task and thread that starts
    in the request. A body field of the same name wins, as does an account that the emit names; see
    ``edr.context``.

    The field ``request_id`` is the value of the header if it has 1 to 128 letters, digits and
    ``_.:/+=@-``, and otherwise a new id: 32 hex digits. The response has it in the same header,
    unless the application has set that itself; so has the answer to a WebSocket handshake.
    Exceptions pass through; a response that the framework makes outside of this middleware, such
    as Starlette's for status 500, has no request id.

    Args:
        app: the application.
        account: returns the account of a request, or ``None``; plain or async. It is called with
            the scope, before the application. It must verify what the client sends. Its exceptions
            pass through.
        fields: returns further fields of each body, such as ``method_and_path``; called with the
            scope. They must be JSON.
        header: the header of the request id.

    Raises:
        ValueError: ``header`` is not the name of a header.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        account: Callable[[Scope], str | Awaitable[str | None] | None] | None = None,
        fields: Callable[[Scope], Mapping[str, Any]] | None = None,
        header: str = "X-Request-ID",
    ) -> None:
        if not _TOKEN.fullmatch(header):
            raise ValueError(f"header must be the name of a header, got {header!r}")
        self._app = app
        self._account = account
        self._fields = fields
        self._header = header.lower().encode()

    # Any: Litestar types the three as TypedDict, Starlette as MutableMapping; neither accepts both.
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Handle a request or a connection; other scopes are passed on unchanged."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        request_id = self._request_id(scope)
        account = None if self._account is None else self._account(scope)
        if account is not None and not isinstance(account, str):
            account = await account
        fields = {} if self._fields is None else self._fields(scope)
        with context(account, **{"request_id": request_id, **fields}):
            await self._app(scope, receive, self._adding(request_id, send))

    def _request_id(self, scope: Scope) -> str:
        for name, value in scope.get("headers", ()):
            if name == self._header:
                return value.decode("ascii") if _SAFE_ID.fullmatch(value) else uuid7().hex
        return uuid7().hex

    def _adding(self, request_id: str, send: Send) -> Send:
        """Return a ``send`` that adds the header to the first message of the response."""

        def send_with_id(message: Message) -> Awaitable[None]:
            if message["type"] not in _STARTS:
                return send(message)
            headers = list(message.get("headers", ()))
            if all(name.lower() != self._header for name, _ in headers):
                headers.append((self._header, request_id.encode("ascii")))
            return send({**message, "headers": headers})

        return send_with_id
