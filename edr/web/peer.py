"""``Peer``: the client of one connection, as an authenticator sees it."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

Transport: TypeAlias = str
"""``"sse"``, ``"websocket"``, ``"blackhole"``, or ``"http"`` for a request that is answered at
once."""


class Peer(NamedTuple):
    """The client of one connection."""

    address: str
    """The address of the client, without the port. Behind a proxy that the server trusts, it is
    the address that the proxy reports. Empty if it is not known."""
    origin: str | None
    """The ``Origin`` header: the site of a browser's page; ``None`` without one."""
    transport: Transport
    """The kind of connection."""
