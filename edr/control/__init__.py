"""Attach to a running process: ``expose`` shows a bus on a Unix socket, ``connect`` reads it.

``await edr.control.expose()`` in a service is enough: then ``edr tail``, ``top``, ``explain`` and
the other commands work on it. Programs use ``find`` and ``connect``, which need neither pydantic
nor the bus. ``docs/control.md`` describes the protocol, for clients in other languages.

Read the modules in this order; each imports only from those before it:
errors, protocol, runtime_folder, finding, client, plain, parts, connection,
cpu_share, loop_lag, fields, tail_lines, tail, recorded, steps, snapshot, listing,
handlers, exposed.

Promises:

* Observers do not disturb the bus: they have no subscription, no queue and no interest unless
  ``wanted``; a drain does not wait for them; a client that does not read holds no event.
* A tail receives each matching event once and in order, or reports how many it missed.
* No input ends the process or another connection. Each request ends with one ``end`` or ``error``.
* Only processes of the same user and of root are served, whatever the umask and the mode.
* A socket is read-only, unless ``allow`` permits a change.
* No answer contains the user name or the password of a URL in a name, a status or an error.
"""

from typing import TYPE_CHECKING

from edr._util.lazy import lazy_names

if TYPE_CHECKING:
    from edr._util.opening import Opening
    from edr.control.client import Client, Request, connect
    from edr.control.errors import (
        ConnectionLostError,
        ControlError,
        ProtocolError,
        RemoteError,
        SocketPathError,
    )
    from edr.control.exposed import ControlStatistics, Exposed, expose
    from edr.control.finding import Found, find
    from edr.control.parts import Part, Parts
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "edr._util.opening": "Opening",
            "edr.control.client": "Client Request connect",
            "edr.control.errors": """
                ConnectionLostError ControlError ProtocolError RemoteError SocketPathError
            """,
            "edr.control.exposed": "ControlStatistics Exposed expose",
            "edr.control.finding": "Found find",
            "edr.control.parts": "Part Parts",
        },
    )

__all__ = [
    "Client",
    "ConnectionLostError",
    "ControlError",
    "ControlStatistics",
    "Exposed",
    "Found",
    "Opening",
    "Part",
    "Parts",
    "ProtocolError",
    "RemoteError",
    "Request",
    "SocketPathError",
    "connect",
    "expose",
    "find",
]
