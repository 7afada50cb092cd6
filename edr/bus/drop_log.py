"""``DropLog``: logs every event that a subscription drops, in few lines.

The first drop of a subscription is logged at once, with its name. Later drops are summed up by
reason every ``INTERVAL``, in one line for all subscriptions. The rest is logged when the drops
stop, or the subscription or the bus is closed.

Rejected: a line for each event (a dead subscriber would write ten thousand a second); a limit of
lines per second (it hides names, and a reader cannot add up the suppressed lines).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import islice
from typing import Any

from edr._util.log import log_safely
from edr.bus.bounded_queue import BoundedQueue
from edr.bus.policies import CLOSED, STALLED

INTERVAL = 30.0
"""Seconds between two summaries. Short enough to follow a fault, and 120 lines an hour at most."""

MAX_FIRST_DROPS = 20
"""Subscriptions with a line for their first drop, in an interval. A fault that makes a thousand
subscriptions drop events is one fault; the summary names the others."""

MAX_NAMES = 10
"""Subscriptions that a summary names; the others are one sum, so that the line can be read."""


class DropLog:
    """Logs the drops of the queues of one bus. Used on the loop's thread only."""

    def __init__(self) -> None:
        # Queue -> its logged drops, by reason.
        self._logged: dict[BoundedQueue, Mapping[str, int]] = {}
        self._first_drops = 0
        self._timer: asyncio.TimerHandle | None = None

    def on_drop(self, queue: BoundedQueue, reason: str, count: int) -> None:
        """Log the first drop of ``queue``. Later drops are summed up."""
        self._first_drops += 1
        if self._first_drops > MAX_FIRST_DROPS:
            self._follow(queue, {})
            return
        log_safely(
            logging.WARNING,
            "subscription %r dropped %s (%s): its queue of %d is full, its policy is %s, "
            "and its consumer is too slow; further drops are summed up every %g s",
            queue.name,
            "an event" if count == 1 else f"{count} events",
            reason,
            queue.capacity,
            queue.overflow,
            INTERVAL,
        )
        self._follow(queue, queue.dropped)

    def on_stall(self, queue: BoundedQueue, stall_timeout: float, dropped: int) -> None:
        """Log that emits stop waiting for ``queue``. Later drops are summed up.

        Args:
            queue: the queue.
            stall_timeout: seconds for which its consumer took nothing.
            dropped: events that waited for space, and were dropped.
        """
        log_safely(
            logging.WARNING,
            "subscription %r is stalled: it took nothing for %g s while emitters waited; "
            "events for it are dropped until it takes one",
            queue.name,
            stall_timeout,
        )
        queue.is_drop_logged = True
        if queue not in self._logged:
            logged = queue.dropped
            self._follow(queue, {**logged, STALLED: logged.get(STALLED, 0) - dropped})

    def on_close(self, queue: BoundedQueue) -> None:
        """Log the rest of the drops of ``queue``."""
        if queue in self._logged:
            self._log([queue])
            del self._logged[queue]
        queue.is_drop_logged = False  # events that wait for space may still be dropped

    def end(self) -> None:
        """Log the rest of all drops."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._log(self._logged)
        self._logged.clear()

    def unprocessed(self, left: Mapping[str, int], why: str) -> None:
        """Log the events that are not processed: name -> events queued or in a callback."""
        if left:
            parts = [f"{name!r} {count}" for name, count in islice(left.items(), MAX_NAMES)]
            log_safely(
                logging.WARNING, "%s, with events left undone: %s", why, _joined(parts, left)
            )

    def _follow(self, queue: BoundedQueue, logged: Mapping[str, int]) -> None:
        self._logged[queue] = logged
        self._start_timer()

    def _start_timer(self) -> None:
        if self._timer is None:
            # It fails if the coroutine of an emit is closed after its loop: without a summary then.
            with suppress(RuntimeError):
                self._timer = asyncio.get_running_loop().call_later(INTERVAL, self._sum_up)

    def _sum_up(self) -> None:
        self._timer = None
        self._first_drops = 0
        for queue in self._log(self._logged):
            queue.is_drop_logged = False  # the drops have stopped: the next one is a first one
            del self._logged[queue]
        if self._logged:
            self._start_timer()

    def _log(self, queues: Iterable[BoundedQueue]) -> list[BoundedQueue]:
        """Log the drops since the last line; return the queues that had none."""
        parts: list[str] = []
        counts: dict[BoundedQueue, int] = {}
        without = []
        for queue in queues:
            dropped, logged = queue.dropped, self._logged[queue]
            more = {reason: n - logged.get(reason, 0) for reason, n in dropped.items()}
            more = {reason: n for reason, n in more.items() if n and reason != CLOSED}
            if more:
                counts[queue] = sum(more.values())
                self._logged[queue] = dropped
                if len(parts) < MAX_NAMES:
                    reasons = ", ".join(f"{count} ({reason})" for reason, count in more.items())
                    parts.append(f"{queue.name!r} {reasons}")
            else:
                without.append(queue)
        if counts:
            log_safely(
                logging.WARNING,
                "events were dropped since the last line: %s",
                _joined(parts, counts),
            )
        return without


def _joined(parts: list[str], counts: Mapping[Any, int]) -> str:
    """Return ``parts``, and one sum for the counts that are not in them."""
    rest = len(counts) - len(parts)
    if rest:
        total = sum(islice(counts.values(), len(parts), None))
        parts = [*parts, f"{rest} other subscriptions {total}"]
    return "; ".join(parts)
