"""``BoundedQueue``: the queue of one subscription.

An emit puts an event into many queues, so a put must be cheap. It must also respect the capacity,
wake a waiting consumer, keep the order and count every event.

**Credit.** A put of the hot path (``put_all``, below) spends one credit and appends. Credit is the
right to append without any check. ``offer``, the slow path, makes all checks and then grants
credit. Credit is revoked when a put needs a check: a consumer waits, or the queue is full, closed
or stalled, or an emit waits for space. So one integer stands for all these conditions. Each granted
credit is either spent or left, so ``offered = granted - credit``, and a put counts nothing.

**Watch.** A take of the hot path (in ``subscription.py``) is a ``popleft``, while ``watch`` is
False. ``watch`` is True when a take has more to do: no task has taken yet, an emit waits for space,
emits were refused, a gap is queued, or the queue is closed. It is also True while there is credit
for more events than the queue ever held. Only takes make a queue shorter, so the first take after
the queue has grown finds the new peak, and revokes the credit above it.

**Waiting emits.** An event that finds the queue full becomes a ``PendingPut``, in order. Takes
admit the first of them. The overflow policy is applied to a pending put only after its emit has
yielded to the loop, so that a consumer can take first. A consumer that takes nothing during
``MAX_YIELDS`` of these yields had its chance. From then on the policy is applied at once, and only
each ``REFUSALS_A_YIELD``-th emit yields. So a dead subscriber does not slow all emits down, and a
tight loop of emits does not starve a live one.

Parts: ``putters`` (waiting emits, stall timer), ``getters`` (consuming tasks), ``gap_markers``,
``policies``. They are made on first use, and never call the queue.

Invariants: ``offered = delivered + dropped + pending`` at every moment, where ``pending`` includes
waiting emits. No event overtakes another. At most ``capacity`` events are queued, and each waiting
emit holds one more. A cancelled take has removed nothing.

Rejected: ``asyncio.Queue`` (five times the cost, no counts, and ``put`` either waits or raises); an
anyio stream (twice that again); a deque with ``maxlen`` (drops events without a count).
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from edr._util.wakeup import wake
from edr.bus.gap_markers import GapMarkers
from edr.bus.getters import Getters
from edr.bus.overflow import Gap, Overflow
from edr.bus.policies import (
    CLOSED,
    DROP_NEWEST,
    DROP_OLDEST,
    STALLED,
    WAIT,
    WOULD_BLOCK,
    Action,
    decide,
)
from edr.bus.putters import PendingPut, Putters
from edr.errors import SubscriptionOverflowError, WrongLoopError
from edr.records import Binding, Event

if TYPE_CHECKING:
    from edr.bus.statistics import Totals

current_task: Callable[[asyncio.AbstractEventLoop | None], asyncio.Task[Any] | None]
if TYPE_CHECKING or sys.version_info >= (3, 12):
    current_task = asyncio.current_task
else:
    # 3.12 has asyncio.current_task in C. In 3.11 it is a Python function around this look-up and
    # costs three times as much, and every take and every emit needs it.
    from asyncio.tasks import _current_tasks

    current_task = _current_tasks.get


UNNAMED = "subscription-"
"""The start of the name of a queue without one; its number follows."""

MAX_YIELDS = 32
"""Emits that yield to the loop for a full queue without a take. A live consumer may need some turns
of the loop for one event; one that took nothing in 32 turns is not just waiting for its turn."""

REFUSALS_A_YIELD = 256
"""After ``MAX_YIELDS``, one emit in this many yields. That is a percent of the cost of yielding
each time, and a consumer that is alive again still gets turns."""


class QueueObserver(Protocol):
    """Receives the reports of the queues of one bus, and holds their sums: its registry."""

    stall_timeout: float
    """Seconds without a take after which emits stop waiting."""
    totals: Totals
    """The counts of closed queues, and the counts that ``fold`` has added."""
    active: dict[BoundedQueue, None]
    """The queues with counts that ``totals`` does not include."""

    def on_drop(self, queue: BoundedQueue, reason: str, count: int) -> None:
        """Called on the first drop; later drops are only counted."""
        ...

    def on_stall(self, queue: BoundedQueue, dropped: int) -> None:
        """Called when emits stop waiting for ``queue``, which dropped their events."""
        ...

    def on_close(self, queue: BoundedQueue) -> None:
        """Called when ``queue`` accepts no further event."""
        ...

    def on_emptied(self, queue: BoundedQueue) -> None:
        """Called when a closed queue has nothing left to take."""
        ...

    def on_refilled(self, queue: BoundedQueue) -> None:
        """Called when an item was put back into a closed queue."""
        ...

    def on_left(self, queue: BoundedQueue, count: int) -> None:
        """Called when the consumer of ``queue`` left ``count`` events in it."""
        ...

    def abandon(self, queue: BoundedQueue) -> None:
        """Release ``queue`` later: nothing refers to its subscription. From any thread."""
        ...

    def release(self, queue: BoundedQueue) -> None:
        """Close ``queue``, and drop and report the events in it."""
        ...

    def bindings_of(self, queue: BoundedQueue) -> tuple[Binding, ...]:
        """Return the bindings of ``queue``; none once it is closed."""
        ...

    def rebind(self, queue: BoundedQueue, bindings: tuple[Binding, ...]) -> None:
        """Replace the bindings of ``queue``."""
        ...


class Counts(NamedTuple):
    """The counts of a queue at one moment."""

    offered: int
    dropped: Mapping[str, int]
    pending: int
    peak_pending: int
    stalled: bool

    @property
    def delivered(self) -> int:
        """Events that were taken."""
        return self.offered - sum(self.dropped.values()) - self.pending


class BoundedQueue:
    """The events of one subscription. Used from the thread of its event loop only.

    ``counts`` may be read from any thread.
    """

    __slots__ = (
        "_climbing",
        "_discarded",
        "_drained",
        "_dropped",
        "_folded",
        "_folded_dropped",
        "_gaps",
        "_getters",
        "_granted",
        "_is_folded",
        "_name",
        "_peak",
        "_putters",
        "_refusals",
        "append",
        "capacity",
        "closed",
        "credit",
        "error",
        "is_drop_logged",
        "items",
        "loop",
        "number",
        "observer",
        "overflow",
        "stalled",
        "watch",
    )

    def __init__(
        self,
        observer: QueueObserver,
        number: int,
        capacity: int = 1024,
        overflow: Overflow = Overflow.BLOCK,
        name: str | None = None,
        *,
        gaps: bool = False,
    ) -> None:
        self.observer: QueueObserver = observer
        self.number: int = number
        """Numbers the queues of the bus in the order in which they were made."""
        self.capacity: int = capacity
        self.overflow: Overflow = overflow
        self.closed: bool = False
        self.stalled: bool = False
        self.is_drop_logged: bool = False
        """Whether the log has the first drop, and will sum up later ones."""
        self.error: SubscriptionOverflowError | None = None
        """Ends the iteration in place of StopAsyncIteration."""
        self.loop: Any = None
        """The event loop of the consumer, once it has taken."""
        self.credit: int = 0
        self.watch: bool = True
        # A deque takes 760 bytes, and most of a million subscriptions are idle. So the deque is
        # made for the first event, and given back when a consumer waits for the next one.
        self.items: deque[Event | Gap] | None = None
        self.append: Callable[[Event | Gap], None] = _no_deque_yet
        self._getters: Getters | None = None
        self._putters: Putters | None = None
        self._gaps: GapMarkers | None = GapMarkers() if gaps else None
        self._granted = 0
        self._dropped: dict[str, int] | None = None
        self._peak = 0
        self._climbing = False
        self._refusals = 0
        self._name = name
        self._discarded = False
        self._drained: asyncio.Future[None] | None = None
        self._is_folded = True
        self._folded = 0
        self._folded_dropped: dict[str, int] | None = None

    @property
    def name(self) -> str:
        """The name that it was given, or one made from its number."""
        return self._name or f"{UNNAMED}{self.number}"

    @property
    def is_named(self) -> bool:
        """Whether it was given a name."""
        return self._name is not None

    @property
    def consumer(self) -> asyncio.Task[Any] | None:
        """The task that took, or waited to take, last; ``None`` if it is gone."""
        return None if self._getters is None or self._discarded else self._getters.task

    # Accounting

    @property
    def offered(self) -> int:
        """Events that were put, accepted or not."""
        return self._granted - self.credit

    @property
    def pending(self) -> int:
        """Events that are queued or wait for space."""
        return self._queued() + self._waiting()

    @property
    def dropped(self) -> dict[str, int]:
        """Reason -> events."""
        return dict(self._dropped or ())

    @property
    def peak_pending(self) -> int:
        """The most events that were ever pending."""
        return max(self._peak, self.pending)

    @property
    def to_take(self) -> int:
        """Items that a consumer has still to take: pending events, and gaps."""
        return len(self.items or ()) + self._waiting()

    @property
    def oldest(self) -> Event | None:
        """The event that has been queued for longest. From any thread."""
        items = self.items
        try:
            for position in range(len(items or ())):
                item = items[position]  # type: ignore[index]  # only where there are items
                if not isinstance(item, Gap):
                    return item
        except IndexError:  # another thread has just taken the last
            pass
        return None

    def counts(self) -> Counts:
        """Return the counts of this moment."""
        return Counts(self.offered, self.dropped, self.pending, self.peak_pending, self.stalled)

    def unfolded(self) -> tuple[int, Mapping[str, int], int]:
        """Return the counts that the totals do not include: offered, dropped, and all pending."""
        dropped = self._dropped or {}
        before = self._folded_dropped
        if before:
            dropped = {reason: count - before.get(reason, 0) for reason, count in dropped.items()}
        return self.offered - self._folded, dropped, self.pending

    def fold(self) -> None:
        """Add its counts to the totals; the next put uses ``offer``, which undoes this."""
        self._revoke()
        offered, dropped, _ = self.unfolded()
        totals = self.observer.totals
        totals.offered += offered
        for reason, count in dropped.items():
            totals.dropped[reason] += count
        self._folded += offered
        if dropped:
            self._folded_dropped = self.dropped
        self._is_folded = True
        self.observer.active.pop(self, None)

    def _unfold(self) -> None:
        self._is_folded = False
        self.observer.active[self] = None

    # Another thread may read these two, for statistics: so each attribute is read once.

    def _queued(self) -> int:
        items, gaps = self.items, self._gaps
        if not items:
            return 0
        return len(items) if gaps is None else len(items) - gaps.count

    def _waiting(self) -> int:
        putters = self._putters
        return 0 if putters is None else len(putters.waiting)

    def _count_drop(self, reason: str, count: int = 1) -> None:
        if self._dropped is None:
            self._dropped = {}
        self._dropped[reason] = self._dropped.get(reason, 0) + count
        if self.closed:
            self.observer.totals.dropped[reason] += count
            self.observer.totals.pending -= count

    def _report_drop(self, reason: str, count: int = 1) -> None:
        """Report a drop that was counted. Call it last: a log handler may emit, to here too."""
        if not self.is_drop_logged and reason is not CLOSED:
            self.is_drop_logged = True
            self.observer.on_drop(self, reason, count)

    # Put

    def offer(self, event: Event) -> PendingPut | bool:
        """Put ``event`` without credit.

        Returns True if it was accepted, False if it was refused (the queue is closed, or its
        consumer takes nothing), or a pending put if the queue is full.
        """
        if self.closed:
            return False
        if self._is_folded:
            self._unfold()
        self._granted += 1
        items = self.items
        if items is None:
            items = self.items = deque()
            self.append = items.append
        gaps = self._gaps
        queued = len(items) + 1 if gaps is None else len(items) + 1 - gaps.count
        putters = self._putters
        if queued > self.capacity or (putters is not None and putters.waiting):
            return self._put_to_full(event)
        items.append(event)
        getters = self._getters
        if getters is not None and getters.waiting:
            getters.wake_one()
            if getters.waiting:  # the next put must wake the next one: no credit
                self._peak = max(self._peak, queued)
                return True
        if queued < self._peak:
            self.credit = min(self._peak, self.capacity) - queued
            self._granted += self.credit
        elif queued > self._peak:
            self.credit = self.capacity - queued
            self._granted += self.credit
            self._climbing = self.watch = True
        return True

    def offer_nowait(self, event: Event) -> bool:
        """Put ``event``, or apply the policy at once. Under BLOCK a full queue drops the event."""
        if self.credit:
            self.credit -= 1
            self.append(event)
            return True
        outcome = self.offer(event)
        if isinstance(outcome, bool):
            return outcome
        self.apply_policy(outcome, cannot_wait=WOULD_BLOCK)
        return bool(outcome.admitted)

    def _put_to_full(self, event: Event) -> PendingPut | bool:
        refusals, putters = self._refusals, self._putters
        is_first = putters is None or not putters.waiting
        if refusals >= MAX_YIELDS and refusals % REFUSALS_A_YIELD and is_first:
            action, reason = decide(self.overflow, stalled=self.stalled)
            if action is DROP_OLDEST:
                self._refusals += 1
                self._drop_oldest(reason)
                self._append(event)
                self._report_drop(reason)
                return True
            if action is DROP_NEWEST:
                self._refusals += 1
                self._count_drop(reason)
                if self._gaps is not None:
                    self._mark_gap(1)
                self._report_drop(reason)
                return False
        put = PendingPut(self, event)
        if putters is None:
            putters = self._putters = Putters()
        putters.add(put)
        self._peak = max(self._peak, self.pending)
        self.watch = True
        return put

    def may_wait(self) -> bool:
        """Return whether an emit that finds the queue full waits until there is space."""
        return decide(self.overflow, stalled=self.stalled)[0] is WAIT

    def apply_policy(self, put: PendingPut, *, cannot_wait: str | None = None) -> None:
        """Apply the policy to ``put``, after its emit has yielded; it may stay pending.

        Args:
            put: a pending put of this queue; nothing is done if it was resolved.
            cannot_wait: the reason of the drop if the policy would wait, and the emit cannot.
        """
        if put.admitted is not None:
            return
        assert self._putters is not None
        action, reason = decide(self.overflow, stalled=self.stalled, cannot_wait=cannot_wait)
        if action is WAIT:
            self._putters.start_timer(self.observer.stall_timeout, self._on_stall)
            return
        self._refusals += cannot_wait is None
        if action is DROP_OLDEST:
            while put.admitted is None:
                self._drop_oldest(reason)
                self._admit_waiting()
            self._report_drop(reason)
        elif action is DROP_NEWEST:
            self._putters.remove(put)
            self._count_drop(reason)
            self._mark_gap(1)
            put.resolve(admitted=False)
            self._report_drop(reason)
        elif action is Action.CLOSE:
            self.error = SubscriptionOverflowError(self.name, self._waiting())
            dropped = self._drop_waiting(reason)
            self.close()
            self._report_drop(reason, dropped)

    def _append(self, item: Event) -> None:
        if self.items is None:
            self.items = deque()
            self.append = self.items.append
        self.items.append(item)
        if self._getters is not None:
            self._getters.wake_one()

    def _revoke(self) -> None:
        self._granted -= self.credit
        self.credit = 0

    def _drop_oldest(self, reason: str) -> None:
        assert self.items
        self._count_drop(reason)
        if self._gaps is None:
            self.items.popleft()
        else:
            self._gaps.drop_oldest(self.items)

    def _mark_gap(self, missed: int) -> None:
        """Put a gap after the queued events; they may be fewer than were offered before it."""
        if self._gaps is None or self.items is None:
            return
        self._gaps.append(self.items, missed)
        self.watch = True
        self._wake_one()

    def _admit_waiting(self) -> None:
        """Queue the first of the waiting events while there is space."""
        putters = self._putters
        while putters is not None and putters.waiting and self._queued() < self.capacity:
            put = putters.pop_first()
            self._append(put.event)
            put.resolve(admitted=True)

    # Take

    def take(self) -> Event | Gap:
        """Remove and return the oldest event or gap; there must be one."""
        assert self.items
        if self._climbing:
            self._reach_peak()
        item = self.items.popleft()
        self._refusals = 0
        gaps, putters = self._gaps, self._putters
        if isinstance(item, Gap):
            assert gaps is not None
            gaps.count -= 1
        else:
            self.stalled = False
            if self.closed:
                self.observer.totals.pending -= 1
        if putters is not None and putters.waiting:
            putters.note_take()
            self._admit_waiting()
        if self.closed and not self.items:
            self.observer.on_emptied(self)
        has_gaps = gaps is not None and gaps.count
        self.watch = bool(self._waiting() or has_gaps or self.closed or self._drained)
        self._wake_if_drained()
        return item

    def _reach_peak(self) -> None:
        """Record how long the queue became, before it becomes shorter; revoke the credit above."""
        self._climbing = False
        queued = self._queued()
        self._peak = max(self._peak, queued + self._waiting())
        credit = min(self.credit, self._peak - queued + 1)
        self._granted -= self.credit - credit
        self.credit = credit

    def put_back(self, item: Event | Gap) -> None:
        """Make ``item``, which was taken, the next one to take; drop it after ``discard``."""
        self._revoke()
        is_event = not isinstance(item, Gap)
        if not is_event and self._gaps is None:
            return
        if self.closed:
            self.observer.totals.pending += is_event
            if self._discarded:
                if is_event:
                    self._count_drop(CLOSED)
                    self.observer.on_left(self, 1)
                return
            self.observer.on_refilled(self)
        else:
            self._unfold()
        if self.items is None:
            self.items = deque()
            self.append = self.items.append
        self.items.appendleft(item)
        if not is_event and self._gaps is not None:
            self._gaps.count += 1
        self._peak = max(self._peak, self.pending)
        self.watch = True
        self._wake_one()

    def note_getter(self) -> asyncio.Task[Any] | None:
        """Record that the current task takes from now on, and return it."""
        task = current_task(self.loop)
        if self._getters is None:
            self._getters = Getters()
        self._getters.note(task)
        return task

    def is_consumed_only_by(self, task: asyncio.Task[Any] | None) -> bool:
        """Return whether ``task`` takes from here, and no other task that still runs ever did."""
        return self._getters is not None and self._getters.is_only(task)

    def start_waiting(self, count: int = 1) -> asyncio.Future[None]:
        """Return a future that is done when ``count`` events may be queued, or on ``close``.

        Call ``stop_waiting`` when the wait for it ends early.
        """
        if self.loop is not asyncio.get_running_loop():
            raise WrongLoopError(f"subscription {self.name!r} belongs to another event loop")
        self._revoke()
        if self._getters is None:
            self._getters = Getters()
        if not self.items:
            self.give_back_memory()
        elif not self._getters.waiting:
            # Credit for all but the last of them: only the last put uses offer, and wakes.
            self.credit = max(0, min(count, self.capacity) - self._queued() - 1)
            self._granted += self.credit
            self._climbing = self.watch = True
        return self._getters.wait()

    def give_back_memory(self) -> None:
        """Release an empty deque, which takes as much memory as the rest of an idle queue."""
        if not self.items:
            self._revoke()
            self.items = None
            self.append = _no_deque_yet

    def stop_waiting(self, waiter: asyncio.Future[None]) -> None:
        """Forget a waiter; if it was woken, wake another one."""
        assert self._getters is not None
        if not self._getters.remove(waiter) and self.items:
            self._getters.wake_one()

    def _wake_one(self) -> None:
        if self._getters is not None:
            self._getters.wake_one()

    # Stall

    def _on_stall(self) -> None:
        self.stalled = self.watch = True
        dropped = self._drop_waiting(STALLED)
        self.observer.on_stall(self, dropped)

    def _drop_waiting(self, reason: str) -> int:
        """Drop all waiting events, and return how many; the caller reports them."""
        if self._putters is None or not self._putters.waiting:
            return 0
        waiting = self._putters.pop_all()
        self._count_drop(reason, len(waiting))
        self._mark_gap(len(waiting))
        for put in waiting:
            put.resolve(admitted=False)
        self._wake_if_drained()
        return len(waiting)

    # Close

    def close(self) -> None:
        """Accept no further event. Pending events can still be taken."""
        if self.closed:
            return
        self.fold()
        self.observer.totals.pending += self.pending
        self.closed = self.watch = True
        if self._getters is not None:
            self._getters.wake_all()
        self.observer.on_close(self)

    def discard(self) -> int:
        """Close, drop all pending events, and return how many there were."""
        self.close()
        pending = self.pending
        self._peak = max(self._peak, pending)
        queued = self._queued()
        self.items = self._gaps = None
        self._discarded = True
        if queued:
            self._count_drop(CLOSED, queued)
        self._drop_waiting(CLOSED)
        self._wake_if_drained()
        self.observer.on_emptied(self)
        if self._putters is not None:
            self._putters.stop_timer()
        return pending

    async def emptied(self, patience: float) -> bool:
        """Wait until all was taken, gaps too, or nothing was taken for ``patience`` seconds.

        Returns whether all was taken.
        """
        timeout = patience if patience < inf else None
        while self.to_take:
            if self._drained is None or self._drained.done():
                self._drained = asyncio.get_running_loop().create_future()
            self.watch = True
            delivered = self.counts().delivered
            await asyncio.wait({self._drained}, timeout=timeout)
            if self.to_take and self.counts().delivered == delivered:
                return False
        return True

    def _wake_if_drained(self) -> None:
        if self._drained is not None and not self.to_take:
            wake(self._drained)
            self._drained = None


def put_all(queues: Sequence[BoundedQueue], event: Event, puts: list[PendingPut]) -> int:
    """Put ``event`` into each queue: the hot path of emit.

    Returns how many accepted it, and adds the pending puts of full queues to ``puts``.
    """
    not_accepted = 0
    for queue in queues:
        credit = queue.credit
        if credit:
            queue.credit = credit - 1
            queue.append(event)
        else:
            outcome = queue.offer(event)
            if outcome is not True:
                not_accepted += 1
                if outcome:
                    puts.append(outcome)
    return len(queues) - not_accepted


class Sums(NamedTuple):
    """The sums of several queues, without the counts that the totals include."""

    offered: int
    dropped: Counter[str]
    pending: int
    stalled: int


def add_up(queues: Iterable[BoundedQueue]) -> Sums:
    """Add up ``unfolded`` of each queue, in a sixth of the time. On the loop's thread.

    It may add up a million queues, and the loop waits for it.
    """
    offered = pending = stalled = 0
    dropped: Counter[str] = Counter()
    for queue in queues:
        offered += queue._granted - queue.credit - queue._folded
        if queue._putters is None and queue._gaps is None:
            pending += len(queue.items or ())
        else:
            pending += queue.pending
        if queue._dropped:
            dropped.update(queue.unfolded()[1])
            stalled += queue.stalled
    return Sums(offered, dropped, pending, stalled)


def _no_deque_yet(_item: Event | Gap) -> None:
    raise AssertionError("a queue must have a deque before it has credit")  # pragma: no branch
