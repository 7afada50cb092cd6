"""``Registry``: the queues of a bus. Who is there, who is gone, and the sums over both.

A bus may have a million subscriptions, of which few are in use at a time. So nothing here visits
all of them in one go: the sums are kept for those that are empty, and only the others are asked;
those that nobody refers to any more are released in slices, between which the loop runs.

Everything runs on the loop's thread, but for ``abandon``.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice

from edr._util.log import RateLimitedLog
from edr.bus.bounded_queue import UNNAMED, BoundedQueue, Sums, add_up
from edr.bus.drop_log import DropLog
from edr.bus.interest import InterestWatch, OnInterest
from edr.bus.overflow import Overflow
from edr.bus.routes import Routes
from edr.bus.statistics import SubscriptionInfo, Totals, Verdict
from edr.bus.subscription import Work, statistics_of
from edr.records import Binding, Event

FOLDED = 10_000
"""Queues that statistics fold in one go: each takes a microsecond."""

SLICE = 500
"""Queues that are closed in one go. Each takes some 10 µs, so the loop is held for 5 ms."""


class Registry:
    """The queues of one bus.

    Args:
        routes: where the open ones are found by events.
        stall_timeout: seconds after which emitters stop waiting for a queue.
        wake: calls something on the loop's thread, from any thread; or not, if there is no loop.
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
        self.losses: DropLog = DropLog()
        self._log = RateLimitedLog()
        self._routes = routes
        self._wake = wake
        self._on_left = on_left
        self._abandoned: deque[BoundedQueue] = deque()
        self._release_is_due = False
        self._names = Names()
        self._last_number = 0

    def __len__(self) -> int:
        return len(self._routes.queues)

    def __iter__(self) -> Iterator[BoundedQueue]:
        return iter(list(self._routes.queues))  # in one go: other threads may ask

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
        return queue

    def rebind(self, queue: BoundedQueue, bindings: tuple[Binding, ...]) -> None:
        """Let ``queue`` be offered what ``bindings`` match, from now on, and nothing else."""
        self._routes.rebind(queue, bindings)

    def bindings_of(self, queue: BoundedQueue) -> tuple[Binding, ...]:
        """Return what ``queue`` is offered; nothing once it is closed."""
        return self._routes.bindings_of(queue)

    def info_of(self, queue: BoundedQueue, work: Work | None) -> SubscriptionInfo:
        """Tell of ``queue`` what there is to tell. From any thread."""
        return SubscriptionInfo(
            name=queue.name,
            bindings=self.bindings_of(queue),
            capacity=queue.capacity,
            overflow=queue.overflow,
            statistics=statistics_of(queue, work),
        )

    def verdict_of(self, queue: BoundedQueue, event: Event) -> Verdict:
        """Tell whether ``queue`` is offered ``event``, and if not, why."""
        reasons = [binding.explain(event) for binding in self.bindings_of(queue)]
        nearest = min(reasons, key=len, default=())
        return Verdict(queue.name, wanted=bool(reasons) and not nearest, why_not=nearest)

    def watch_interest(self, on_change: OnInterest, besides: BoundedQueue | None) -> InterestWatch:
        """Tell ``on_change`` of what the queues want, but for ``besides``."""
        return self._routes.watch(on_change, besides)

    # What queues report

    def lost(self, queue: BoundedQueue, reason: str, count: int) -> None:
        """Hear that ``queue`` dropped events."""
        self.losses.lost(queue, reason, count)

    def stalled(self, queue: BoundedQueue, dropped: int) -> None:
        """Called when emitters no longer wait for ``queue``, which dropped events of theirs."""
        self.losses.stalled(queue, self.stall_timeout, dropped)

    def closed(self, queue: BoundedQueue) -> None:
        """Hear that ``queue`` admits nothing more; what it holds can still be taken."""
        if queue.to_take:
            self._closing[queue] = None
        self._routes.remove(queue)
        self._names.give_back(queue.name)
        self.losses.closed(queue)

    def refilled(self, queue: BoundedQueue) -> None:
        """Hear that there is something to take again from ``queue``, which is closed."""
        self._closing[queue] = None

    def emptied(self, queue: BoundedQueue) -> None:
        """Hear that there is nothing more to take from ``queue``, which is closed."""
        self._closing.pop(queue, None)

    def holding(self) -> list[BoundedQueue]:
        """Return the queues in which there may be something to take. From any thread."""
        return [*self.active, *self._closing]

    # Those that nobody consumes any more

    def abandon(self, queue: BoundedQueue) -> None:
        """Take note that nobody will consume ``queue`` any more. From any thread, at any point."""
        self._abandoned.append(queue)
        if not self._release_is_due:
            self._release_is_due = True
            self._wake(self.release)

    def release(self) -> None:
        """Close the queues that were abandoned, so many that the loop is not held."""
        self._release_is_due = False
        for _ in range(min(SLICE, len(self._abandoned))):
            self.let_go(self._abandoned.popleft())
        if self._abandoned:
            self._release_is_due = True
            self._wake(self.release)

    def let_go(self, queue: BoundedQueue) -> None:
        """Close a queue whose consumer wants no more, and tell what was left in it."""
        left = queue.discard()
        if left:
            self.left(queue, left)

    def left(self, queue: BoundedQueue, count: int) -> None:
        """Tell that the consumer of ``queue`` left so many events."""
        self._on_left(count)
        # It has decided so; that is worth a line, but no warning.
        self._log.log(
            logging.INFO,
            f"left {queue.name}",
            "subscription %r ended with %d event(s) that it had not taken",
            queue.name,
            count,
        )

    # Sums

    def sums(self) -> Sums:
        """Return the sums of this moment, on the loop's thread."""
        totals = self.totals
        offered, dropped, pending, stalled = add_up(self.active)
        dropped.update(totals.dropped)
        return Sums(offered + totals.offered, +dropped, pending + totals.pending, stalled)

    def fold(self) -> None:
        """Add the counts of queues that are empty to the totals, so that later sums are short."""
        for queue in list(islice(self.active, FOLDED)):
            if queue.to_take:
                self.active[queue] = self.active.pop(queue)  # the next look is at others
            else:
                queue.fold()


class Names:
    """Makes the names of what lives at a time unique: the second ``audit`` is ``audit #2``."""

    def __init__(self) -> None:
        self._living: set[str] = set()
        self._last: dict[str, int] = {}

    def take(self, name: str) -> str:
        """Return ``name``, with a number if another one has it."""
        if name in self._living or name.startswith(UNNAMED):
            number = self._last.get(name, 1) + 1
            while f"{name} #{number}" in self._living:
                number += 1
            self._last[name] = number
            name = f"{name} #{number}"
        self._living.add(name)
        return name

    def give_back(self, name: str) -> None:
        """Take note that the one that had ``name`` lives no more."""
        self._living.discard(name)
        self._last.pop(name, None)
        if not self._living:
            self._last.clear()
