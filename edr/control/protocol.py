"""The protocol of control sockets, version 1: JSON lines, of both sides.

``docs/control.md`` describes it. Each request has an ``id``, which its answers repeat. It ends with
exactly one line whose ``is`` is ``end`` or ``error``.
"""

from __future__ import annotations

VERSION = 1
"""The number in ``{"edr": 1, …}``, the first line of the process."""

MAX_LINE = 2**20
"""Bytes of one line with its line feed, in both directions."""

MAX_BATCH = 64 * 1024
"""Bytes of events that one write has. A socket's buffer holds about three of them."""

MAX_ID_LENGTH = 64
"""Characters of a request's id, if it is text."""

FINAL = frozenset({"end", "error"})
"""The last line of a request is one of these."""

ERRORS: dict[str, str] = {
    "invalid_json": "the line is not a JSON object",
    "line_too_long": "the line has more than 1 MiB; it was skipped",
    "invalid_request": "a field of the request is missing or wrong; `path` names it",
    "unknown_request": "the process does not know this request",
    "duplicate_id": "a request with this id is open on this connection",
    "too_many_requests": "the connection has 16 open requests; stop one first",
    "too_many_connections": "the socket has 64 connections; the connection ends",
    "not_permitted": "the peer belongs to another user; the connection ends",
    "not_allowed": "`expose(allow=…)` does not permit this change",
    "invalid_binding": "a binding is not valid; `path` names the field",
    "invalid_event": "an event is not valid; `path` names the field",
    "body_too_large": "the body of an event is larger than `Bus(max_body=…)`",
    "not_found": "the part, consumer or event of the request does not exist",
    "not_supported": "the part or the journal cannot do this",
    "history_off": "the process keeps no earlier events: no `expose(history=…)`, and no journal",
    "no_journal": "the bus has no journal",
    "in_use": "the consumer is open",
    "bus_closed": "the bus is closed or drains, or ended during the request",
    "too_large": "the answer has more than 1 MiB",
    "failed": "the request is valid, and failed; `detail` has the reason",
}
"""The codes of errors, each with its meaning. ``docs/control.md`` has the same table."""
