"""``Unacked``: the entries that a consumer has returned, and that are not acknowledged.

The server sends an entry again after a nack, and each unacknowledged one after a lost connection.
So each entry here has a state: it is **returned** and being handled, it waits for the end of the
delay of its **nack**, or it is **ready** to be returned again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from math import inf

from edr.journal import Entry

NACK_TOLERANCE = 0.05
"""Seconds by which the server may end the delay of a nack too early, as clocks differ."""


class _Held:
    __slots__ = ("due", "entry", "is_ready", "reply")

    def __init__(self, entry: Entry, reply: bytes, *, is_ready: bool) -> None:
        self.entry = entry
        self.reply = reply
        self.is_ready = is_ready
        self.due: float | None = None


class Unacked:
    """The unacknowledged entries of one consumer, by position."""

    def __init__(self) -> None:
        self._held: dict[int, _Held] = {}

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[int]:
        return iter(self._held)

    def __contains__(self, position: object) -> bool:
        return position in self._held

    @property
    def unsettled(self) -> int:
        """Number of entries that are being handled."""
        return sum(held.due is None and not held.is_ready for held in self._held.values())

    def first(self, default: int) -> int:
        """Return the lowest position; ``default`` without entries."""
        return min(self._held, default=default)

    def event_id(self, position: int) -> str | None:
        """Return the id of the event at ``position``; None if it is not here."""
        held = self._held.get(position)
        return None if held is None else held.entry.event.id

    def add(self, entry: Entry, reply: bytes, *, is_ready: bool = False) -> None:
        """Add an entry that is returned now, or ready to be returned again.

        Args:
            entry: with the number of this delivery.
            reply: the subject for its ack or nack.
            is_ready: whether it is still to be returned.
        """
        self._held[entry.position] = _Held(entry, reply, is_ready=is_ready)

    def is_returned(self, position: int) -> bool:
        """Note that the entry, which was ready, is returned. False if it is not here any more."""
        held = self._held.get(position)
        if held is None:
            return False
        held.is_ready = False
        return True

    def remove(self, position: int) -> str | None:
        """Remove an entry, and return the subject for its ack; None if it is not here."""
        held = self._held.pop(position, None)
        return None if held is None else held.reply.decode()

    def nack(self, position: int, due: float) -> str | None:
        """Note that the entry comes again at the time ``due``; return the subject for its nack.

        None if it is not here, or comes again already.
        """
        held = self._held.get(position)
        if held is None or held.due is not None or held.is_ready:
            return None
        held.due = due
        return held.reply.decode()

    def on_message(self, position: int, reply: bytes, now: float) -> Entry | float | None:
        """Note that the server has sent the entry again, with another subject for its ack.

        Returns:
            The entry to return again; or the seconds that are left of the delay of its nack; or
            None: it is still being handled, or ready.
        """
        held = self._held[position]
        held.reply = reply
        if held.due is None:
            return None
        if held.due - now > NACK_TOLERANCE:
            return held.due - now
        held.due, held.is_ready = None, True
        held.entry = held.entry._replace(delivery=held.entry.delivery + 1)
        return held.entry

    def drop_before(self, first: int) -> int:
        """Remove the entries before ``first``, and return their number."""
        lost = [position for position in self._held if position < first]
        return self._drop(lost)

    def keep(self, matches: Callable[[Entry], bool]) -> None:
        """Remove the entries that do not match. Ready ones wait for another message."""
        self._drop([position for position, held in self._held.items() if not matches(held.entry)])
        for held in self._held.values():
            if held.is_ready:
                held.due, held.is_ready = -inf, False
                held.entry = held.entry._replace(delivery=held.entry.delivery - 1)

    def _drop(self, positions: Iterable[int]) -> int:
        dropped = [self._held.pop(position) for position in positions]
        return len(dropped)
