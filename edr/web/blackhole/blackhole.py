"""``Blackhole``: the ASGI application that speaks Kazoo's Blackhole to browser clients."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from starlette.requests import HTTPConnection
from starlette.types import Receive, Scope, Send

from edr._util.log import RateLimitedLog
from edr.bus import Bus, default_bus
from edr.errors import BusClosedError
from edr.streams import Streams
from edr.web.authentication import Authenticate, Authentication
from edr.web.blackhole.connection import STOPPING, Connection, Times
from edr.web.blackhole.handshake import Handshake, handshake_of
from edr.web.blackhole.session import Services, Session
from edr.web.channel import Channel, DisconnectedError
from edr.web.limits import ClientCounts, Limits, Seat
from edr.web.origins import Origins
from edr.web.refusals import RefusedError

MIB = 2**20

STOP_TIMEOUT = 1.0
"""Seconds for the clients to receive the last events, and the close frame."""


@dataclass(frozen=True, slots=True)
class BlackholeClient:
    """One connection, as Kazoo's list of active sessions shows it."""

    id: str
    """Unique within the process."""
    address: str
    """The address of the client."""
    since: datetime
    """The start of the connection."""
    is_authenticated: bool
    """Whether a token was accepted."""
    account: str | None
    """The account of its token; ``None`` for all accounts, and without a token."""
    name: str | None
    """The ``name`` that it has sent. It is text of the client."""
    metadata: Any
    """The ``metadata`` that it has sent. It is JSON of the client."""
    subscriptions: tuple[tuple[str, str], ...]
    """The account and the key of each subscription."""
    sent: int
    """Frames of events that were sent."""


@dataclass(frozen=True, slots=True)
class BlackholeStatistics:
    """The counts of one ``Blackhole``."""

    clients: int
    """Connections."""
    subscriptions: int
    """Subscriptions of all connections."""
    sent: int
    """Frames of events that were sent since the start."""
    refused: int
    """Connections that were refused since the start."""
    closed: Mapping[str, int]
    """Connections that have ended, by reason."""


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
            all, as in Kazoo. The token is in a frame and not in a cookie, so a page of another site
            does not have it.
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
    ) -> None:
        self._bus = bus
        self._authentication = Authentication(authenticate)
        self._origins = None if origins is None else Origins(origins)
        self._check_accounts = check_accounts
        self._ring, self._ring_bytes = ring, ring_bytes
        self._times = Times(idle=idle_timeout, token=token_timeout, send=send_timeout)
        self._limits = limits or Limits()
        self._counts = ClientCounts(self._limits)
        self._log = RateLimitedLog()
        self._services: Services | None = None
        self._clients: dict[Connection, _Client] = {}
        self._is_empty = asyncio.Event()
        self._is_empty.set()
        self._is_stopped = False
        self._count = self._sent = self._refused = 0
        self._closed: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, or the lifespan if it is served alone."""
        if scope["type"] == "websocket":
            await self._serve(scope, Channel(receive, send))
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await _require_upgrade(send)

    def clients(self) -> list[BlackholeClient]:
        """Return the connections, oldest first."""
        return [each.snapshot(connection) for connection, each in self._clients.items()]

    def statistics(self) -> BlackholeStatistics:
        """Return the counts of this moment."""
        return BlackholeStatistics(
            clients=len(self._clients),
            subscriptions=sum(len(each.session.subscriptions) for each in self._clients.values()),
            sent=self._sent + sum(connection.sent for connection in self._clients),
            refused=self._refused,
            closed=dict(self._closed),
        )

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
        """Do nothing: it starts with the first client. For the ``Service`` protocol."""

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
        """Stop; see ``stop``."""
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
            seat = self._counts.enter(handshake.peer.address)
        except RefusedError as exc:
            self._refused += 1
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
            self._origins.check_origin(HTTPConnection(scope))
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
        self._clients[connection] = _Client(f"b{self._count}", handshake.peer.address, session)
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
        """Return the services, which begin with the first client.

        Raises:
            BusClosedError: the bus has closed.
        """
        if self._services is None:
            bus = default_bus() if self._bus is None else self._bus
            bus.add_service(self, "blackhole")
            self._services = Services(
                bus,
                Streams(bus, size=self._ring, bytes=self._ring_bytes),
                self._authentication,
                self._limits,
                check_accounts=self._check_accounts,
            )
        return self._services

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                await self.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return
            await send({"type": "lifespan.startup.complete"})


class _Client:
    """One connection, with its address and its start."""

    def __init__(self, id: str, address: str, session: Session) -> None:
        self.session = session
        self._id = id
        self._address = address
        self._since = datetime.now(UTC)

    def snapshot(self, connection: Connection) -> BlackholeClient:
        session = self.session
        return BlackholeClient(
            id=self._id,
            address=self._address,
            since=self._since,
            is_authenticated=session.is_authenticated,
            account=session.account,
            name=session.name,
            metadata=session.metadata,
            subscriptions=tuple(session.subscriptions),
            sent=connection.sent,
        )


async def _require_upgrade(send: Send) -> None:
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"upgrade", b"websocket"),
        (b"connection", b"upgrade"),
    ]
    await send({"type": "http.response.start", "status": 426, "headers": headers})
    await send({"type": "http.response.body", "body": b"this is a WebSocket\n"})
