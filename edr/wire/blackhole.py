"""The ``data`` of an event as Kazoo's Blackhole sends it to browsers.

It is the AMQP payload without the optional headers, so without ``Node``, and with all names in
lower case, those of the body too. Losses are those of ``kazoo`` and of the default ``kazoo_json``:
empty strings and null members of the body are left out, and times are whole seconds.

It is not in ``FORMATS``, since an event alone does not determine it: the frames of one event for
several clients have one ``msg_id``, which the caller gives.
"""

from __future__ import annotations

from typing import Any

import orjson

from edr.records import Event
from edr.wire.kazoo import WHOLE_SECONDS, without_empty_text
from edr.wire.kazoo_json import normalized


def encode(event: Event, msg_id: str) -> bytes:
    """Return the JSON of ``event``, with the members in Blackhole's order.

    Args:
        event: the event.
        msg_id: the id of the message, 32 hex digits. It is not the id of the event.
    """
    data: dict[str, Any] = {}
    if event.account_id is not None:
        data["account_id"] = event.account_id
    if event.account_id is not None or event.account_tree:
        data["account_tree"] = event.account_tree
    data["app_name"] = event.app_name
    data["app_version"] = event.app_version
    data["body"] = normalized(without_empty_text(event.body))
    data["event_category"] = "edr"
    data["event_name"] = "event"
    data["gregorian_time"] = event.gregorian_time
    data["id"] = event.id
    data["msg_id"] = msg_id
    data["severity"] = event.severity
    data["timestamp"] = event.timestamp
    data["verbosity"] = event.verbosity
    return orjson.dumps(data, option=WHOLE_SECONDS)
