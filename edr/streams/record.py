"""``Record``, ``Missed`` and ``Taken``: the results of ``Place.take``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from edr.records import Event

MissedReason: TypeAlias = Literal["slow", "expired", "restarted"]
"""Why a client did not receive events: ``slow``, the window moved past the client;
``expired``, the window moved past its cursor, or the events were not kept;
``restarted``, the cursor is of another window, or not valid."""


class Record(NamedTuple):
    """One event of a stream. It is shared by all clients that see the event in the same form."""

    position: int
    """Its position. It is the same for all groups, and rises."""
    cursor: str
    """The text of the position. A client that returns with it continues after this event."""
    event: Event
    """The event as this client may see it."""
    json: bytes
    """The JSON of ``event`` in UTF-8. It was encoded once for all clients."""


@dataclass(frozen=True, slots=True)
class Missed:
    """Events that a client did not receive. They come before the records of the same take."""

    count: int | None
    """How many. With ``slow`` it is exact. With ``expired`` it is the most that it can be, and 0 is
    never reported. ``None`` if it is not known."""
    reason: MissedReason
    cursor: str
    """The position just before the next event. A client that returns with it continues with that
    event, and is not told of this gap again."""


class Taken(NamedTuple):
    """The result of ``Place.take``."""

    missed: Missed | None
    """The events before ``records`` that the client did not receive."""
    records: list[Record]
    """The next events, in order. If it is empty, ``on_ready`` is called when there is more."""
    ended: bool = False
    """Whether nothing will follow: the bus or the streams closed, or the place left, and the client
    has received everything."""
