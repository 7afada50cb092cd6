"""``Place``: one client of a stream: an index into the log of its group.

**Where a place begins.** A new client begins after the newest event, or ``last`` events before it.
A client that returns gives the cursor of the last event that it received:

* The cursor is of this window, and the log of the group is complete since then: the place continues
  after it. Entries that have left the window by now are counted, ``expired``.
* It is of this window, but older than the window: ``expired``. The positions in between are the
  most that can be missing, if the group was there all the time.
* It is of this window, but the group was not there, and so events may not have been kept:
  ``expired`` without a count. The place continues after the cursor with the events that are there.
* It is of another window, ahead of the end, or not a cursor: ``restarted``, without a count.

After a gap a place continues at the oldest event that the client does not have, and never at the
end. Otherwise a client with an unknown cursor would appear to be up to date.

**Its cursor.** Until a gap is reported, the cursor of the place leads to the same report again. So
a client that disconnects before it receives the report does not lose it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edr.records import Binding
from edr.streams.catch_up import CatchUp, Removed
from edr.streams.cursors import NOWHERE
from edr.streams.grant import Grant
from edr.streams.group import Group
from edr.streams.record import Missed, MissedReason, Record, Taken


@dataclass(slots=True)
class Totals:
    """The sums of all places of a stream."""

    sent: int = 0
    missed: int = 0
    gaps: int = 0
    last_read: tuple[object, tuple[list[Record], int]] | None = None
    """The last records that a place read from a log, and from where. Clients of a group are woken
    one after the other, and most of them read the same records."""


@dataclass(frozen=True, slots=True)
class Start:
    """Where a place begins in the log of its group."""

    position: int
    """The first position that the client may be given."""
    last: int | None = None
    """Only this number of events before ``end``."""
    end: int = 0
    """The position of the next event when the client joined."""
    gap: tuple[int | None, MissedReason] | None = None
    """A gap before it: the number of events, and the reason."""
    at: int = 0
    """The position of the client before it begins."""


def start_after(group: Group, cursor: object, newest: int) -> Start:
    """Return where a client begins that has received everything up to ``cursor``.

    Args:
        group: its group.
        cursor: the text that the client sent.
        newest: the position of the newest event of the stream.
    """
    window = group.window
    first = window.first
    at = window.position_of(cursor, newest)
    if not window.is_dense:  # a journal has the events that are not in the window
        return Start(1, gap=(None, "restarted")) if at is None else Start(at + 1, at=at)
    if at is None:
        return Start(first, gap=(None, "restarted"), at=first - 1)
    if at + 1 < group.complete_from:
        return Start(max(at + 1, first), gap=(None, "expired"), at=at)
    if at + 1 >= first:
        return Start(at + 1, at=at)
    if not group.is_filling and at + 1 >= group.log_from and at >= group.log.removed_to:
        # The log has all entries since then, although the window does not have their events.
        return Start(at + 1, gap=(0, "expired"), at=at)
    most = first - 1 - at if window.is_dense else None
    return Start(first, gap=(most, "expired"), at=at)


def start_of(group: Group, after: object, last: int | None, newest: int) -> Start:
    """Return where a client begins; see the module."""
    if after is not None:
        return start_after(group, after, newest)
    if last:
        first = min(group.window.first, newest + 1)
        return Start(first, last=last, end=newest + 1, at=first - 1)
    return Start(newest + 1, at=newest)


class Place:
    """A client of a stream. ``Streams.join`` makes it, and ``Streams.leave`` ends it.

    All methods are plain functions for the loop's thread. ``take`` returns at once, so it cannot be
    cancelled.
    """

    def __init__(
        self,
        group: Group,
        on_ready: Callable[[], object],
        start: Start,
        totals: Totals,
        *,
        wanted: bool,
        catch_up: Callable[[Place, int], CatchUp] | None = None,
    ) -> None:
        self.on_ready: Callable[[], object] = on_ready
        """Called without arguments when there is something to take; see ``Streams.join``."""
        self.sent: int = 0
        """Records that it was given."""
        self.missed: int = 0
        """Events that were reported as missed, without gaps of an unknown size."""
        self.wanted: bool = wanted
        """Whether its bindings count as interest."""
        self._group = group
        self._start = start
        self._totals = totals
        self._gap = start.gap
        self._at = start.at
        self._next: int | None = None  # an index into the log, once the log is filled
        self._start_catch_up = catch_up  # with a journal
        self._older: CatchUp | None = None  # while it reads the journal
        self._is_over = False  # the streams closed
        self._has_left = False
        self._has_begun = False  # since the last take

    @property
    def start(self) -> Start:
        """Where it begins, for other modules of ``edr.streams``."""
        return self._start

    @property
    def is_older(self) -> bool:
        """Whether it must begin in the journal, since the window does not have its next event."""
        start = self._start
        return (
            self._start_catch_up is not None
            and start.last is None
            and start.position < self._group.window.first
        )

    @property
    def is_current(self) -> bool:
        """Whether the client has everything up to the newest event, without a gap to report."""
        return self._gap is None and self._next is not None and not self.behind

    @property
    def group(self) -> Group:
        """Its group, for other modules of ``edr.streams``."""
        return self._group

    @property
    def bindings(self) -> tuple[Binding, ...]:
        """The bindings, as they were given."""
        return self._group.view.bindings

    @property
    def grant(self) -> Grant:
        """The grant."""
        return self._group.view.grant

    @property
    def filling(self) -> bool:
        """Whether the log of its group is still being filled from the window.

        Until then ``take`` returns no records. ``on_ready`` is called at the end, also if there is
        nothing to take.
        """
        return self._next is None and self._older is None and not self._has_left

    @property
    def is_ready(self) -> bool:
        """Whether a ``take`` returns something new: a record, a gap, the past or the end."""
        if self._older is not None and self._older.index is not None:
            return True  # it continues in the log
        return self.behind > 0 or self._is_over or self._has_begun

    @property
    def needs_fill(self) -> bool:
        """Whether it begins with events from before its group was added."""
        return self._start.position < self._group.start

    @property
    def behind(self) -> int:
        """The events that it was not given yet, including events that it has already missed.

        While it reads a journal, only the events that were read and not given yet.
        """
        if self._older is not None:
            return len(self._older.items)
        return 0 if self._next is None else self._group.log.end - self._next

    @property
    def cursor(self) -> str:
        """The text of the position up to which the client has everything.

        With a gap that is not reported yet, it is a cursor that leads to the same gap. If there is
        nothing to take, it is the position of the newest event of the stream, even if no client
        received it. Send it from time to time, so that the cursor of a client of rare events does
        not expire.
        """
        window = self._group.window
        if self._gap is not None and self._gap[1] == "restarted":
            return NOWHERE
        self.advance()
        return window.cursor(self._at)

    def advance(self) -> None:
        """Store the newest position if the client has everything up to it.

        Otherwise a later cursor could be before one that was given now.
        """
        if self.is_current:
            self._at = self._group.window.newest

    def move(self, group: Group, start: Start) -> None:
        """Continue in the log of another group; ``begin`` follows."""
        self._group, self._start = group, start
        self._gap, self._at, self._next = start.gap, start.at, None
        self._has_begun = False
        if self._older is not None:
            self._older.close()
            self._older = None

    def begin(self) -> None:
        """Find the start in the log of the group, which has all its entries now."""
        log, start = self._group.log, self._start
        self._has_begun = True
        if self.is_older:
            self.read_older()
            return
        index = log.find(start.position)
        if start.last is not None:
            end = log.find(start.end)
            index = max(index, end - start.last)
            first = log.entries[index - log.origin].position if index < end else start.end
            self._at = first - 1
        self._next = index
        self._group.read_to = max(self._group.read_to, self._group.window.newest)

    def take(self, limit: int = 256, max_bytes: int = 65_536) -> Taken:
        """Return the next records, and before them the number of events that were missed.

        If it returns no records and has not ended, ``on_ready`` is called once, when there is
        something to take: after that, call ``take`` until it returns no records.

        Args:
            limit: the most records, at least 1.
            max_bytes: the most bytes of their JSON. A first record that is larger comes alone.
        """
        if limit < 1:
            raise ValueError(f"limit must be at least 1, got {limit!r}")
        if self._older is not None:
            taken = self._take_older(limit, max_bytes)
            if taken is not None:
                return taken
        if self._next is None:
            if self._has_left:
                return Taken(None, [], ended=True)
            self._group.wait(self)
            return Taken(None, [])
        self._has_begun = False
        lost = self._skip_removed()
        if lost and self._start_catch_up is not None:
            if self._is_over:  # nothing is lost: the journal has the events after its cursor
                self._has_left, self._next = True, None
                return Taken(None, [], ended=True)
            self.read_older()
            return self.take(limit, max_bytes)
        records, failed = self._next_records(limit, max_bytes)
        missed = self._reported(lost + failed, records, self._group.window.newest)
        if records:
            self._give(records)
            self._group.read_to = max(self._group.read_to, self._at)
            return Taken(missed, records)
        self._at = self._group.window.newest
        if not self._is_over:
            self._group.wait(self)
        return Taken(missed, records, ended=self._is_over)

    def _give(self, records: list[Record]) -> None:
        self.sent += len(records)
        self._totals.sent += len(records)
        self._at = records[-1].position

    def read_older(self) -> None:
        """Read the journal from the position of the client, until the window has the next event."""
        if self._older is not None or self._has_left or self._is_over:
            return
        assert self._start_catch_up is not None
        self._next = None
        self._older = self._start_catch_up(self, self._at)

    def _take_older(self, limit: int, max_bytes: int) -> Taken | None:
        """Return the next entries from the journal; ``None`` to continue in the log."""
        older = self._older
        assert older is not None
        items = older.items
        while items and isinstance(items[0], Removed):  # reported with the records that follow
            count, reason = self._gap or (0, "expired")
            removed = items[0].missed
            items.popleft()
            self._gap = (None if count is None else count + removed, reason)
        if not items and older.index is not None:
            self._next, self._at, self._older = older.index, max(self._at, older.at), None
            return None
        records: list[Record] = []
        while items and len(records) < limit:
            record = items[0]
            if isinstance(record, Removed):
                break
            max_bytes -= len(record.json)
            if max_bytes < 0 and records:
                break
            records.append(record)
            items.popleft()
        if not items:
            older.all_taken()
        if records:
            missed = self._reported(0, records, older.at)
            self._give(records)
            return Taken(missed, records)
        self._has_begun = False
        if not self._is_over:
            self._group.wait(self)
        return Taken(None, [], ended=self._is_over)

    def _skip_removed(self) -> int:
        """Continue at the oldest entry that the window has; return how many were skipped."""
        log, index = self._group.log, self._next
        assert index is not None
        if index == log.end:
            return 0
        if index >= log.origin and log.entries[index - log.origin].event is not None:
            return 0
        self._next = log.find(self._group.window.first)
        return self._next - index

    def _next_records(self, limit: int, max_bytes: int) -> tuple[list[Record], int]:
        """Return the next records, and how many events before them could not be encoded."""
        group, index = self._group, self._next
        assert index is not None
        if index == group.log.end:
            return [], 0
        # The log changes only at its end, except by an insertion, which moves the end too. The
        # window removes its oldest events first: since it has the first one, it has all of them.
        key = (group, index, group.log.end, limit, max_bytes)
        last = self._totals.last_read
        if last is None or last[0] != key:
            last = self._totals.last_read = (key, self._read(index, limit, max_bytes))
            group.window.shrink()
        records, failed = last[1]
        self._next = index + len(records) + failed
        return records.copy(), failed  # the caller may change its list

    def _read(self, index: int, limit: int, max_bytes: int) -> tuple[list[Record], int]:
        group = self._group
        window, cut = group.window, group.view.grant.cut
        at = index - group.log.origin
        records: list[Record] = []
        failed = 0
        for slot in group.log.entries[at : at + limit]:
            assert slot.event is not None
            try:
                record = window.record(slot, cut(slot.event))
            except Exception as exc:  # the fields of a subclass, which cannot be written as JSON
                if records:  # it is reported before the records of the next take
                    break
                group.encoding_failed(slot.event, exc)
                failed += 1
                continue
            max_bytes -= len(record.json)
            if max_bytes < 0 and records:
                break
            records.append(record)
        return records, failed

    def _reported(self, lost: int, records: list[Record], end: int) -> Missed | None:
        """Return the gap before ``records``, if any, and count it.

        Args:
            lost: the events before ``records`` that the client does not receive.
            records: the next ones.
            end: the position up to which the client has everything, without a next one.
        """
        gap, self._gap = self._gap, None
        if gap is None and not lost:
            return None
        count, reason = gap or (0, "slow")
        if count is not None:
            count += lost
            if not count:
                return None
            self.missed += count
            self._totals.missed += count
        self._totals.gaps += 1
        window = self._group.window
        self._at = records[0].position - 1 if records else end
        return Missed(count, reason, window.cursor(self._at))

    def end(self, *, at_once: bool = False) -> None:
        """End the stream: when everything is taken, or with ``at_once`` now."""
        self._is_over = True
        if self._older is not None:
            self._older.close()
        if at_once:
            self._has_left, self._next, self._older = True, None, None
