"""``Streams``: joins clients to the groups of one bus, and ends them with the bus."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass

from edr.bus import Bus, RateLimitedLog
from edr.errors import BusClosedError
from edr.journal import Journal, JournalError
from edr.records import EVERY_EVENT, Binding, Event, checked_bindings
from edr.streams.catch_up import MAX_READS, CatchUp
from edr.streams.filling import Filling
from edr.streams.grant import INVISIBLE, Grant, cut_event
from edr.streams.group import Group
from edr.streams.idle_groups import IdleGroups
from edr.streams.journal_feed import JournalFeed, window_id
from edr.streams.place import Place, Totals, start_after, start_of
from edr.streams.view import View
from edr.streams.window import Window

MIB = 2**20

TRIMMED_IN_A_TURN = 100
"""Groups whose logs are trimmed in one turn of the loop. Each takes some microseconds."""


@dataclass(frozen=True, slots=True)
class StreamsStatistics:
    """The counts of one ``Streams``."""

    places: int
    """Clients."""
    groups: int
    """Groups, including idle ones."""
    idle_groups: int
    """Groups without clients, which stay for a while."""
    position: int
    """The position of the newest event."""
    events: int
    """Events in the window."""
    bytes: int
    """Bytes of their JSON."""
    sent: int
    """Records that all clients were given since the start."""
    missed: int
    """Events that were reported as missed, without gaps of an unknown size."""
    gaps: int
    """Reports of missed events."""
    withheld: int
    """Events that matched the bindings of a group and that its grant does not show."""


class Streams:
    """Distributes the events of a bus to many clients, each at its own speed.

    A client that reads too slowly, or not at all, does not slow down the bus or other clients: the
    window moves on, and the client is told the exact number of events that it missed.

    It needs no start. It ends with the bus, after the drain, or with ``close``. Not thread-safe:
    use it on the loop's thread. Do not call ``take`` or ``join`` within a tap.

    Args:
        bus: the bus. Events are matched within its emits, in order.
        bindings: the events that clients can receive, whatever their own bindings; without one,
            every event.
        size: the most events in the window.
        bytes: the most bytes of JSON in the window. The newest event is kept if it is larger.
        history: put every event of the bus into the window, and not only events that match a
            client. Then ``last`` and ``after`` are complete for bindings that no client had before.
            An emit without a subscriber costs about five times as much. It does not count as
            interest. Not with ``journal``, which has its own events.
        journal: read the events from this journal, and not from the emits. It must be open at the
            first ``join``. Clients receive only stored events, a few milliseconds later. A cursor
            stays valid when the process restarts, and a client that is older than the window reads
            the journal. So only retention and damage cause gaps. ``size`` and ``bytes`` then only
            limit the memory. The journal stores the events that its own bindings match.

    Raises:
        TypeError, ValueError: an argument is not valid.
    """

    def __init__(
        self,
        bus: Bus,
        *bindings: Binding,
        size: int = 4096,
        bytes: int = 8 * MIB,
        history: bool = False,
        journal: Journal | None = None,
    ) -> None:
        _check_whole("size", size)
        _check_whole("bytes", bytes)
        self._bus = bus
        self._log = RateLimitedLog()
        self._window = Window(size, bytes, is_dense=journal is None, on_turnover=self._trim_soon)
        self._groups: dict[Hashable, Group] = {}
        self._idle = IdleGroups(self._remove)
        self._filling = Filling()
        self._totals = Totals()
        self._withheld = 0  # of groups that were removed
        self._journal = journal
        self._feed: JournalFeed | None = None
        self._reads = asyncio.Semaphore(MAX_READS)
        self._size = size
        self._interest: dict[Group, _Interest] = {}
        self._untrimmed: list[Group] = []
        self._is_attached = False
        self._is_closed = False
        self._history: Group | None = None
        self._limit: View | None = None
        if bindings:
            self._limit = View(checked_bindings(bindings), Grant.everything())
        if history and journal is not None:
            raise ValueError("history must not be given with journal, which has its own events")
        if history:
            everything = View((EVERY_EVENT,), Grant.everything())
            self._history = self._add(self._limit or everything)

    @property
    def history(self) -> bool:
        """Whether the window also has events that no client matches: of the bus, or the journal.

        If not, ``last`` returns only events that some client's bindings matched. Tell the user.
        """
        return self._history is not None or self._journal is not None

    @property
    def id(self) -> str:
        """The first part of its cursors. It is different in each process."""
        return self._window.id

    @property
    def closed(self) -> bool:
        """Whether the bus or the streams have closed."""
        return self._is_closed

    # Clients

    def join(
        self,
        *bindings: Binding,
        on_ready: Callable[[], object],
        grant: Grant | None = None,
        after: str | None = None,
        last: int | None = None,
        wanted: bool = False,
    ) -> Place:
        """Add a client, which receives every matching event from now on.

        Without ``after`` and ``last`` it begins with the next event. Call ``take`` first: as long
        as that returns records, ``on_ready`` is not called.

        Args:
            bindings: the events to receive; without one, every event. An event that several of
                them match is received once.
            on_ready: called without arguments, once after each ``take`` that returned no records:
                when there is something to take, when the past is available (see
                ``Place.filling``), or when the stream has ended. It is called by the loop and not
                within an emit. An exception of it is logged.
            grant: the events that the client may see; by default all.
            after: the cursor of the last event that the client received. It continues after it. If
                events since then are missing, the first take reports that, and never less: a
                cursor that is not valid is reported as ``restarted``.
            last: begin with this number of matching events from the window; ignored with
                ``after``. Without ``history`` the window may not have all of them.
            wanted: whether the bindings count as interest, so that links request these events from
                their brokers, until the client leaves.

        Raises:
            InvalidBindingError: an argument is not a binding.
            BusClosedError: the bus or the streams have closed.
            WrongLoopError: the bus belongs to another loop.
            edr.journal.JournalError: the journal is not open.
        """
        if last is not None:
            _check_whole("last", last, at_least=0)
        view = self._view(bindings, grant or Grant.everything())
        self._attach()
        group = self._groups.get(view.key) or self._add(view)
        start = start_of(group, after, last, self._newest)
        place = Place(
            group,
            on_ready,
            start,
            self._totals,
            wanted=wanted,
            catch_up=None if self._journal is None else self._catch_up,
        )
        self._enter(group, place)
        self._begin(place)
        return place

    def rebind(self, place: Place, *bindings: Binding) -> None:
        """Replace the bindings of a client, which continues where it is.

        A client that has taken everything receives every event from now on that matches the new
        bindings, and no gap. One that has not taken everything continues as if it returned with its
        cursor. Without ``history`` it is then told of an ``expired`` gap, unless a group with the
        new bindings was there since then. Its grant and its interest are kept. A client
        that waits for ``on_ready`` still waits, for an event of the new bindings.

        Args:
            place: the client.
            bindings: the events to receive from now on; without one, every event.

        Raises:
            InvalidBindingError: an argument is not a binding; nothing has changed.
            BusClosedError: the bus or the streams have closed.
            ValueError: the client has left.
        """
        old = place.group
        view = self._view(bindings, place.grant)
        self._attach()
        if place not in old.places:
            raise ValueError("the place must not have left its stream")
        if view.key == old.view.key:
            return
        is_current, cursor = place.is_current, place.cursor
        group = self._groups.get(view.key) or self._add(view)
        if is_current:
            start = start_of(group, None, None, self._newest)
        elif place.filling and place.start.last is not None:
            start = place.start
        else:
            start = start_after(group, cursor, self._newest)
        self._enter(group, place)  # before it leaves: interest that both groups have does not end
        is_waiting = self._exit(old, place)
        place.move(group, start)
        self._begin(place)
        if is_waiting:
            group.wait(place)
            if place.behind:
                group.wake_soon()

    def leave(self, place: Place) -> None:
        """Remove a client. It is not called back any more. Idempotent."""
        group = place.group
        if place not in group.places:
            return
        place.end(at_once=True)
        self._exit(group, place)

    def find(self, cursor: str, *, grant: Grant | None = None) -> Event | None:
        """Return the event of ``cursor``, as a client may see it.

        Args:
            cursor: the cursor of a record.
            grant: the events that the client may see; by default all.

        Returns:
            ``None`` if the window does not have it, or if the grant does not show it.
        """
        position = self._window.position_of(cursor, self._newest)
        event = None if position is None else self._window.find(position)
        if event is not None and self._limit is not None and not self._limit.matches(event):
            return None
        if event is None or grant is None:
            return event
        cut = grant.cut(event)
        return None if cut == INVISIBLE else cut_event(event, cut)

    def _enter(self, group: Group, place: Place) -> None:
        group.places[place] = None
        self._idle.remove(group)
        if place.wanted:
            self._count_wanted(group, 1)

    def _exit(self, group: Group, place: Place) -> bool:
        is_waiting = group.remove(place)
        if not self._is_closed:
            if place.wanted:
                self._count_wanted(group, -1)
            if not group.places and group is not self._history:
                self._idle.add(group)
        return is_waiting

    def _begin(self, place: Place) -> None:
        group = place.group
        if self._feed is not None and not self._feed.is_ready:
            return  # all places begin when the window has the entries of the journal
        if place.needs_fill and not group.is_filled and not place.is_older:
            self._filling.add(group)
        else:
            place.begin()

    # Groups

    def _view(self, bindings: tuple[Binding, ...], grant: Grant) -> View:
        return View(checked_bindings(bindings or (EVERY_EVENT,)), grant, self._limit)

    def _add(self, view: View) -> Group:
        group = Group(view, self._window, is_complete=self.history, log=self._log)
        if self._feed is None:
            self._bus.add_tap(group, *view.tap_bindings)
        else:
            self._feed.add(group)
        self._groups[view.key] = group
        return group

    def _remove(self, group: Group) -> None:
        del self._groups[group.view.key]
        self._detach(group)
        self._withheld += group.withheld

    def _count_wanted(self, group: Group, change: int) -> None:
        before = group.wanted > 0
        group.wanted += change
        if before == (group.wanted > 0):
            return
        if self._feed is not None:
            if before:
                self._bus.remove_tap(self._interest.pop(group))
            else:
                self._interest[group] = _Interest()
                self._bus.add_tap(self._interest[group], *group.view.tap_bindings, wanted=True)
        else:
            # The same bindings: no event is between the old and the new registration.
            self._bus.add_tap(group, *group.view.tap_bindings, wanted=not before)

    def _detach(self, group: Group) -> None:
        """Give no further event to ``group``."""
        if self._feed is None:
            self._bus.remove_tap(group)
            return
        self._feed.remove(group)
        if group in self._interest:
            self._bus.remove_tap(self._interest.pop(group))

    def _trim_soon(self) -> None:
        """Trim the logs of all groups: a group that receives nothing does not trim its own."""
        if not self._untrimmed:
            self._untrimmed = list(self._groups.values())
            asyncio.get_running_loop().call_soon(self._trim_some)

    def _trim_some(self) -> None:
        for group in self._untrimmed[-TRIMMED_IN_A_TURN:]:
            group.trim()
        del self._untrimmed[-TRIMMED_IN_A_TURN:]
        if self._untrimmed:
            asyncio.get_running_loop().call_soon(self._trim_some)

    # With a journal

    @property
    def _newest(self) -> int:
        return self._window.newest if self._feed is None else self._feed.newest

    def _catch_up(self, place: Place, after: int) -> CatchUp:
        assert self._journal is not None
        group = place.group
        return CatchUp(
            self._journal, self._reads, group, after, on_items=group.wake_soon, log=self._log
        )

    def _feed_ready(self) -> None:
        for group in self._groups.values():
            for place in group.places:
                assert isinstance(place, Place)
                self._begin(place)
            group.wake_soon()

    def _feed_gap(self) -> None:
        for group in self._groups.values():
            for place in group.places:
                assert isinstance(place, Place)
                if not place.filling:
                    place.advance()
                    place.read_older()

    # The end

    def _attach(self) -> None:
        """Be ended by the bus from now on."""
        if self._is_closed:
            raise BusClosedError("the streams are closed, or their bus is")
        if self._is_attached:
            return
        if self._journal is not None:
            self._window.id = window_id(self._journal)
        self._bus.add_service(self, "streams")
        self._is_attached = True
        if self._journal is not None:
            self._feed = JournalFeed(
                self._journal,
                self._window,
                self._size,
                on_ready=self._feed_ready,
                on_gap=self._feed_gap,
                log=self._log,
            )
            self._feed.start()

    def close(self) -> None:
        """End the streams of all clients: each receives the events so far, and then the end.

        Idempotent. The bus stays open.
        """
        if self._is_closed:
            return
        self._is_closed = True
        self._idle.close()
        if self._feed is not None:
            self._feed.close()
        for group in self._groups.values():
            self._detach(group)
            self._withheld += group.withheld
            group.end()
        self._groups.clear()
        self._bus.remove_service(self)

    async def start(self) -> None:
        """Do nothing: there is nothing to start. For the ``Service`` protocol."""

    async def drain(self, timeout: float | None = None) -> int:
        """Close. No event is unprocessed: clients take the remaining ones later. Return 0.

        With a journal, first wait until the window has its entries, for at most ``timeout``
        seconds.
        """
        if self._feed is not None and not self._is_closed:
            with suppress(TimeoutError, JournalError):
                async with asyncio.timeout(timeout):
                    await self._feed.caught_up()
        self.close()
        return 0

    async def aclose(self) -> None:
        """Close; see ``close``."""
        self.close()

    def statistics(self) -> StreamsStatistics:
        """Return the counts of this moment."""
        groups = self._groups.values()
        return StreamsStatistics(
            places=sum(len(group.places) for group in groups),
            groups=len(groups),
            idle_groups=len(self._idle),
            position=self._window.newest,
            events=len(self._window),
            bytes=self._window.bytes,
            sent=self._totals.sent,
            missed=self._totals.missed,
            gaps=self._totals.gaps,
            withheld=self._withheld + sum(group.withheld for group in groups),
        )


class _Interest:
    """A tap that only registers interest. The events come from the journal."""

    def offer(self, event: Event) -> None:
        """Ignore ``event``."""

    offer_nowait = offer


def _check_whole(name: str, value: object, *, at_least: int = 1) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be a whole number, got {value!r}")
    if value < at_least:
        raise ValueError(f"{name} must be at least {at_least}, got {value!r}")
