"""``DropLog``: every event that a subscription loses is said, not only counted.

A loss is told once, with a name: the first of a subscription at once, those that follow in a
summary each ``INTERVAL`` by reason, and the rest when the storm ends, or the subscription, or the
bus. Each line costs a glance, so a summary is one line for all subscriptions.

Rejected: a line for each event (a dead observer would write ten thousand a second); a limit per
line and second (it leaves out names, and a reader cannot add up what it left out).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Hashable, Iterable, Mapping
from contextlib import suppress
from heapq import nlargest
from itertools import islice
from typing import TypeVar

from edr._util.log import log_safely
from edr.bus.bounded_queue import STALLED, BoundedQueue

T = TypeVar("T", bound=Hashable)

INTERVAL = 30.0
"""Seconds between two summaries of what goes on being lost."""

MOST_FIRST_LOSSES = 20
"""Subscriptions whose first loss is told by a line of its own, in an interval. A fault that makes
a thousand subscriptions lose events is one fault; the summary names the rest."""

MOST_NAMES = 10
"""Subscriptions that a summary names, those that lost most first."""


MOST_RANKED = 100_000
"""Subscriptions among which those are sought: ranking a million would hold the loop."""


class DropLog:
    """Says what the queues of one bus drop. Used on the loop's thread only."""

    def __init__(self) -> None:
        # What was said of each already, by reason.
        self._said: dict[BoundedQueue, Mapping[str, int]] = {}
        self._firsts = 0
        self._timer: asyncio.TimerHandle | None = None

    def lost(self, queue: BoundedQueue, reason: str, count: int) -> None:
        """Tell the first loss of ``queue``; what follows is summed up."""
        self._firsts += 1
        if self._firsts <= MOST_FIRST_LOSSES:
            log_safely(
                logging.WARNING,
                "subscription %r lost %s (%s): its queue of %d is full, its policy is %s, "
                "and its consumer is too slow; further losses are counted, and summed up each %g s",
                queue.name,
                "an event" if count == 1 else f"{count} events",
                reason,
                queue.capacity,
                queue.overflow,
                INTERVAL,
            )
            self._follow(queue, queue.dropped)
        else:
            self._follow(queue, {})

    def stalled(self, queue: BoundedQueue, stall_timeout: float, dropped: int) -> None:
        """Log that emitters no longer wait for ``queue``; further losses are summed up.

        Args:
            queue: which.
            stall_timeout: seconds for which its consumer took nothing.
            dropped: events that waited for room, and were dropped.
        """
        log_safely(
            logging.WARNING,
            "subscription %r is stalled: it took nothing for %g s while emitters waited; "
            "events for it are dropped until it takes one",
            queue.name,
            stall_timeout,
        )
        queue.is_told_of = True
        if queue not in self._said:
            said = queue.dropped
            self._follow(queue, {**said, STALLED: said.get(STALLED, 0) - dropped})

    def closed(self, queue: BoundedQueue) -> None:
        """Tell the rest of what ``queue`` lost."""
        if queue in self._said:
            self._tell([queue])
            del self._said[queue]
        queue.is_told_of = False  # what waits in its line may yet be lost

    def end(self) -> None:
        """Tell the rest of what all lost."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._tell(self._said)
        self._said.clear()

    def undone(self, left: Mapping[str, int], why: str) -> None:
        """Tell what is not handled, or never will be: name -> events queued or in hand."""
        if left:
            log_safely(logging.WARNING, "%s, with events left undone: %s", why, _ranked(left))

    def _follow(self, queue: BoundedQueue, said: Mapping[str, int]) -> None:
        self._said[queue] = said
        self._start_timer()

    def _start_timer(self) -> None:
        if self._timer is None:
            with suppress(RuntimeError):  # an emit that is torn down after its loop: the last line
                self._timer = asyncio.get_running_loop().call_later(INTERVAL, self._sum_up)

    def _sum_up(self) -> None:
        self._timer = None
        self._firsts = 0
        for queue in self._tell(self._said):
            queue.is_told_of = False  # the storm is over: the next loss is a first one
            del self._said[queue]
        if self._said:
            self._start_timer()

    def _tell(self, queues: Iterable[BoundedQueue]) -> list[BoundedQueue]:
        """Tell what was not told yet; return those of which there was nothing to tell."""
        unsaid: dict[BoundedQueue, dict[str, int]] = {}
        quiet = []
        for queue in queues:
            dropped, said = queue.dropped, self._said[queue]
            more = {reason: n - said.get(reason, 0) for reason, n in dropped.items()}
            more = {reason: n for reason, n in more.items() if n and reason != "closed"}
            if more:
                unsaid[queue] = more
                self._said[queue] = dropped
            else:
                quiet.append(queue)
        if unsaid:
            sums = {queue: sum(more.values()) for queue, more in unsaid.items()}
            texts = {queue: f"{queue.name!r} {_text(more)}" for queue, more in unsaid.items()}
            log_safely(
                logging.WARNING, "events were lost since the last line: %s", _ranked(sums, texts)
            )
        return quiet


def _ranked(sums: Mapping[T, int], texts: Mapping[T, str] | None = None) -> str:
    """Name those with the largest sums first, and the last ones together."""
    first = nlargest(MOST_NAMES, islice(sums, MOST_RANKED), key=sums.__getitem__)
    told = [texts[each] if texts else f"{each!r} {sums[each]}" for each in first]
    if len(first) < len(sums):
        rest = sum(sums.values()) - sum(sums[each] for each in first)
        told.append(f"{len(sums) - len(first)} other subscriptions {rest}")
    return "; ".join(told)


def _text(dropped: Mapping[str, int]) -> str:
    return ", ".join(f"{count} ({reason})" for reason, count in dropped.items())
