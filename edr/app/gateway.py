"""``GatewayPart``: the web gateway of the configuration as a part of the application.

A reload that changes who has access does not end streams of clients that still have it. After
another change a new gateway takes over. Clients of the old one receive ``bye`` and continue at
their cursors, since the journal has all events.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Any

from edr.app.config import WebConfig
from edr.app.functions import load_function
from edr.bus import Bus
from edr.records import Binding
from edr.sinks import Recording
from edr.sources import Tokens
from edr.web import Authenticate, Blackhole, Gateway, Grant, Limits, Peer
from edr.web.gateway import path_of

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

CONSUMER = "gateway:web"
"""The name of the gateway in ``Recording``."""

ACCESS = ("tokens_file", "authenticate")
"""Settings of who has access."""


class TokenGrants:
    """An authenticator that finds the grants of tokens in a file of their hashes.

    Args:
        tokens: the tokens. A change of the file is used at the next call.
    """

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    def __call__(self, token: str | None, _: Peer) -> Grant | None:
        """Return the grant of a token; ``None`` without a right to watch."""
        found = None if token is None else self._tokens.find(token)
        if found is None:
            return None
        if "watch_everything" in found.rights:
            return Grant.everything(expires=found.expires)
        if "watch" in found.rights and found.account is not None:
            return Grant(found.account, expires=found.expires)
        return None


class GatewayPart:
    """The gateway, with Blackhole if the configuration has it. It is an ASGI application.

    Args:
        bus: has an open journal.
        configuration: the section ``web``.
        recording: gets the bindings of the gateway, so that the journal stores their events.

    Raises:
        ValueError: the tokens or the authenticator cannot be used.
    """

    kind: str = "gateway"
    name: str = "web"
    is_durable: bool = True

    def __init__(self, bus: Bus, configuration: WebConfig, recording: Recording) -> None:
        self._bus = bus
        self._recording = recording
        self._authenticate = authenticator_of(configuration)
        self._configuration = configuration
        self._apps = self._made(configuration)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request or a WebSocket."""
        gateway, blackhole = self._apps
        is_blackhole = (
            blackhole is not None
            and scope["type"] == "websocket"
            and path_of(scope) == self._configuration.blackhole
        )
        app = blackhole if is_blackhole and blackhole is not None else gateway
        await app(scope, receive, send)

    @property
    def bindings(self) -> Sequence[Binding]:
        """The events that clients can receive."""
        return self._configuration.bindings

    @property
    def services(self) -> tuple[Gateway]:
        """The gateway of this moment, as a service of the bus."""
        return (self._apps[0],)

    def status(self) -> dict[str, Any]:
        """Return the status of the gateway."""
        return self._apps[0].status()

    async def prepare(self) -> None:
        """Store the events of the gateway in the journal from now on. Idempotent."""
        self._recording.replace(CONSUMER, self.bindings)

    async def start(self) -> None:
        """Attach the gateway to the bus. Idempotent."""
        await _start(self._apps)

    async def drain(self, timeout: float | None = None) -> int:
        """Send the last events and ``bye`` to all clients. Return 0."""
        await asyncio.gather(*(each.drain(timeout) for each in self._apps if each is not None))
        return 0

    async def aclose(self) -> None:
        """Send ``bye`` to all clients, and stop. It takes at most 1 s. Idempotent."""
        await _stop(self._apps)

    async def replace(self, new: WebConfig) -> None:
        """Use another configuration. Clients that still have access keep it.

        If only the access changes, their streams continue. ``renew`` ends those of others.
        Otherwise they receive ``bye``, and continue with their cursors.

        Raises:
            ValueError: the tokens or the authenticator cannot be used. Nothing has changed.
        """
        authenticate = authenticator_of(new)
        old = self._configuration
        same = new.model_copy(update={key: getattr(old, key) for key in ACCESS}) == old
        apps = self._apps if same else self._made(new)
        self._configuration, self._authenticate = new, authenticate
        if same:
            return
        old_apps, self._apps = self._apps, apps
        await _start(apps)
        await _stop(old_apps)

    async def renew(self) -> None:
        """Call the authenticator again for each client, and end those without access."""
        await asyncio.gather(*(each.renew() for each in self._apps if each is not None))

    def _grant_of(self, token: str | None, peer: Peer) -> Grant | Awaitable[Grant | None] | None:
        return self._authenticate(token, peer)

    def _made(self, configuration: WebConfig) -> tuple[Gateway, Blackhole | None]:
        limits = Limits(**configuration.limits.model_dump())
        journal: Any = self._bus.journal  # that of an application can be read
        gateway = Gateway(
            self._bus,
            *configuration.bindings,
            authenticate=self._grant_of,
            origins=configuration.origins,
            hosts=configuration.hosts,
            journal=journal,
            heartbeat=configuration.heartbeat,
            send_timeout=configuration.send_timeout,
            limits=limits,
            viewer=configuration.viewer,
        )
        if configuration.blackhole is None:
            return gateway, None
        blackhole = Blackhole(
            self._bus,
            self._grant_of,
            origins=configuration.origins or None,
            send_timeout=configuration.send_timeout,
            limits=limits,
        )
        return gateway, blackhole


def authenticator_of(configuration: WebConfig) -> Authenticate:
    """Return the authenticator of a configuration.

    Raises:
        ValueError: the tokens or the function cannot be used.
    """
    try:
        if configuration.tokens_file is not None:
            return TokenGrants(Tokens(configuration.tokens_file))
        return load_function(str(configuration.authenticate))
    except Exception as exc:  # an import runs code of the user
        key = "authenticate" if configuration.tokens_file is None else "tokens_file"
        raise ValueError(f"{key} cannot be used: {type(exc).__name__}: {exc}") from exc


async def _start(apps: tuple[Gateway, Blackhole | None]) -> None:
    for each in apps:
        if each is not None:
            await each.start()


async def _stop(apps: tuple[Gateway, Blackhole | None]) -> None:
    await asyncio.gather(*(each.stop() for each in apps if each is not None))
