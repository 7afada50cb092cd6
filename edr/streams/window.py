"""``Window``: the last events of a stream, each with a position, bounded by count and bytes.

**Positions.** One emit offers an event to several groups, one after the other, and all of them must
store it at one position. A tap is not told which emit an offer belongs to, and the identity of the
event is not enough: the same ``Event`` object may be published twice, and then has two positions.
The window keeps, for each event object in it, the slots of all its positions. A group takes the
oldest of them that it does not have yet (see ``Group.offer``), or appends a new slot. This is
exact, since one emit offers an event to a tap once, and the bindings of a tap never change: the
groups that receive an object are the same each time, except for groups that were added later,
which ignore older positions.

The comparison with the newest event alone would not be enough. A tap or a log handler may emit
within an emit. Then a group receives the inner event before the outer one, while other groups
received the outer one first. The outer event keeps its one position, and the group inserts it.

**Bytes.** An event counts with the size of its JSON. The size of the body is known when an event is
made, so nothing is encoded in the emit: the size is estimated, and corrected when the JSON is made,
at the first take. So an event that is never read is never encoded, and the window is within its
bounds at every moment. Rejected: encode each event soon after its emit. An emit next to clients
that do not read then costs 1.5 times as much, and in one turn of the loop a thousand large events
can exceed the bound.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from secrets import token_hex

from edr.records import Event, json_size
from edr.streams.cursors import parse_cursor
from edr.streams.grant import cut_event
from edr.streams.record import Record

FIELDS_SIZE = 224
"""Bytes of JSON of an event without its names and its body: quotes, field names, version, id,
levels, timestamp."""


class Slot:
    """One event of the window, at one position.

    It has no ``__init__``. ``Window.add`` sets its attributes within the emit, and a call to
    ``__init__`` would take a tenth of the time of the tap.
    """

    __slots__ = ("event", "position", "previous", "records", "size")

    position: int
    event: Event | None
    """The event; ``None`` when the window has moved past it."""
    size: int
    """Bytes for which it counts."""
    previous: Slot | None
    """The slot of an earlier position of the same object, if the window still has it."""
    records: dict[int, Record] | Record | None
    """The uncut record, or the records by cut."""

    @classmethod
    def at(cls, position: int) -> Slot:
        """Return a slot without an event."""
        slot = cls()
        slot.position, slot.size = position, 0
        slot.clear()
        return slot

    @property
    def has_record(self) -> bool:
        """Whether a record was made of it in any form."""
        return self.records is not None

    def record(self, cut: int) -> Record | None:
        """Return the record of the event in a form, if it was made."""
        records = self.records
        if isinstance(records, dict):
            return records.get(cut)
        return records if cut == 0 else None

    def keep(self, cut: int, record: Record) -> None:
        """Store the record of a form. Most events have the uncut form only, without a dict."""
        if cut == 0 and self.records is None:
            self.records = record
            return
        if not isinstance(self.records, dict):
            self.records = {} if self.records is None else {0: self.records}
        self.records[cut] = record

    def clear(self) -> None:
        """Release the event. Logs of groups may still refer to the slot."""
        self.event = self.previous = self.records = None


class Window:
    """The last events of a stream.

    Args:
        size: the most events.
        max_bytes: the most bytes of JSON. The newest event is kept if it is larger.
        window_id: names it in cursors; by default 8 random hex digits.
        on_turnover: called within an append, each time that all events were replaced.
        is_dense: whether a difference of two positions is at least the number of events between
            them, and not much more.
    """

    def __init__(
        self,
        size: int,
        max_bytes: int,
        *,
        window_id: str | None = None,
        on_turnover: Callable[[], object] = int,
        is_dense: bool = True,
    ) -> None:
        self.id: str = window_id or token_hex(4)
        self.is_dense: bool = is_dense
        self.newest: int = 0
        """The position of the newest event; 0 before the first."""
        self.newest_slot: Slot = Slot.at(0)
        """The slot of the newest event; before the first event, one without an event."""
        self.latest: dict[int, Slot] = {}
        """The slot of the newest position of each object in it, by the ``id`` of the object.

        An ``id`` cannot be used again, since the slot holds the object."""
        self.bytes: int = 0
        """Bytes of the events in it."""
        self._is_used = False
        self._on_turnover = on_turnover
        self._turnover_at = 0
        self._size = size
        self._max_bytes = max_bytes
        self._slots: deque[Slot] = deque()

    def __len__(self) -> int:
        return len(self._slots)

    def __iter__(self) -> Iterator[Slot]:
        return iter(self._slots)

    def __reversed__(self) -> Iterator[Slot]:
        return reversed(self._slots)

    @property
    def first(self) -> int:
        """The position of the oldest event; without an event, that of the next one."""
        return self._slots[0].position if self._slots else self.newest + 1

    # Write

    def append(self, event: Event, position: int | None = None) -> Slot:
        """Add ``event`` at the next position, or at ``position``; remove the oldest if needed."""
        previous = self.latest.pop(id(event), None)
        slot = self.add(event, position)
        assert slot is not None
        slot.previous = previous
        return slot

    def add(self, event: Event, position: int | None = None) -> Slot | None:
        """Add ``event`` as ``append`` does, or return ``None`` if the window has this object."""
        # Within an emit: names that are looked up once, and no calls that can be avoided.
        key = id(event)
        if key in self.latest:
            return None
        fields = event.__dict__
        try:
            size = fields["body"].json_size
        except AttributeError:  # it is not known yet
            size = json_size(fields["body"])
        size += FIELDS_SIZE + len(fields["app_name"]) + len(fields["node"])
        if fields["account_id"] is not None:
            size += len(fields["account_id"])
            for account in fields["account_tree"]:
                size += len(account) + 3
        if position is None:
            position = self.newest + 1
        slot = Slot()
        slot.position = self.newest = position
        slot.event = event
        slot.size = size
        slot.previous = slot.records = None
        self.newest_slot = self.latest[key] = slot
        slots = self._slots
        slots.append(slot)
        self.bytes += size
        if len(slots) > self._size or self.bytes > self._max_bytes:
            self.shrink()
        return slot

    def skip(self) -> None:
        """Leave out one position, if a cursor may have been given for the newest one.

        Before a group is added, events of its view may have been emitted that no group received.
        They have no position. So the cursor of a client that has everything up to the newest
        position, of an earlier group, must be before the start of this group.
        """
        if self._is_used:
            self.newest += 1
        self._is_used = True

    def shrink(self) -> None:
        """Remove the oldest events until the window is within its bounds."""
        slots, latest = self._slots, self.latest
        while len(slots) > self._size or (self.bytes > self._max_bytes and len(slots) > 1):
            slot = slots.popleft()
            self.bytes -= slot.size
            key = id(slot.event)
            if latest[key] is slot:
                del latest[key]
            slot.event = slot.previous = slot.records = None  # as ``clear``, without a call
        if slots and slots[0].position > self._turnover_at:
            self._turnover_at = self.newest
            self._on_turnover()

    # Read

    def find(self, position: int) -> Event | None:
        """Return the event at ``position``; ``None`` if the window does not have it."""
        for slot in reversed(self._slots):
            if slot.position <= position:
                return slot.event if slot.position == position else None
        return None

    def record(self, slot: Slot, cut: int) -> Record:
        """Return the record of a slot that has its event, in the form without ``cut`` ancestors.

        It is made once for each form. Call ``shrink`` when the records of a take are made: their
        bytes are counted here.
        """
        record = slot.record(cut)
        if record is None:
            assert slot.event is not None
            record = self.make_record(slot.position, slot.event, cut)
            # The first form replaces the estimate, each further one is added.
            size = len(record.json) + (slot.size if slot.has_record else 0)
            self.bytes += size - slot.size
            slot.size = size
            slot.keep(cut, record)
        return record

    def make_record(self, position: int, event: Event, cut: int) -> Record:
        """Return a new record of ``event``, without the first ``cut`` accounts of its tree."""
        event = cut_event(event, cut)
        return Record(position, self.cursor(position), event, event.to_json())

    def clear(self, newest: int) -> None:
        """Remove all events. The next one comes after ``newest``."""
        for slot in self._slots:
            slot.clear()
        self._slots.clear()
        self.latest.clear()
        self.bytes = 0
        self.newest = newest

    def cursor(self, position: int) -> str:
        """Return the text of ``position``."""
        return f"{self.id}-{position}"

    def position_of(self, cursor: object, newest: int) -> int | None:
        """Return the position of the text of a cursor; ``None`` unless it is of this window.

        A position ahead of ``newest`` is not of this window either.
        """
        parsed = parse_cursor(cursor)
        if parsed is None or parsed.window_id != self.id or parsed.position > newest:
            return None
        return parsed.position
