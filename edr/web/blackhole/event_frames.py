"""``EventFrames``: the frames of events, encoded once for all clients.

The frames of one event differ in their first part, which names the subscription, and have the rest
in common: the routing key and ``data``. The rest is encoded once for each form of the event, that
is for each cut of its account tree (see ``edr.streams``), and is kept for a short time, since the
clients of an event take it within the same turns of the loop.

``msg_id`` is a hash of the position of the event. So it is the same in all frames of an event, also
when the rest was encoded again, and it differs if one event is published twice.
"""

from __future__ import annotations

from hashlib import blake2b

import orjson

from edr.streams import Record
from edr.wire import blackhole, kazoo

MAX_KEPT = 512
"""Events whose encoded rest is kept."""

MAX_KEPT_CHARACTERS = 2 * 2**20
"""Characters of all of them. A single larger one is not kept."""

MSG_ID_BYTES = 16
"""A ``msg_id`` has 32 hex digits, as Kazoo's."""


class EventFrames:
    """Encodes the events of one stream."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int, int], str] = {}
        self._characters = 0

    def rest(self, record: Record) -> str:
        """Return the frame of ``record`` from the member ``name`` on."""
        event = record.event
        # Forms of one event differ in the number of ancestors that were cut, so in its length.
        key = (record.position, len(event.account_tree))
        rest = self._kept.get(key)
        if rest is None:
            msg_id = blake2b(record.cursor.encode(), digest_size=MSG_ID_BYTES).hexdigest()
            routing_key = orjson.dumps(kazoo.full_key(event)).decode()
            data = blackhole.encode(event, msg_id).decode()
            rest = f'"name":"event","routing_key":{routing_key},"data":{data}}}'
            self._keep(key, rest)
        return rest

    def _keep(self, key: tuple[int, int], rest: str) -> None:
        kept = self._kept
        kept[key] = rest
        self._characters += len(rest)
        while len(kept) > MAX_KEPT or self._characters > MAX_KEPT_CHARACTERS:
            self._characters -= len(kept.pop(next(iter(kept))))


def head(subscribed_key: str, subscription_key: str) -> str:
    """Return the frame of an event up to the member ``name``.

    Args:
        subscribed_key: the key as the client sent it.
        subscription_key: the expanded key that the event matches.
    """
    subscribed = orjson.dumps(subscribed_key).decode()
    subscription = orjson.dumps(subscription_key).decode()
    return f'{{"action":"event","subscribed_key":{subscribed},"subscription_key":{subscription},'
