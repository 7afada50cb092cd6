"""``Group``: all clients with the same view. It is one tap on the bus, and one log.

``offer`` runs within the emit, once for each event that the group receives and not once for each
client. It stores a reference to the slot of the event, and wakes the clients that wait. A client
that does not read does not wait, and costs nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Protocol

from edr.bus import RateLimitedLog
from edr.records import Event
from edr.streams.group_log import GroupLog
from edr.streams.view import View
from edr.streams.window import Slot, Window

MIN_TRIM = 256
"""Entries from which the log of a group is trimmed. It is then trimmed whenever it has doubled, so
that trimming costs each event the same small amount."""


class Client(Protocol):
    """A place, as its group uses it."""

    @property
    def on_ready(self) -> Callable[[], object]:
        """Called when there is something to take."""
        ...

    @property
    def is_ready(self) -> bool:
        """Whether there is something to take, or the end."""
        ...

    @property
    def filling(self) -> bool:
        """Whether it waits until the log is filled."""
        ...

    def begin(self) -> None:
        """Find its start in the log, which is filled."""
        ...

    def end(self, *, at_once: bool = False) -> None:
        """End: when everything is taken, or with ``at_once`` now."""
        ...


class Group:
    """The clients with one view.

    Args:
        view: the events that they receive.
        window: stores the events.
        is_complete: whether the window has every event of the view since its start. Otherwise it
            has every one from now on.
        log: logs the exceptions of ``on_ready``.
    """

    def __init__(
        self, view: View, window: Window, *, is_complete: bool, log: RateLimitedLog
    ) -> None:
        self.view: View = view
        self.window: Window = window
        self.log: GroupLog = GroupLog()
        if not is_complete:
            window.skip()
        self.start: int = window.newest + 1
        """The position from which the tap puts events into the log."""
        self.complete_from: int = 1 if is_complete else self.start
        """The position from which every event of the view is in the window, or was."""
        self.log_from: int = self.start
        """The position from which the log has every event of the window."""
        self.is_filled: bool = self.start == window.first
        """Whether the log also has the events of the window before ``start``."""
        self.is_filling: bool = False
        self.read_to: int = 0
        """The newest position that a place was given. Nothing is inserted before it."""
        self.places: dict[Client, None] = {}
        self.wanted: int = 0
        """The places that count as interest."""
        self.withheld: int = 0
        """Events that matched the bindings of the tap and are not visible."""
        self._last = window.newest
        self._admits = None if view.admits_all else view.admits
        self._entries = self.log.entries
        self._trim_at = MIN_TRIM
        self._waiting: dict[Client, None] = {}
        self._is_due = False
        self._log = log

    # The tap

    def offer(self, event: Event) -> None:
        """Store ``event``, which is being emitted."""
        if self._admits is not None and not self._admits(event):
            self.withheld += 1
            return
        window = self.window
        newest = window.newest_slot
        slot = newest if newest.event is event else window.add(event)
        if slot is None or (
            slot is newest and (slot.position <= self._last or slot.previous is not None)
        ):  # the object is in the window, and it is not plain at which position
            slot = self._slot_of(event)
            if slot.position < self._last:  # of an emit within which another event was emitted
                self.log.insert(slot)
                return
        self._last = slot.position
        entries = self._entries
        entries.append(slot)
        if self._waiting and not self._is_due:
            self.wake_soon()
        if len(entries) > self._trim_at:
            self.trim()

    offer_nowait = offer

    def receive(self, slot: Slot) -> None:
        """Store ``slot``, the newest of the window, if its event is visible. Without a tap."""
        assert slot.event is not None
        if self._admits is not None and not self._admits(slot.event):
            self.withheld += 1
            return
        self._last = slot.position
        self._entries.append(slot)
        self.wake_soon()
        if len(self._entries) > self._trim_at:
            self.trim()

    def _slot_of(self, event: Event) -> Slot:
        """Return the slot of this emit, which is a new one for its first group.

        See ``window``: it is the oldest slot of this object that the group does not have. A slot
        before ``read_to`` is not used. A place that takes within an emit could not be given it.
        """
        found = None
        oldest = max(self.start, self.read_to + 1)
        slot = self.window.latest.get(id(event))
        while (
            slot is not None
            and slot.event is event  # the window still has it
            and slot.position >= oldest
            and not self._has(slot)
        ):
            found, slot = slot, slot.previous
        return found or self.window.append(event)

    def _has(self, slot: Slot) -> bool:
        return slot.position <= self._last and self.log.holds(slot)

    def trim(self) -> None:
        """Remove the entries that the window does not have any more."""
        if not self.is_filling:  # the entries before them are not there yet
            self.log.remove_before(self.window.first)
        self._trim_at = max(MIN_TRIM, 2 * len(self.log.entries))

    # The clients

    def wait(self, place: Client) -> None:
        """Call ``place.on_ready`` once, at the next event."""
        self._waiting[place] = None

    def remove(self, place: Client) -> bool:
        """Remove ``place``. It is not called back any more. Return whether it waited for that."""
        del self.places[place]
        is_waiting = place in self._waiting
        self._waiting.pop(place, None)
        return is_waiting

    def filled(self, older: Iterable[Slot], log_from: int) -> None:
        """Put the events before ``start`` into the log, and begin the places that wait for them.

        Args:
            older: the slots, in order. The window may have moved past some of them.
            log_from: the position from which they are all events of the window.
        """
        self.log.prepend(older)
        self.log_from = log_from
        self.is_filled, self.is_filling = True, False
        for place in self.places:
            if place.filling:
                place.begin()
        self.trim()
        self.wake_soon()

    def end(self) -> None:
        """End the stream of each place when it has taken everything."""
        for place in self.places:
            place.end()
        with suppress(RuntimeError):  # the loop has ended, so no client is left to be called
            self.wake_soon()

    def encoding_failed(self, event: Event, exc: Exception) -> None:
        """Log that ``event`` has no JSON, so that no client can receive it."""
        self._log.log(
            logging.ERROR,
            "encode",
            "a stream could not encode event %s of %s: %r",
            event.id,
            event.app_name,
            exc,
            exc=exc,
        )

    def wake_soon(self) -> None:
        """Call back the places that wait, in the next turn of the loop."""
        if self._waiting and not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._wake)

    def _wake(self) -> None:
        self._is_due = False
        woken, self._waiting = self._waiting, {}
        for place in woken:
            if place not in self.places:  # it left in a callback of another place
                continue
            if not place.is_ready:  # it took everything since the call was scheduled
                self._waiting[place] = None
                continue
            try:
                place.on_ready()
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as exc:  # the client's code; the other clients go on
                self._log.log(
                    logging.ERROR,
                    "on_ready",
                    "on_ready of a place in a stream failed: %r",
                    exc,
                    exc=exc,
                )
