"""``Storing``: publishes received events on a bus, and tells when its journal has stored each.

A broker that is told so only then gives an event again after a crash, and nothing is lost that it
had handed over. Two things would break that:

* A message that comes again while its event is still being stored is a duplicate, but must not be
  acknowledged yet. So both wait for the same storage.
* A journal that cannot store for now, on a full disk, keeps the message with the broker. When the
  journal can store again, it gets the event once more, so it may have it twice. The subscribers
  have the event already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from edr._util.backoff import Backoff
from edr.bus import Bus, Subscription
from edr.errors import EdrError
from edr.journal.errors import (
    EventsRefusedError,
    JournalError,
    JournalUnusableError,
    WrongJournalError,
)
from edr.links.dedup import DedupWindow
from edr.records import Event

FIRST_RETRY = 0.1
MAX_RETRY = 5.0
"""Seconds between two checks of a journal that cannot store: the first and the longest pause."""

_FINAL = (EventsRefusedError, JournalUnusableError, WrongJournalError)


class Storing:
    """The received events that are not stored yet.

    Args:
        bus: the bus, which has a journal.
        seen: the bus's window of events. One that was not stored is forgotten there.
        on_delay: called with an event and an error when the journal cannot store it for now.
    """

    def __init__(
        self, bus: Bus, seen: DedupWindow, on_delay: Callable[[Event, EdrError], None]
    ) -> None:
        self._bus = bus
        self._seen = seen
        self._on_delay = on_delay
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}

    def is_storing(self, event: Event) -> bool:
        """Return whether the event was received before and is not stored yet."""
        return (event.node, event.id) in self._tasks

    async def store(self, event: Event, exclude: Subscription | None) -> None:
        """Publish ``event``, unless that is under way, and wait until it is stored.

        Cancellation: the event is stored all the same.

        Raises:
            BodyTooLargeError, BusClosedError: the bus did not take it.
            JournalError: it will not be stored.
        """
        key = (event.node, event.id)
        task = self._tasks.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._store(event, exclude))
            self._tasks[key] = task
            task.add_done_callback(lambda task: self._ended(event, task))
        await asyncio.shield(task)

    async def _store(self, event: Event, exclude: Subscription | None) -> None:
        backoff = Backoff(FIRST_RETRY, MAX_RETRY)
        try:
            await self._bus.publish(event, exclude=exclude, durable=True)
        except _FINAL:
            raise
        except JournalError as exc:
            self._on_delay(event, exc)
        else:
            return
        journal = self._bus.journal
        assert journal is not None
        while True:
            # The journal stores accepted events by itself when it can. The error does not tell
            # whether it accepted this event, so the event is appended once more after that.
            await asyncio.sleep(backoff.next())
            if journal.statistics().error is not None:
                continue
            try:
                await journal.append(event)
            except _FINAL:
                raise
            except JournalError as exc:
                self._on_delay(event, exc)
            else:
                return

    def _ended(self, event: Event, task: asyncio.Task[None]) -> None:
        del self._tasks[event.node, event.id]
        if task.cancelled() or task.exception() is not None:
            self._seen.forget(event)

    async def settled(self) -> None:
        """Wait until each event is stored, or will not be, and its receiver was told."""
        while self._tasks:
            await asyncio.wait(self._tasks.values())
            await asyncio.sleep(0)

    async def aclose(self) -> None:
        """Wait no longer for any storage. The journal may still store what it has accepted."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
