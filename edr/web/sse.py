"""The format of a stream of server-sent events.

An event has no ``event:`` field, so that ``onmessage`` of a browser receives it. Each block has the
cursor as its ``id``. A browser sends the last one when it connects again.

The id of a gap is the position just before the next event, so that a client that reconnects after
it does not receive the report again. A heartbeat is only an id: the cursor of a client of rare
events does not expire.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from edr.records import bindings_to_json
from edr.streams import Missed, Place, Record
from edr.web.gaps import gap_document

RETRY = 2000
"""Milliseconds after which a browser connects again."""

MEDIA_TYPE = "text/event-stream; charset=utf-8"


def hello(place: Place, *, node: str, resumed: bool) -> bytes:
    """Return the first block of a stream. Its cursor is that before the first event.

    Args:
        place: the client.
        node: the node of the bus.
        resumed: whether the stream continues at the cursor of the client.
    """
    document = {
        "edr": 1,
        "node": node,
        "account": place.grant.account,
        "bindings": bindings_to_json(place.bindings),
        "resumed": resumed,
    }
    return f"retry: {RETRY}\n\n".encode() + _block("hello", document, place.cursor)


def events(records: Sequence[Record]) -> bytes:
    """Return the blocks of ``records``."""
    # The JSON has no line breaks: they are escaped within strings.
    return b"".join(
        [b"id: %b\ndata: %b\n\n" % (each.cursor.encode(), each.json) for each in records]
    )


class Blocks:
    """Makes the blocks of events. It keeps the last ones.

    Clients of a group are woken one after the other, and most of them receive the same events.
    """

    def __init__(self) -> None:
        self._records: Sequence[Record] = ()
        self._blocks = b""

    def of(self, records: Sequence[Record]) -> bytes:
        """Return the blocks of ``records``."""
        if records != self._records:  # compares the same records by identity, which is fast
            self._records, self._blocks = records, events(records)
        return self._blocks


def gap(missed: Missed) -> bytes:
    """Return the block that reports missed events."""
    return _block("gap", gap_document(missed), missed.cursor)


def heartbeat(cursor: str) -> bytes:
    """Return the block that only moves the cursor of a client."""
    return f":\nid: {cursor}\n\n".encode()


def bye(reason: str) -> bytes:
    """Return the last block of a stream. It has no id: the client continues where it was."""
    return _block("bye", {"reason": reason})


def _block(name: str, document: dict[str, Any], cursor: str | None = None) -> bytes:
    id_line = b"" if cursor is None else b"id: %b\n" % cursor.encode()
    return b"event: %b\n%bdata: %b\n\n" % (name.encode(), id_line, orjson.dumps(document))
