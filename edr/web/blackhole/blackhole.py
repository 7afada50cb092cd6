"""``Blackhole``: the ASGI application that speaks Kazoo's Blackhole to browser clients."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from starlette.requests import HTTPConnection
from starlette.types import Receive, Scope, Send

from edr._util.log import RateLimitedLog
from edr.bus import Bus, default_bus
from edr.errors import BusClosedError
from edr.records import EVERY_EVENT, Binding
from edr.streams import Streams
from edr.web.authentication import Authenticate, Authentication
from edr.web.blackhole.client import BlackholeClient, client_of
from edr.web.blackhole.connection import STOPPING, Connection, Times
from edr.web.blackhole.handshake import Handshake, handshake_of
from edr.web.blackhole.session import Services, Session
from edr.web.channel import Channel, DisconnectedError
from edr.web.limits import ClientCounts, Limits, Seat
from edr.web.origins import Origins
from edr.web.peer import Peer
from edr.web.refusals import RefusedError

MIB = 2**20

STOP_TIMEOUT = 1.0
"""Seconds for the clients to receive the last events, and the close frame."""


@dataclass(frozen=True, slots=True)
class BlackholeStatistics:
    """The counts of one ``Blackhole``."""

    clients: int
    """Connections."""
    subscriptions: int
    """Subscriptions of all connections."""
    groups: int
    """Groups of subscriptions with the same binding and the same grant, including idle groups."""
    sent: int
    """Frames of events that were sent since the start."""
    missed: int
    """Events for which a client was disconnected, because it lagged more than the ring."""
    withheld: int
    """Events that matched a subscription and that its grant does not show."""
    refused: Mapping[str, int]
    """Connections that were refused since the start, by code."""
    closed: Mapping[str, int]
    """Connections that have ended, by reason: ``left`` (the client ended it), ``slow``, ``grant``,
    ``idle``, ``no_token``, ``rate``, ``too_large``, ``stopping`` or ``failed``."""


class Blackhole:
    """An ASGI application for the browser clients of Kazoo's Blackhole, by WebSocket.

    Mount it at any path, or serve it alone. Frames are those of Kazoo, byte for byte, so that
    clients need no change. ``docs/blackhole.md`` has the differences.

    A client receives an event if its subscription matches and its grant shows it. The grant is
    tested on each event, before the event reaches the connection. Events arrive at most once and in
    order. A client that lags more than the ring is disconnected, so it never misses an event
    without notice. It cannot resume. A client does not slow down an emit.

    It starts with the first client, and ends with ``stop`` or with the bus. Use it in the loop of
    the bus.

    Args:
        bus: the bus; ``None`` for the default bus of the loop that serves the first client.
        authenticate: returns the grant of a token, or ``None``. It is called with the token of the
            first frame, again with a token that differs, each minute, and when the grant expires.
        origins: the sites whose pages may connect, such as ``https://ui.example.net``; by default
            all, as in Kazoo. With it, the site of this server must be listed too. The token is in a
            frame and not in a cookie, so a page of another site does not have it.
        check_accounts: answer ``unauthorized account id`` to a client that subscribes to an account
            which is not below its own, according to ``Bus(accounts=…)``. Without ``accounts``, no
            account is below another one. ``False`` accepts every account; the client then receives
            only events whose account tree contains its own account.
        ring: the most events that a client can lag.
        ring_bytes: bytes of the JSON of these events.
        idle_timeout: seconds without a frame in either direction, until a client is disconnected.
        token_timeout: seconds in which a client must send a valid token. Monster UI connects when
            it starts, and sends the token with its first subscription.
        send_timeout: seconds for one write. Then the client is disconnected.
        limits: the limits of connections and frames.
        name: its name in ``edr top`` and in metrics.

    Raises:
        TypeError, ValueError: an argument is not valid.
    """

    def __init__(
        self,
        bus: Bus | None,
        authenticate: Authenticate,
        *,
        origins: Collection[str] | None = None,
        check_accounts: bool = True,
        ring: int = 10_000,
        ring_bytes: int = 32 * MIB,
        idle_timeout: float = 3600.0,
        token_timeout: float = 600.0,
        send_timeout: float = 10.0,
        limits: Limits | None = None,
        name: str = "blackhole",
    ) -> None:
        self.name: str = name
        self.kind: str = "gateway"
        self._bus = bus
        self._authentication = Authentication(authenticate)
        self._origins = None if origins is None else Origins(origins)
        self._check_accounts = check_accounts
        self._ring, self._ring_bytes = ring, ring_bytes
        self._times = Times(idle=idle_timeout, token=token_timeout, send=send_timeout)
        self._limits = limits or Limits()
        self.counts: ClientCounts = ClientCounts(self._limits)
        """Its connections by account and by address."""
        self._log = RateLimitedLog()
        self._services: Services | None = None
        self._clients: dict[Connection, _Client] = {}
        self._is_empty = asyncio.Event()
        self._is_empty.set()
        self._is_stopped = False
        self._count = self._sent = 0
        self._refused: Counter[str] = Counter()
        self._closed: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, or the lifespan if it is served alone."""
        if "query_string" in scope:
            scope["query_string"] = b""  # it is not used, and servers log it: it may have a token
        if scope["type"] == "websocket":
            await self._serve(scope, Channel(receive, send))
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await _require_upgrade(send)

    def clients(self) -> list[BlackholeClient]:
        """Return the connections, oldest first."""
        return [each.snapshot() for each in self._clients.values()]

    def statistics(self) -> BlackholeStatistics:
        """Return the counts of this moment."""
        streams = None if self._services is None else self._services.streams.statistics()
        return BlackholeStatistics(
            clients=len(self._clients),
            subscriptions=0 if streams is None else streams.places,
            groups=0 if streams is None else streams.groups,
            sent=self._sent + sum(connection.sent for connection in self._clients),
            missed=0 if streams is None else streams.missed,
            withheld=0 if streams is None else streams.withheld,
            refused=dict(self._refused),
            closed=dict(self._closed),
        )

    @property
    def bindings(self) -> tuple[Binding, ...]:
        """The events that it can show: every event."""
        return (EVERY_EVENT,)

    def status(self) -> dict[str, Any]:
        """Return its state and its counts, as ``edr top`` shows them."""
        counts = self.statistics()
        accounts = self.counts.by_account
        return {
            "state": "stopped" if self._is_stopped else "running",
            "delivered": counts.sent,
            "lost": {"slow": counts.missed},
            "clients": counts.clients,
            "groups": counts.groups,
            "withheld": counts.withheld,
            "closed": counts.closed,
            "accounts": {name or "everything": n for name, n in accounts.items()},
        }

    async def renew(self) -> None:
        """Call the authenticator again for each client, such as after tokens have changed.

        A client whose grant has ended is disconnected. It returns when the authenticator has
        answered for each, after at most 5 s. Without it, a grant is renewed each minute.
        """
        await self._authentication.renew()

    # The end

    async def stop(self) -> None:
        """Close all connections, with code 1001, and refuse further ones. It takes at most 1 s.

        Call it before the server shuts down, which otherwise waits for the connections. Idempotent.
        """
        self._is_stopped = True
        for connection in self._clients:
            connection.end(STOPPING)
        await self._emptied(STOP_TIMEOUT)
        if self._services is not None:
            self._services.streams.close()
            self._services.bus.remove_service(self)

    async def start(self) -> None:
        """Attach it to the bus, without waiting for the first client. Idempotent.

        Raises:
            BusClosedError: the bus has closed.
        """
        self._open()

    async def drain(self, timeout: float | None = None) -> int:
        """Send the events that there are, and stop. Return 0. The bus calls it."""
        self._is_stopped = True
        if self._services is not None:
            self._services.streams.close()
        for connection in self._clients:
            connection.wake()
        await self._emptied(STOP_TIMEOUT if timeout is None else min(timeout, STOP_TIMEOUT))
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

    async def _emptied(self, timeout: float) -> None:
        try:
            async with asyncio.timeout(timeout):
                await self._is_empty.wait()
        except TimeoutError:
            return

    # Connections

    async def _serve(self, scope: Scope, channel: Channel) -> None:
        handshake = handshake_of(scope)
        try:
            services = self._admit(scope, handshake)
            seat = self.counts.enter(handshake.peer.address)
        except RefusedError as exc:
            self._refused[exc.code] += 1
            await channel.refuse(scope, exc)
            return
        with seat, suppress(DisconnectedError):
            await channel.accept()
            await self._serve_accepted(services, handshake, seat, channel)

    def _admit(self, scope: Scope, handshake: Handshake) -> Services:
        """Check a handshake, and return the services.

        Raises:
            RefusedError: it is refused.
        """
        handshake.check()
        if self._origins is not None:
            self._origins.check_listed(HTTPConnection(scope))
        if self._is_stopped:
            raise RefusedError("stopping", "the server stops")
        try:
            return self._open()
        except BusClosedError:
            raise RefusedError("bus_closed", "the bus of the server has closed") from None

    async def _serve_accepted(
        self, services: Services, handshake: Handshake, seat: Seat, channel: Channel
    ) -> None:
        connection = Connection(
            channel, times=self._times, max_frame=self._limits.frame, log=self._log
        )
        session = Session(
            services,
            handshake.peer,
            handshake.peer_name,
            seat,
            on_ready=connection.wake,
            on_grant_end=connection.grant_ended,
        )
        self._count += 1
        self._clients[connection] = _Client(f"b{self._count}", handshake.peer, session)
        self._is_empty.clear()
        reason = "failed"  # if the server cancels the connection
        try:
            reason = (await connection.serve(session)).name
        finally:
            del self._clients[connection]
            self._sent += connection.sent
            self._closed[reason] += 1
            if not self._clients:
                self._is_empty.set()

    def _open(self) -> Services:
        """Return the services, and attach them to the bus the first time.

        Raises:
            BusClosedError: the bus has closed.
        """
        services = self._services
        # A new loop, such as that of the next test, has a new default bus.
        bus = default_bus() if self._bus is None else self._bus
        if services is None or services.bus is not bus:
            bus.add_service(self, self.name)
            services = self._services = Services(
                bus,
                Streams(bus, size=self._ring, bytes=self._ring_bytes),
                self._authentication,
                self._limits,
                check_accounts=self._check_accounts,
            )
        return services

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                await self.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return
            await self.start()
            await send({"type": "lifespan.startup.complete"})


class _Client:
    """One connection, with its address and its start."""

    def __init__(self, id: str, peer: Peer, session: Session) -> None:
        self._id = id
        self._peer = peer
        self._since = datetime.now(UTC)
        self._session = session

    def snapshot(self) -> BlackholeClient:
        return client_of(self._id, self._peer, self._since, self._session)


async def _require_upgrade(send: Send) -> None:
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"upgrade", b"websocket"),
        (b"connection", b"upgrade"),
    ]
    await send({"type": "http.response.start", "status": 426, "headers": headers})
    await send({"type": "http.response.body", "body": b"this is a WebSocket\n"})
