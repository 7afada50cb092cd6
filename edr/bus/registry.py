"""``Registry``: the queues of a bus. Who is there, who is gone, and the sums over both.

A bus may have a million subscriptions, of which few are in use at a time. So nothing here visits
all of them in one go: the sums are kept for those that are empty, and only the others are asked;
those that nobody refers to any more are released in slices, between which the loop runs.

Everything runs on the loop's thread, but for ``abandon`` and ``sums``.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterator
from itertools import islice

from edr.bus.interest import InterestWatch, OnInterest
from edr.bus.log import RateLimitedLog
from edr.bus.losses import LossLog
from edr.bus.overflow import Overflow
from edr.bus.queue import BoundedQueue, Sums, add_up
from edr.bus.routes import Routes
from edr.bus.statistics import SubscriptionInfo, Totals, Verdict, stable
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
        stall_after: seconds after which emitters stop waiting for a queue.
        wake: calls something on the loop's thread, from any thread; or not, if there is no loop.
    """

    def __init__(
        self, routes: Routes, stall_after: float, wake: Callable[[Callable[[], None]], None]
    ) -> None:
        self.stall_after = stall_after
        self.totals = Totals()
        self.active: dict[BoundedQueue, None] = {}
        self.losses = LossLog()
        self._log = RateLimitedLog()
        self._routes = routes
        self._wake = wake
        self._abandoned: deque[BoundedQueue] = deque()
        self._release_is_due = False
        self._names = Names()
        self._last_number = 0
        self._version = 0

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

    def lost(self, queue: BoundedQueue, reason: str) -> None:
        """Hear that ``queue`` dropped an event."""
        self.losses.lost(queue, reason)

    def stalled(self, queue: BoundedQueue) -> None:
        """Hear that emitters no longer wait for ``queue``."""
        self.losses.stalled(queue, self.stall_after)

    def closed(self, queue: BoundedQueue) -> None:
        """Hear that ``queue`` admits nothing more."""
        self._version += 1
        self._routes.remove(queue)
        self._names.give_back(queue.name)
        self.losses.closed(queue)

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
            # Its consumer has decided so; that is worth a line, but no warning.
            self._log.log(
                logging.INFO,
                f"left {queue.name}",
                "subscription %r ended with %d event(s) that it had not taken",
                queue.name,
                left,
            )

    # Sums

    def sums(self) -> Sums:
        """Return the sums of this moment, on the loop's thread."""
        totals = self.totals
        offered, dropped, pending, stalled = add_up(self.active)
        dropped.update(totals.dropped)
        return Sums(offered + totals.offered, +dropped, pending + totals.pending, stalled)

    def sums_from_elsewhere(self) -> Sums:
        """Return the sums of a moment, from another thread than the loop's."""
        while True:
            version = self._version
            totals = self.totals
            offered, dropped, pending = totals.offered, Counter(totals.dropped), totals.pending
            stalled = 0
            for queue in list(self.active):
                more_offered, more_dropped, more_pending = stable(queue.unfolded)
                offered += more_offered
                pending += more_pending
                dropped.update(more_dropped)
                stalled += queue.stalled
            if version == self._version:
                return Sums(offered, +dropped, pending, stalled)

    def fold(self) -> None:
        """Add the counts of queues that are empty to the totals, so that later sums are short."""
        self._version += 1
        for queue in list(islice(self.active, FOLDED)):
            if queue.to_take:
                self.active[queue] = self.active.pop(queue)  # the next look is at others
            else:
                queue.fold()


class Names:
    """Makes the names of what lives at a time unique: the second ``audit`` is ``audit #2``."""

    def __init__(self) -> None:
        # Name -> how many live that were given it, and the last number.
        self._given: dict[str, tuple[int, int]] = {}

    def take(self, name: str) -> str:
        """Return ``name``, with a number if another one has it."""
        living, last = self._given.get(name, (0, 0))
        self._given[name] = (living + 1, last + 1)
        return name if not last else f"{name} #{last + 1}"

    def give_back(self, name: str) -> None:
        """Take note that one that had ``name`` lives no more."""
        given = name if name in self._given else name.rpartition(" #")[0]
        living, last = self._given.get(given, (0, 0))
        if living > 1:
            self._given[given] = (living - 1, last)
        else:
            self._given.pop(given, None)
