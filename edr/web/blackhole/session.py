"""``Session``: answers the requests of one connection.

The steps are Kazoo's: rate limit, authentication, validation, authority, command. The first step
that fails answers an error. Other than in Kazoo,

* a connection stays authenticated after a later step failed;
* a command never affects another connection, and needs authority, ``unsubscribe`` too;
* a request that is not understood is an error, and not the data of an earlier reply.

A session reads and writes nothing; see ``connection``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from time import monotonic
from typing import Any

from edr.bus import Bus
from edr.streams import Place, Streams
from edr.web.authentication import Authentication, Identity, Renewal
from edr.web.blackhole.event_frames import EventFrames
from edr.web.blackhole.replies import (
    ACTIONS,
    AUTHENTICATOR_FAILED,
    FOREIGN_ACCOUNT,
    OTHER_ACCOUNT,
    TOKEN_NOT_VALID,
    TOKEN_REQUIRED,
    WILDCARD_ACCOUNT,
    RequestError,
    failure,
    rate_limit_hit,
    success,
)
from edr.web.blackhole.requests import Request, Target, new_id, parse
from edr.web.blackhole.subscriptions import Frame, Subscription, Subscriptions
from edr.web.frame_rate import FrameRate
from edr.web.limits import Limits, Seat
from edr.web.merging import Gap
from edr.web.peer import Peer
from edr.web.refusals import RefusedError

WILDCARD = "*"

FRAMES_PER_SECOND, BURST = 20.0, 60.0
"""Frames of one connection. A page subscribes to all it shows when it opens."""


class Services:
    """The parts that all sessions of one Blackhole share.

    Args:
        bus: finds the ancestors of accounts.
        streams: distributes its events.
        authentication: checks tokens.
        limits: the limits of a connection.
        check_accounts: whether an account is checked when a client subscribes, and not only on
            each event.
        clock: returns the time in seconds.
    """

    def __init__(
        self,
        bus: Bus,
        streams: Streams,
        authentication: Authentication,
        limits: Limits,
        *,
        check_accounts: bool = True,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.bus: Bus = bus
        self.streams: Streams = streams
        self.authentication: Authentication = authentication
        self.limits: Limits = limits
        self.check_accounts: bool = check_accounts
        self.clock: Callable[[], float] = clock
        self.frames: EventFrames = EventFrames()


class Session:
    """The state of one connection.

    Args:
        services: the parts that sessions share.
        peer: the client.
        peer_name: its address and port.
        seat: counts the connection for its account.
        on_ready: called when there are frames of events to take.
        on_grant_end: called when the grant has ended.
    """

    def __init__(
        self,
        services: Services,
        peer: Peer,
        peer_name: str,
        seat: Seat,
        *,
        on_ready: Callable[[], object],
        on_grant_end: Callable[[], object],
    ) -> None:
        self.refused: int = 0
        """Requests beyond the rate limit since the last one within it."""
        self.name: str | None = None
        """The ``name`` of a request: how the client calls itself."""
        self.metadata: Any = None
        """The ``metadata`` of a request. It is kept as it is."""
        self._services = services
        self._peer = peer
        self._peer_name = peer_name
        self._seat = seat
        self._on_ready = on_ready
        self._on_grant_end = on_grant_end
        self._rate = FrameRate(FRAMES_PER_SECOND, BURST, clock=services.clock)
        self._identity: Identity | None = None
        self._renewal: Renewal | None = None
        self._subscriptions: Subscriptions | None = None
        self._commands: dict[str, Callable[[Request], Awaitable[Mapping[str, Any]]]] = {
            "ping": self._ping,
            "subscribe": self._subscribe,
            "unsubscribe": self._unsubscribe,
        }

    @property
    def is_authenticated(self) -> bool:
        """Whether a token was accepted."""
        return self._identity is not None

    @property
    def account(self) -> str | None:
        """The account of the token; ``None`` for all accounts, and before a token was accepted."""
        return None if self._identity is None else self._identity.grant.account

    @property
    def subscriptions(self) -> list[tuple[Subscription, Place]]:
        """The subscriptions with their places in the streams."""
        return [] if self._subscriptions is None else self._subscriptions.places

    @property
    def has_ended(self) -> bool:
        """Whether the streams have closed, and every event of the subscriptions was taken."""
        return self._services.streams.closed and (
            not self.subscriptions or self._require_subscriptions().has_ended
        )

    def take(self) -> list[Frame] | Gap | None:
        """Return the next frames of events; see ``Subscriptions.take``."""
        return None if self._subscriptions is None else self._subscriptions.take()

    def close(self) -> None:
        """End the subscriptions and the renewal of the grant. Idempotent."""
        if self._renewal is not None:
            self._renewal.close()
        if self._subscriptions is not None:
            self._subscriptions.close()

    async def answer(self, frame: str | bytes) -> str:
        """Return the reply to a frame.

        The last step of a command is not followed by an await. So a caller that begins to send the
        reply at once sends it before the events of a new subscription.

        Raises:
            BusClosedError: the bus has closed.
        """
        request_id: str | int = new_id()
        self.refused = 0 if self._rate.allows() else self.refused + 1
        try:
            # Kazoo too reads the id of the request before it applies the rate limit.
            request = parse(frame)
            request_id = request.id
            self._check_rate()
            await self._authenticate(request.token)
            self._note(request)
            command = self._commands.get(request.action, self._unknown)
            return success(request_id, await command(request))
        except RequestError as exc:
            return failure(request_id, str(exc))

    # The steps

    def _check_rate(self) -> None:
        if self.refused:
            raise RequestError(rate_limit_hit(self._peer_name))

    async def _authenticate(self, token: str | None) -> None:
        """Accept the token of a request. An authenticated connection needs none."""
        identity = self._identity
        if token is None:
            if identity is None:
                raise RequestError(TOKEN_REQUIRED)
            return
        if identity is not None and identity.token == token:
            return
        authentication = self._services.authentication
        try:
            grant = await authentication.grant_of(token, self._peer)
        except RefusedError:
            raise RequestError(AUTHENTICATOR_FAILED) from None
        if grant is None:
            raise RequestError(TOKEN_NOT_VALID)
        if identity is None:
            self._begin(Identity(grant, token))
            return
        # The page has a new token. Its subscriptions are under the grant, so it must be the same.
        if grant != identity.grant:
            raise RequestError(OTHER_ACCOUNT)
        identity.grant, identity.token = grant, token

    def _begin(self, identity: Identity) -> None:
        services = self._services
        try:
            self._seat.take_account(identity.grant.account)
        except RefusedError as exc:
            raise RequestError(exc.detail) from None
        self._identity = identity
        self._subscriptions = Subscriptions(
            services.streams,
            identity.grant,
            services.frames,
            limit=services.limits.subscriptions,
            batch=services.limits.batch,
            on_ready=self._on_ready,
        )
        self._renewal = Renewal(services.authentication, identity, self._peer, self._on_grant_end)
        self._renewal.start()

    def _note(self, request: Request) -> None:
        if request.name is not None:
            self.name = request.name
        if request.metadata is not None:
            self.metadata = request.metadata

    async def _authorize(self, account_id: str) -> None:
        """Raise unless the account of the token is ``account_id`` or one of its ancestors.

        An unknown account has no ancestors, so the answer is that for a foreign one.
        """
        assert self._identity is not None
        grant = self._identity.grant
        if grant.account is None or account_id == grant.account:
            return
        if account_id == WILDCARD:
            raise RequestError(WILDCARD_ACCOUNT)
        if not self._services.check_accounts:
            return  # the grant is tested on each event
        ancestors = await self._services.bus.ancestors(account_id)
        if grant.account not in ancestors[account_id]:
            raise RequestError(FOREIGN_ACCOUNT)

    # The commands

    async def _unknown(self, _: Request) -> Mapping[str, Any]:
        raise RequestError(ACTIONS)

    async def _ping(self, _: Request) -> Mapping[str, Any]:
        return {"response": "pong"}

    async def _subscribe(self, request: Request) -> Mapping[str, Any]:
        target = await self._authorized_target(request)
        subscriptions = self._require_subscriptions()
        subscriptions.add(target.account_id, target.served_key())
        return {"subscribed": subscriptions.keys}

    async def _unsubscribe(self, request: Request) -> Mapping[str, Any]:
        target = await self._authorized_target(request)
        key = target.served_key()
        subscriptions = self._require_subscriptions()
        subscriptions.remove(target.account_id, key)
        return {"unsubscribed": [str(key)], "subscribed": subscriptions.keys}

    async def _authorized_target(self, request: Request) -> Target:
        target = request.target()
        await self._authorize(target.account_id)
        return target

    def _require_subscriptions(self) -> Subscriptions:
        assert self._subscriptions is not None
        return self._subscriptions
