"""Attach to a running process: find the sockets of exposed buses, and connect to them.

``find`` and ``connect`` need neither pydantic nor the bus.

Read the modules in this order; each imports only from those before it:
errors, protocol, runtime_folder, finding, client.
"""

from typing import TYPE_CHECKING

from edr._util.lazy import lazy_names

if TYPE_CHECKING:
    from edr.control.client import Client, Connecting, Request, connect
    from edr.control.errors import (
        ConnectionLostError,
        ControlError,
        ProtocolError,
        RemoteError,
        SocketPathError,
    )
    from edr.control.finding import Found, find
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "edr.control.client": "Client Connecting Request connect",
            "edr.control.errors": """
                ConnectionLostError ControlError ProtocolError RemoteError SocketPathError
            """,
            "edr.control.finding": "Found find",
        },
    )

__all__ = [
    "Client",
    "Connecting",
    "ConnectionLostError",
    "ControlError",
    "Found",
    "ProtocolError",
    "RemoteError",
    "Request",
    "SocketPathError",
    "connect",
    "find",
]
