"""``Merging``: merges the places of one connection into one sequence, by position.

A connection has several subscriptions, and each is a place of ``edr.streams`` with its own
cursor. An event that several of them match has the same position for all, and must be sent once,
with the ids of all of them. So the next event may be sent when each place has been read up to its
position.

Each place is read until its next item is known, or until it has nothing to take. The lowest next
item is the next of the connection, and the places that have it are all places that match it. This
is a merge of sorted sequences with a heap.

* No emit happens between two steps of a ``take``, since nothing is awaited. So a place without a
  next item has none up to the newest position.
* A place whose past is not available yet is not waited for: its group is filled, or it reads
  the journal, which may take minutes. Other places continue. Its events follow as its own.
* Items that were read from places and not sent have together at most a quarter of the bytes of one
  batch, or one item for each place. They are not missed when the window moves on. The cursor of a
  subscription is before them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sized
from heapq import heapify, heappop, heappush
from typing import NamedTuple, TypeAlias, TypeVar

from edr.records import Binding
from edr.streams import Grant, Missed, Place, Record, Streams, parse_cursor

TAKE = 256
"""Events that are taken from a place at a time. Each costs about 1 µs."""

TAKES = 4
"""Takes of a batch. Taken events stay in memory until a client reads them."""


class Gap(NamedTuple):
    """Events that one subscription did not receive."""

    id: str
    """The subscription."""
    missed: Missed
    """How many, and why."""


class Delivery(NamedTuple):
    """One event for some subscriptions of the connection."""

    to: tuple[str, ...]
    """The subscriptions that receive it, in the order in which they began."""
    record: Record
    """The event."""


Encoded = TypeVar("Encoded", bound=Sized)
"""An event as the connection writes it; its length is its number of bytes."""


class _Source:
    """One subscription."""

    __slots__ = ("cursor", "ended", "id", "number", "pending", "place", "waits")

    place: Place

    def __init__(self, id: str, number: int) -> None:
        self.id = id
        self.number = number  # the order of the ids of an event
        # Taken, and not sent; the next one is the last. An empty deque takes 760 bytes.
        self.pending: list[Missed | Record] = []
        self.cursor = ""  # before the first pending item
        self.waits = False  # whether the place will call back
        self.ended = False

    def called(self) -> None:
        self.waits = False

    @property
    def has_more(self) -> bool:
        return not self.waits or self.place.behind > 0


_Head: TypeAlias = tuple[int, bool, int, _Source]
"""The next item of a source: its position, whether it is a gap, the number of the source."""


class Merging:
    """The subscriptions of one connection.

    Args:
        streams: has the events.
        grant: the events that the client may see.
        batch: bytes of events of one write.
        on_ready: called by the loop when there may be something to take.
    """

    def __init__(
        self, streams: Streams, grant: Grant, *, batch: int, on_ready: Callable[[], object]
    ) -> None:
        self._streams = streams
        self._grant = grant
        self._batch = batch
        self._on_ready = on_ready
        self._sources: dict[str, _Source] = {}
        self._heap: list[_Head] = []  # of each source with pending items
        self._count = 0

    def __len__(self) -> int:
        return len(self._sources)

    def __contains__(self, id: object) -> bool:
        return id in self._sources

    def __iter__(self) -> Iterator[Place]:
        return (source.place for source in self._sources.values())

    @property
    def bindings(self) -> dict[str, tuple[Binding, ...]]:
        """The bindings of each subscription, by id."""
        return {name: source.place.bindings for name, source in self._sources.items()}

    @property
    def has_ended(self) -> bool:
        """Whether nothing will follow: the bus or the streams closed, and everything was taken."""
        sources = self._sources.values()
        return bool(sources) and all(each.ended and not each.pending for each in sources)

    # The subscriptions

    def subscribe(
        self,
        id: str,
        bindings: tuple[Binding, ...],
        *,
        after: str | None = None,
        last: int | None = None,
    ) -> str:
        """Add a subscription, and return its cursor.

        Args:
            id: its name, which must be new.
            bindings: the events; without one, every event.
            after: the cursor of the last event that the client has.
            last: begin with this number of earlier events.

        Raises:
            BusClosedError, JournalError: see ``Streams.join``. Nothing was added.
        """
        assert id not in self._sources
        source = _Source(id, self._count)
        self._join(source, bindings, after, last)
        self._count += 1
        self._sources[id] = source
        return source.place.cursor

    def rebind(self, id: str, bindings: tuple[Binding, ...]) -> str:
        """Replace the bindings of a subscription, and return its cursor.

        It continues after the last item that was sent. Items that were taken and not sent are taken
        again, if they match.

        Raises:
            BusClosedError, JournalError: see ``Streams.rebind``. Nothing has changed.
        """
        source = self._sources[id]
        if not source.pending:
            self._streams.rebind(source.place, *bindings)
            source.waits = False
            return source.place.cursor
        place = source.place
        self._join(source, bindings, source.cursor, None)
        self._streams.leave(place)  # last: interest that both have does not end
        self._forget_pending(source)
        return source.place.cursor

    def unsubscribe(self, id: str) -> None:
        """End a subscription. Nothing is sent to it any more."""
        source = self._sources.pop(id)
        self._forget_pending(source)
        self._streams.leave(source.place)

    def close(self) -> None:
        """End all subscriptions. Idempotent."""
        for name in list(self._sources):
            self.unsubscribe(name)

    def _join(
        self, source: _Source, bindings: tuple[Binding, ...], after: str | None, last: int | None
    ) -> None:
        def on_ready() -> None:
            source.called()
            self._on_ready()

        source.place = self._streams.join(
            *bindings, on_ready=on_ready, grant=self._grant, after=after, last=last, wanted=True
        )
        source.waits = source.ended = False

    def _forget_pending(self, source: _Source) -> None:
        if source.pending:
            source.pending.clear()
            self._heap = [head for head in self._heap if head[3] is not source]
            heapify(self._heap)

    def cursors(self) -> dict[str, list[str]]:
        """Return the ids of the subscriptions by cursor, without those with unsent items.

        A client that returns with the cursor loses and repeats nothing.
        """
        found: dict[str, list[str]] = {}
        for source in self._sources.values():
            if not source.pending and not source.place.filling:
                found.setdefault(source.place.cursor, []).append(source.id)
        return found

    # The events

    def take(
        self, max_bytes: int, encode: Callable[[Delivery], Encoded]
    ) -> list[Encoded] | Gap | None:
        """Return the next events, encoded, or a gap before them, or ``None`` if there is nothing.

        After ``None``, ``on_ready`` is called when there is something to take.

        Args:
            max_bytes: the most bytes, where each event counts one more. A first event that is
                larger comes alone.
            encode: returns an event as it is written.
        """
        for source in self._sources.values():
            if not source.pending and self._fill(source):
                self._push(source)
        heap = self._heap
        taken: list[Encoded] = []
        while heap and max_bytes >= 0:
            if heap[0][1]:
                return taken or self._take_gap()
            sources = self._pop_record()
            if len(sources) == 1:
                # A gap comes after the event at its position.
                end = heap[0][0] + heap[0][1] if heap else None
                max_bytes = self._take_run(sources[0], end, max_bytes, encode, taken)
            else:
                max_bytes = self._take_shared(sources, max_bytes, encode, taken)
        return taken or None

    def _take_gap(self) -> Gap:
        source = heappop(self._heap)[3]
        missed = source.pending.pop()
        assert isinstance(missed, Missed)
        source.cursor = missed.cursor
        if source.pending or self._fill(source):
            self._push(source)
        return Gap(source.id, missed)

    def _pop_record(self) -> list[_Source]:
        """Remove the heads at the lowest position; return their sources, in their order."""
        heap = self._heap
        head = heappop(heap)
        sources = [head[3]]
        while heap and heap[0][0] == head[0] and not heap[0][1]:
            sources.append(heappop(heap)[3])
        return sources

    def _take_shared(
        self,
        sources: list[_Source],
        max_bytes: int,
        encode: Callable[[Delivery], Encoded],
        taken: list[Encoded],
    ) -> int:
        """Take the record that is the next of ``sources``; return the bytes that are left."""
        record = sources[0].pending[-1]
        assert isinstance(record, Record)
        data = encode(Delivery(tuple(source.id for source in sources), record))
        max_bytes -= len(data) + 1
        if max_bytes >= 0 or not taken:
            taken.append(data)
            for source in sources:
                source.pending.pop()
                source.cursor = record.cursor
        for source in sources:
            if source.pending or self._fill(source):
                self._push(source)
        return max_bytes

    def _take_run(
        self,
        source: _Source,
        end: int | None,
        max_bytes: int,
        encode: Callable[[Delivery], Encoded],
        taken: list[Encoded],
    ) -> int:
        """Take the records of one source up to where another one has an item.

        Most connections have one subscription, or one that is busy. Without a heap, an event then
        costs half as much. Return the bytes that are left.
        """
        to = (source.id,)
        while source.pending or self._fill(source):
            record = source.pending[-1]
            if not isinstance(record, Record) or (end is not None and record.position >= end):
                break
            data = encode(Delivery(to, record))
            max_bytes -= len(data) + 1
            if max_bytes < 0 and taken:
                break
            taken.append(data)
            source.pending.pop()
            source.cursor = record.cursor
        if source.pending:
            self._push(source)
        return max_bytes

    def _fill(self, source: _Source) -> bool:
        """Take the next items of a source without a pending one; return whether there are any."""
        if source.ended or not source.has_more:
            return False
        source.cursor = source.place.cursor
        missed, records, source.ended = source.place.take(
            TAKE, max(1, self._batch // (TAKES * len(self._sources)))
        )
        source.waits = not records
        source.pending.extend(reversed(records))
        if missed is not None:
            source.pending.append(missed)
        return bool(source.pending)

    def _push(self, source: _Source) -> None:
        """Put the next item of a source into the heap."""
        item = source.pending[-1]
        if isinstance(item, Record):
            head = (item.position, False, source.number, source)
        else:
            cursor = parse_cursor(item.cursor)
            assert cursor is not None
            # After the event at this position, which another subscription may have.
            head = (cursor.position, True, source.number, source)
        heappush(self._heap, head)
