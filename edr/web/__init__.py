"""The web gateway: streams the events of a bus to browsers and HTTP clients, by SSE and WebSocket.

``docs/web.md`` is the manual. It needs the extra ``web``.

Read the modules in this order; each imports only from those before it:
peer, refusals, limits, authentication, origins, tickets, access, requests, watch, clients, gaps,
sse, context, visit, joining, responses, sse_stream, sse_route, explaining, queries, client_list,
operators, frame_rate, frames, merging, channel, websocket, blackhole, pages, viewer, gateway,
server.

Promises:

* No hole, no duplicate: for each subscription, the received events and the events that are reported
  as missed are all visible events that match, in order, through any reconnect.
* A client never receives an event, an account or a count from outside its grant.
* A client does not slow down an emit, and causes no loss for another client.
* No token, ticket or cookie is in a log line, an answer or an exception.
* Each stream ends with a reason, unless the client broke the connection. ``stop`` takes at most
  1 s.

Its names are loaded when they are first used. Use it in the loop of the bus.
"""

from typing import TYPE_CHECKING

from edr._util.lazy import lazy_names

if TYPE_CHECKING:
    from edr.streams import Grant
    from edr.web.authentication import Authenticate
    from edr.web.blackhole import (
        Blackhole,
        BlackholeClient,
        BlackholeStatistics,
        BlackholeSubscription,
    )
    from edr.web.client_list import ClientSubscription, GatewayClient
    from edr.web.context import GatewayStatistics
    from edr.web.gateway import Gateway
    from edr.web.limits import Limits
    from edr.web.origins import Origins
    from edr.web.peer import Peer
    from edr.web.refusals import RefusedError
    from edr.web.server import Server
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "edr.streams": "Grant",
            "edr.web.authentication": "Authenticate",
            "edr.web.blackhole": (
                "Blackhole BlackholeClient BlackholeStatistics BlackholeSubscription"
            ),
            "edr.web.client_list": "ClientSubscription GatewayClient",
            "edr.web.context": "GatewayStatistics",
            "edr.web.gateway": "Gateway",
            "edr.web.limits": "Limits",
            "edr.web.origins": "Origins",
            "edr.web.peer": "Peer",
            "edr.web.refusals": "RefusedError",
            "edr.web.server": "Server",
        },
        extra="web",
    )

__all__ = [
    "Authenticate",
    "Blackhole",
    "BlackholeClient",
    "BlackholeStatistics",
    "BlackholeSubscription",
    "ClientSubscription",
    "Gateway",
    "GatewayClient",
    "GatewayStatistics",
    "Grant",
    "Limits",
    "Origins",
    "Peer",
    "RefusedError",
    "Server",
]
