"""``Registry``: the queues of a bus, open and closed, and the sums of their counts.

A bus may have a million subscriptions, of which few are in use at a time. So no method visits all
of them at once. The counts of empty queues are added to totals, and statistics read only the other
queues. Abandoned queues are released in slices, and the loop runs between two slices.

Used on the loop's thread, except for ``abandon``.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Literal

from edr._util.log import RateLimitedLog
from edr.bus.bounded_queue import UNNAMED, BoundedQueue, Sums, add_up
from edr.bus.drop_log import DropLog
from edr.bus.interest import InterestWatch, OnInterest
from edr.bus.overflow import Overflow
from edr.bus.queue_list import QueueList
from edr.bus.routes import Routes
from edr.bus.statistics import MatchResult, SubscriptionInfo, Totals
from edr.bus.subscription import Work, statistics_of
from edr.records import Binding, Event, explain

FOLDED = 10_000
"""Queues that statistics fold at a time. Each takes 1 µs, so the loop is held for 10 ms."""

SLICE = 500
"""Queues that are closed at a time. Each takes about 10 µs, so the loop is held for 5 ms."""


class Registry:
    """The queues of one bus.

    Args:
        routes: matches events to the open queues.
        stall_timeout: seconds without a take after which emits stop waiting for a queue.
        wake: calls a function on the loop's thread, from any thread; does nothing without a loop.
        on_left: called with the number of events that a consumer left in its subscription.
    """

    def __init__(
        self,
        routes: Routes,
        stall_timeout: float,
        wake: Callable[[Callable[[], None]], None],
        on_left: Callable[[int], object],
    ) -> None:
        self.stall_timeout = stall_timeout
        self.totals: Totals = Totals()
        self.active: dict[BoundedQueue, None] = {}
        self._closing: dict[BoundedQueue, None] = {}
        self.drop_log: DropLog = DropLog()
        self._log = RateLimitedLog()
        self._routes = routes
        self._wake = wake
        self._on_left = on_left
        self._abandoned: deque[BoundedQueue] = deque()
        self._release_is_due = False
        self._names = Names()
        self._listed = QueueList()
        self._named = QueueList()  # those with a name, which metrics list: a few of a million
        self._last_number = 0

    def __len__(self) -> int:
        return len(self._routes.queues)

    def __iter__(self) -> Iterator[BoundedQueue]:
        return iter(list(self._routes.queues))  # a copy: other threads may iterate

    @property
    def last_number(self) -> int:
        """The number of the queue that was added last."""
        return self._last_number

    def add(
        self,
        bindings: tuple[Binding, ...],
        capacity: int,
        overflow: Overflow,
        name: str | None,
        *,
        gaps: bool,
    ) -> BoundedQueue:
        """Make a queue, and register it for ``bindings``."""
        self._last_number += 1
        unique = self._names.take(name) if name else None
        queue = BoundedQueue(self, self._last_number, capacity, overflow, unique, gaps=gaps)
        self._routes.add(queue, bindings)
        self._listed.append(queue)
        if unique:
            self._named.append(queue)
        return queue

    def page(
        self, after: int | None, limit: int | None, *, named: bool = False
    ) -> list[BoundedQueue]:
        """Return the open queues in the order in which they were made.

        Args:
            after: a number of a queue, open or not; only later ones are returned.
            limit: return at most this many.
            named: only queues with a name.
        """
        return (self._named if named else self._listed).page(after, limit)

    def rebind(self, queue: BoundedQueue, bindings: tuple[Binding, ...]) -> None:
        """Replace the bindings of ``queue``."""
        self._routes.rebind(queue, bindings)

    def bindings_of(self, queue: BoundedQueue) -> tuple[Binding, ...]:
        """Return the bindings of ``queue``; none once it is closed."""
        return self._routes.bindings_of(queue)

    def info_of(self, queue: BoundedQueue, work: Work | None) -> SubscriptionInfo:
        """Return a description of ``queue``. From any thread."""
        return SubscriptionInfo(
            number=queue.number,
            name=queue.name,
            kind=_kind_of(work),
            capacity=queue.capacity,
            overflow=queue.overflow,
            statistics=statistics_of(queue, work),
            _keys=self._routes.queues.get(queue, ()),
        )

    def match_result(self, queue: BoundedQueue, event: Event, work: Work | None) -> MatchResult:
        """Return whether ``event`` matches a binding of ``queue``, and if not, why."""
        bindings = self.bindings_of(queue)
        mismatches = explain(event, *bindings) if bindings else ()
        is_match = bool(bindings) and not mismatches
        kind = _kind_of(work)
        return MatchResult(queue.number, queue.name, is_match, mismatches, kind)

    def watch_interest(self, on_change: OnInterest, exclude: BoundedQueue | None) -> InterestWatch:
        """Call ``on_change`` when the interest of the queues changes, without ``exclude``."""
        return self._routes.watch(on_change, exclude)

    # Reports of the queues

    def on_drop(self, queue: BoundedQueue, reason: str, count: int) -> None:
        """Log the first drop of ``queue``."""
        self.drop_log.on_drop(queue, reason, count)

    def on_stall(self, queue: BoundedQueue, dropped: int) -> None:
        """Log that emits stop waiting for ``queue``, which dropped their events."""
        self.drop_log.on_stall(queue, self.stall_timeout, dropped)

    def on_close(self, queue: BoundedQueue) -> None:
        """Remove ``queue``. Its pending events can still be taken."""
        if queue.to_take:
            self._closing[queue] = None
        self._routes.remove(queue)
        self._listed.remove(queue)
        if queue.is_named:
            self._named.remove(queue)
        self._names.release(queue.name)
        self.drop_log.on_close(queue)

    def on_refilled(self, queue: BoundedQueue) -> None:
        """Record that an item was put back into ``queue``, which is closed."""
        self._closing[queue] = None

    def on_emptied(self, queue: BoundedQueue) -> None:
        """Record that ``queue``, which is closed, has nothing left to take."""
        self._closing.pop(queue, None)

    def on_left(self, queue: BoundedQueue, count: int) -> None:
        """Count and log the events that the consumer of ``queue`` left in it."""
        self._on_left(count)
        # At INFO: the program itself ended the subscription.
        self._log.log(
            logging.INFO,
            f"left {queue.name}",
            "subscription %r ended with %d event(s) that it had not taken",
            queue.name,
            count,
        )

    def holding(self) -> list[BoundedQueue]:
        """Return the queues that may have something to take. From any thread."""
        return [*self.active, *self._closing]

    # Release of queues without a consumer

    def release(self, queue: BoundedQueue) -> None:
        """Close ``queue``, drop its pending events, and report them as left."""
        left = queue.discard()
        if left:
            self.on_left(queue, left)

    def abandon(self, queue: BoundedQueue) -> None:
        """Release ``queue`` soon. From any thread and at any point of it, as ``__del__`` needs."""
        self._abandoned.append(queue)
        if not self._release_is_due:
            self._release_is_due = True
            self._wake(self.release_abandoned)

    def release_abandoned(self) -> None:
        """Release one slice of the abandoned queues now, and the others in later turns."""
        self._release_is_due = False
        for _ in range(min(SLICE, len(self._abandoned))):
            self.release(self._abandoned.popleft())
        if self._abandoned:
            self._release_is_due = True
            self._wake(self.release_abandoned)

    # Sums

    def sums(self) -> Sums:
        """Return the sums of this moment, on the loop's thread."""
        totals = self.totals
        offered, dropped, pending, stalled = add_up(self.active)
        dropped.update(totals.dropped)
        return Sums(offered + totals.offered, +dropped, pending + totals.pending, stalled)

    def fold(self) -> None:
        """Add the counts of empty queues to the totals, so that later sums take less time."""
        for queue in list(islice(self.active, FOLDED)):
            if queue.to_take:
                self.active[queue] = self.active.pop(queue)  # the next call looks at other queues
            else:
                queue.fold()


class Names:
    """Makes the names of open subscriptions unique: the second ``audit`` is ``audit #2``."""

    def __init__(self) -> None:
        self._used: set[str] = set()
        self._last: dict[str, int] = {}

    def take(self, name: str) -> str:
        """Return ``name``, with a number if it is in use."""
        if name in self._used or name.startswith(UNNAMED):
            number = self._last.get(name, 1) + 1
            while f"{name} #{number}" in self._used:
                number += 1
            self._last[name] = number
            name = f"{name} #{number}"
        self._used.add(name)
        return name

    def release(self, name: str) -> None:
        """Make ``name`` available again."""
        self._used.discard(name)
        self._last.pop(name, None)
        if not self._used:
            self._last.clear()


def _kind_of(work: Work | None) -> Literal["subscription", "callback"]:
    return "subscription" if work is None else "callback"
