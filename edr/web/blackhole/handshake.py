"""``Handshake``: the request for a WebSocket, before it is accepted."""

from __future__ import annotations

from typing import NamedTuple

from starlette.datastructures import Headers
from starlette.types import Scope

from edr.web.peer import Peer
from edr.web.refusals import RefusedError


class Handshake(NamedTuple):
    """The request of a client for a WebSocket."""

    peer: Peer
    peer_name: str
    """The address and the port of the client, as Kazoo writes them."""
    has_subprotocol: bool
    """Whether the client requires a protocol other than Blackhole's, which has no name."""

    def check(self) -> None:
        """Raise unless it can be accepted.

        Raises:
            RefusedError: it has a ``Sec-WebSocket-Protocol``, 400.
        """
        if self.has_subprotocol:
            raise RefusedError("invalid_request", "Sec-WebSocket-Protocol must not be sent")


def handshake_of(scope: Scope) -> Handshake:
    """Return the handshake of an ASGI scope of the type ``websocket``."""
    headers = Headers(scope=scope)
    address, port = scope.get("client") or ("", 0)
    return Handshake(
        Peer(address, headers.get("origin"), "blackhole"),
        f"{address}:{port}",
        "sec-websocket-protocol" in headers,
    )
