"""Kazoo's Blackhole for existing browser clients: a WebSocket with Kazoo's own frames.

``docs/blackhole.md`` is the manual, and has the differences. It needs the extra ``web``.

Read the modules in this order; each imports only from those before it:
replies, keys, requests, event_frames, subscriptions, session, client, connection, handshake,
blackhole.

Promises:

* Frames are those of Kazoo, byte for byte, except where a frame of Kazoo is a fault.
* A client receives no event that its grant does not show, and no account above its own. A command
  affects no other connection.
* Each frame of a client is answered, or the connection is closed.
* No token is in a reply or a log line.
* A client that lags, or does not read, does not slow down an emit. It is disconnected before it
  misses an event without notice.
"""

from typing import TYPE_CHECKING

from edr._util.lazy import lazy_names

if TYPE_CHECKING:
    from edr.web.blackhole.blackhole import Blackhole, BlackholeStatistics
    from edr.web.blackhole.client import BlackholeClient, BlackholeSubscription
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "edr.web.blackhole.blackhole": "Blackhole BlackholeStatistics",
            "edr.web.blackhole.client": "BlackholeClient BlackholeSubscription",
        },
    )

__all__ = ["Blackhole", "BlackholeClient", "BlackholeStatistics", "BlackholeSubscription"]
