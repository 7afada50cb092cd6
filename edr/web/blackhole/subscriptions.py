"""``Subscriptions`` of one connection: each is a place in the streams of the bus.

A place is under the grant of the connection. So the tenant filter runs before an event reaches the
connection, and a connection that lags costs an emit nothing.

An event that several subscriptions match is sent once for each of them, as in Kazoo. The frames are
in the order of the events, across subscriptions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from edr.records import Event
from edr.streams import Grant, Place, Streams
from edr.web.blackhole.event_frames import EventFrames, head
from edr.web.blackhole.keys import Key
from edr.web.blackhole.replies import NOT_SUBSCRIBED, RequestError
from edr.web.merging import Delivery, Gap, Merging


class Subscription:
    """One subscription.

    Args:
        account_id: the account, or ``*``.
        key: the key.
    """

    def __init__(self, account_id: str, key: Key) -> None:
        self.account_id: str = account_id
        self.key: Key = key
        self.text: str = str(key)
        """The key as the client sent it."""
        self.is_active: bool = True
        """Whether its frames may be sent."""
        self._heads: dict[tuple[str, str], str] = {}

    def head(self, event: Event) -> str:
        """Return the first part of the frame of ``event``; there are at most 18 different ones."""
        levels = (event.severity, event.verbosity)
        found = self._heads.get(levels)
        if found is None:
            found = head(self.text, self.key.expanded_key(event, self.account_id))
            self._heads[levels] = found
        return found


class Frame(NamedTuple):
    """One frame of an event, and the subscription for which it is sent."""

    subscription: Subscription
    text: str


class Frames:
    """The frames of one event."""

    __slots__ = ("each", "size")

    def __init__(self, each: list[Frame]) -> None:
        self.each: list[Frame] = each
        self.size: int = sum(len(frame.text) for frame in each)

    def __len__(self) -> int:
        """Return the characters of all of them."""
        return self.size


class Subscriptions:
    """The subscriptions of one connection.

    Args:
        streams: the streams of the bus.
        grant: the events that the connection may see.
        frames: encodes events.
        limit: the most subscriptions.
        batch: characters of frames that are returned at a time. The frames of a larger event are
            returned alone.
        on_ready: called when there is something to take.
    """

    def __init__(
        self,
        streams: Streams,
        grant: Grant,
        frames: EventFrames,
        *,
        limit: int,
        batch: int,
        on_ready: Callable[[], object],
    ) -> None:
        self._merging = Merging(streams, grant, batch=batch, on_ready=on_ready)
        self._frames = frames
        self._limit = limit
        self._batch = batch
        self._on_ready = on_ready
        self._names: dict[tuple[str, Key], str] = {}
        self._by_name: dict[str, Subscription] = {}
        self._count = 0

    def __len__(self) -> int:
        return len(self._names)

    @property
    def has_ended(self) -> bool:
        """Whether the bus or the streams have closed, and everything was taken."""
        return self._merging.has_ended

    @property
    def keys(self) -> list[str]:
        """The keys, as clients see them: each once for each of its expanded keys."""
        return [each.text for each in self._by_name.values() for _ in range(each.key.expanded)]

    @property
    def places(self) -> list[tuple[Subscription, Place]]:
        """The subscriptions with their places."""
        return list(zip(self._by_name.values(), self._merging, strict=True))

    def add(self, account_id: str, key: Key) -> None:
        """Subscribe, from the next event on. Does nothing if there is this subscription already.

        Raises:
            RequestError: there are too many.
            BusClosedError: the bus or the streams have closed.
        """
        if (account_id, key) in self._names:
            return
        if len(self) >= self._limit:
            raise RequestError(f"subscriptions of a connection must be at most {self._limit}")
        name = str(self._count)
        self._merging.subscribe(name, (key.binding(account_id),))
        self._count += 1
        self._names[account_id, key] = name
        self._by_name[name] = Subscription(account_id, key)
        self._on_ready()

    def remove(self, account_id: str, key: Key) -> None:
        """Unsubscribe. Its frames that were taken become inactive.

        Raises:
            RequestError: this connection has no such subscription.
        """
        name = self._names.pop((account_id, key), None)
        if name is None:
            raise RequestError(NOT_SUBSCRIBED)
        self._by_name.pop(name).is_active = False
        self._merging.unsubscribe(name)

    def close(self) -> None:
        """End all subscriptions. Idempotent."""
        for subscription in self._by_name.values():
            subscription.is_active = False
        self._merging.close()
        self._names.clear()
        self._by_name.clear()

    def take(self) -> list[Frame] | Gap | None:
        """Return the next frames. After ``None``, ``on_ready`` is called when there is one.

        A ``Gap`` are events that the connection cannot receive any more, because it was too slow.
        The protocol has no message for that.
        """
        taken = self._merging.take(self._batch, self._encode)
        if taken is None or isinstance(taken, Gap):
            return taken
        return [frame for frames in taken for frame in frames.each]

    def _encode(self, delivery: Delivery) -> Frames:
        record = delivery.record
        rest = self._frames.rest(record)
        found = (self._by_name[name] for name in delivery.to)
        return Frames([Frame(each, each.head(record.event) + rest) for each in found])
