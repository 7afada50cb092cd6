"""``Inbound``: publishes received events on the bus, and counts them.

A received event is published on all subscriptions except the link's own, so that the link does not
send it back. It never waits for a subscriber, see ``Publisher.publish_soon``. A ``DedupWindow``
drops an event that the bus had before.

Invariant: ``received = delivered + duplicates + sum(refused)`` after each message.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from datetime import UTC, datetime

from edr.bus import Bus, Subscription, parts_of
from edr.delivery import FaultLog
from edr.errors import BodyTooLargeError, BusClosedError, EdrError
from edr.journal.errors import EventsRefusedError
from edr.links.dedup import DedupWindow, window_of
from edr.links.storing import Storing
from edr.records import Event

MAX_WAITS = 256
"""Most received events that wait for full subscriptions at a time. Further events are dropped for
subscriptions that are full, as by ``publish_nowait``."""


class Inbound:
    """The received events of one link.

    Args:
        bus: publishes the events.
        log: receives faults.
        stores: whether ``publish_durably`` will be called; the bus then needs a journal.
    """

    def __init__(self, bus: Bus, log: FaultLog, *, stores: bool = False) -> None:
        self.window: DedupWindow = window_of(bus)
        self.exclude: Subscription | None = None
        """The link's own subscription, which does not receive the events."""
        self.received: int = 0
        self.delivered: int = 0
        self.duplicates: int = 0
        self.refused: Counter[str] = Counter()
        self.skew: float = 0.0
        """Most seconds by which a received event was ahead of this machine's clock."""
        self._bus = bus
        self._publisher = parts_of(bus).publisher
        self._log = log
        self._waits: set[asyncio.Task[int]] = set()
        self._storing = Storing(bus, self.window, self._delayed) if stores else None

    def publish(self, event: Event, hops: int = 1) -> str | None:
        """Publish a received event. It never waits, and never raises for a subscriber.

        Returns:
            ``None`` if the bus has the event now, or had it before. Otherwise the reason, which is
            counted: ``too_large``, or ``closed`` if the bus drains.
        """
        if not self._is_new(event, hops):
            return None
        wait = None
        try:
            if len(self._waits) < MAX_WAITS:
                wait = self._publisher.publish_soon(event, self.exclude)
            else:
                self._bus.publish_nowait(event, exclude=self.exclude)
        except (BusClosedError, BodyTooLargeError) as exc:
            return self._not_published(event, exc)
        self.delivered += 1
        if wait is not None:
            self._waits.add(wait)
            wait.add_done_callback(self._waits.discard)
        return None

    async def publish_durably(self, event: Event, hops: int = 1) -> str | None:
        """Publish a received event, and wait until the bus's journal has stored it.

        Returns:
            As ``publish``. In addition ``not_stored`` if the journal refused the event, which is
            logged. The subscribers have the event then, so it counts as delivered.

        Raises:
            JournalError: the journal stores no further event.
        """
        assert self._storing is not None
        if self._storing.is_storing(event):
            self.duplicates += 1
        elif self._is_new(event, hops):
            self.delivered += 1
        else:
            return None
        try:
            await self._storing.store(event, self.exclude)
        except (BusClosedError, BodyTooLargeError) as exc:
            self.delivered -= 1
            return self._not_published(event, exc)
        except EventsRefusedError as exc:
            self._log.last_error = f"not_stored: {exc}"
            words = "received event %r, and the journal did not store it: %s"
            self._log.fault(logging.ERROR, "not_stored", words, event.id, exc)
            return "not_stored"
        return None

    def _is_new(self, event: Event, hops: int) -> bool:
        if not self.window.is_new(event, hops):
            self.duplicates += 1
            return False
        ahead = (event.timestamp - datetime.now(UTC)).total_seconds()
        self.skew = max(self.skew, ahead)
        return True

    def _not_published(self, event: Event, exc: EdrError) -> str:
        if isinstance(exc, BusClosedError):
            self.refused["closed"] += 1
            return "closed"
        self.refuse("too_large", f"event {event.id}: {exc}")
        return "too_large"

    def refuse(self, reason: str, details: str) -> None:
        """Count and log a received message that is not an event for this bus."""
        self.refused[reason] += 1
        self._log.last_error = f"{reason}: {details}"
        self._log.fault(logging.WARNING, reason, "refused a message (%s): %s", reason, details)

    def _delayed(self, event: Event, exc: EdrError) -> None:
        self._log.last_error = str(exc)
        message = "cannot store event %r in the journal for now: %s; trying again"
        self._log.fault(logging.WARNING, "delayed", message, event.id, exc)

    async def stored(self) -> None:
        """Wait until each event of ``publish_durably`` is stored, or refused."""
        if self._storing is not None:
            await self._storing.settled()

    async def aclose(self) -> None:
        """Stop waiting for the journal, which may still store the events that it accepted."""
        if self._storing is not None:
            await self._storing.aclose()
