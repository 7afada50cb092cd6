"""``Subscription``: an async iterator over one bounded queue, held by its consumer.

The bus refers to the queue, the consumer to the subscription, and the bus never refers to the
subscription. So when the consumer drops it (``break``, an exception, the end of its task), the
subscription is deleted, and its queue is removed from the bus. Rejected: an async generator. Its
clean-up depends on hooks of the loop, and a cancelled ``anext`` would end it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Generic, Never, Protocol, Self

from typing_extensions import TypeVar

from edr.bus.bounded_queue import BoundedQueue, current_task
from edr.bus.loop_guard import LoopGuard, no_loop
from edr.bus.options import seconds, whole_number
from edr.bus.overflow import Gap
from edr.bus.statistics import SubscriptionStatistics
from edr.errors import BusClosedError, WrongLoopError
from edr.records import EVERY_EVENT, Binding, Event, checked_bindings

_NO_CONSUMER = object()
"""The consumer before the first take. Not ``None``: that is ``current_task()`` outside a task."""


Item_co = TypeVar("Item_co", covariant=True, default=Event)
"""The items of a subscription: events, or with ``gaps=True`` gaps too."""


class Subscription(Generic[Item_co]):
    """The events of one subscription, each once, in the order in which they were accepted.

    Made by ``subscribe``, which registers it before it returns. Iterate it with ``async for`` or
    ``anext``. Several tasks may share it: then each event goes to one of them. It is closed by
    ``async with``, ``shutdown`` or ``aclose``, and when nothing refers to it any more.

    For type checkers it is a ``Subscription[Event]``, and with ``gaps=True`` a
    ``Subscription[Event | Gap]``.
    """

    __slots__ = ("__weakref__", "_consumer", "_guard", "_queue", "_requeueing")

    def __init__(self, guard: LoopGuard, queue: BoundedQueue) -> None:
        self._guard = guard
        self._consumer: object = _NO_CONSUMER
        self._queue = queue
        self._requeueing: dict[int, bool] | None = None
        """id() of each event in ``requeue_on_error`` -> whether it was put back."""

    @property
    def name(self) -> str:
        """The name given to ``subscribe``, or one made from its number."""
        return self._queue.name

    def __reduce__(self) -> Never:
        raise TypeError(f"{self!r} must not be copied or pickled; subscribe again")

    def __repr__(self) -> str:
        state = "closed" if self._queue.closed else "open"
        return f"<Subscription {self.name!r} {state}, {self._queue.pending} pending>"

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item_co:
        """Return the next event, waiting until there is one.

        With ``gaps=True`` a ``Gap`` is returned where events were dropped.

        Cancellation: safe. A cancelled call has removed nothing; the next call returns the
        event that this one would have.

        Raises:
            StopAsyncIteration: the subscription is closed, and its last event was returned.
            SubscriptionOverflowError: the CLOSE policy closed it, and its last event was returned;
                ``missed`` counts the dropped events.
            WrongLoopError: the bus belongs to another event loop.
        """
        queue = self._queue
        # On the hot path this task has taken before, so the loop and the consumer are set.
        if not queue.items or self._consumer is not current_task(queue.loop):
            self._begin_to_take()
        elif not queue.watch:
            return queue.items.popleft()  # type: ignore[return-value]
        while not queue.items:
            self._raise_if_over()
            waiter = queue.start_waiting()
            try:
                await waiter
            except BaseException:  # cancelled, or the coroutine is closed: wake another one
                queue.stop_waiting(waiter)
                # A cancelled task keeps this frame, and so the subscription. If that also kept the
                # task, only the garbage collector would delete them.
                self._consumer = _NO_CONSUMER
                raise
        # A Gap is only returned with gaps=True; other consumers need not check for it.
        return queue.take()  # type: ignore[return-value]

    def _begin_to_take(self) -> None:
        queue = self._queue
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise no_loop(f"take from {self!r} in a coroutine of its bus's loop") from None
        if queue.loop is None:
            queue.loop = loop if queue.closed else self._guard.enter()
        elif queue.loop is not loop:
            raise WrongLoopError(f"{self!r} belongs to another event loop; take from it there")
        self._consumer = queue.note_getter()

    def _raise_if_over(self) -> None:
        if self._queue.error is not None:
            raise self._queue.error.with_traceback(None)  # it may be raised often
        if self._queue.closed:
            raise StopAsyncIteration

    def take(self, limit: int | None = None) -> list[Item_co]:
        """Remove and return queued events without waiting; or an empty list.

        Args:
            limit: the most events to take; ``None`` for all.

        Raises:
            SubscriptionOverflowError: the CLOSE policy closed it, and its last event was taken.
            WrongLoopError: the bus belongs to another event loop, or none runs in this thread.
        """
        if limit is not None:
            whole_number("limit", limit, at_least=1)
        queue = self._queue
        self._begin_to_take()
        taken: list[Any] = []
        while queue.items and (limit is None or len(taken) < limit):
            taken.append(queue.take())
        if not taken and queue.error is not None:
            raise queue.error.with_traceback(None)
        queue.give_back_memory()
        return taken

    def batches(self, max_size: int, *, max_wait: float = 0.0) -> Batches[Item_co]:
        """Return an async iterator over batches of events, for sinks where each call is expensive.

        A batch holds 1 to ``max_size`` events in order. It is complete when ``max_size`` events are
        queued (or ``capacity``, if that is less), or ``max_wait`` seconds after its first event.
        Events stay queued until the batch is complete. So a cancelled call has removed nothing, and
        capacity and counts hold.

        Args:
            max_size: the most events in a batch.
            max_wait: seconds to wait for further events; 0 returns the queued ones at once.
        """
        whole_number("max_size", max_size, at_least=1)
        return Batches(self, max_size, seconds("max_wait", max_wait, zero=True))

    async def ready(self, count: int = 1, *, max_wait: float = 0.0) -> None:
        """Wait until an event is queued, then up to ``max_wait`` seconds for ``count`` of them.

        Cancellation: safe; nothing is removed.

        Raises:
            StopAsyncIteration, SubscriptionOverflowError: as ``__anext__``.
        """
        queue = self._queue
        self._begin_to_take()
        while not queue.items:
            self._raise_if_over()
            await self._wait(1, None)
        if max_wait and queue.pending < min(count, queue.capacity) and not queue.closed:
            await self._wait(count, max_wait)

    async def _wait(self, count: int, timeout: float | None) -> None:
        waiter = self._queue.start_waiting(count)
        try:
            await asyncio.wait({waiter}, timeout=timeout)
        finally:
            self._queue.stop_waiting(waiter)

    @contextmanager
    def requeue_on_error(self, event: Event | Gap) -> Iterator[None]:
        """Put ``event`` back as the next one if the ``with`` block raises or is cancelled.

        ``with events.requeue_on_error(event): await handle(event)`` in the loop over ``events``
        processes each event at least once, while the process runs. Blocks for the same event may be
        nested; the event is put back once.

        Raises:
            ValueError: the event cannot be from this subscription: fewer events were taken.
        """
        if self._requeueing is None:
            self._requeueing = {}
        is_outermost = id(event) not in self._requeueing
        if is_outermost:
            if len(self._requeueing) >= self._queue.counts().delivered:
                raise ValueError(
                    f"requeue_on_error must get an event taken from {self!r}, got {event!r}"
                )
            self._requeueing[id(event)] = False
        try:
            yield
        except BaseException:
            if not self._requeueing[id(event)]:
                self._requeueing[id(event)] = True
                self._queue.put_back(event)
            raise
        finally:
            if is_outermost:
                del self._requeueing[id(event)]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def shutdown(self) -> None:
        """Stop accepting events. Queued events can still be iterated; then the iteration ends.

        Idempotent. As ``asyncio.Queue.shutdown``: ``aclose`` drops the queued events instead.

        Raises:
            WrongLoopError: the bus runs in another thread; call this there.
        """
        self._guard.check_thread("subscription.shutdown")
        self._queue.close()

    async def aclose(self) -> None:
        """Close now: drop the queued events, counted as ``closed``. Idempotent.

        Raises:
            WrongLoopError: the bus runs in another thread; call this there.
        """
        self._guard.check_thread("subscription.aclose")
        self._queue.observer.release(self._queue)

    @property
    def bindings(self) -> tuple[Binding, ...]:
        """Its bindings, as few as are equivalent to the given ones; none once it is closed."""
        return self._queue.observer.bindings_of(self._queue)

    def rebind(self, *bindings: Binding) -> None:
        """Replace the bindings. Without one, the subscription receives every event.

        Queued events stay queued, and the counts go on. An event that both the old and the new
        bindings match is neither missed nor doubled.

        Raises:
            InvalidBindingError: an argument is not a ``Binding``. Nothing was changed.
            BusClosedError: the subscription is closed.
            WrongLoopError: the bus runs in another thread; call this there.
        """
        wanted = checked_bindings(bindings or (EVERY_EVENT,))
        self._guard.check_thread("subscription.rebind")
        self._guard.check_usable()
        if self._queue.closed:
            raise BusClosedError(f"subscription {self.name!r} is closed; subscribe again")
        self._queue.observer.rebind(self._queue, wanted)

    def statistics(self) -> SubscriptionStatistics:
        """Return the counts of this moment, as a frozen snapshot. From any thread."""
        return self._guard.read(lambda: statistics_of(self._queue))

    def __del__(self) -> None:
        # The garbage collector may run this at any point of any thread, so the bus closes it later.
        queue: BoundedQueue | None = getattr(self, "_queue", None)
        if queue is not None and (queue.pending or not queue.closed):
            queue.observer.abandon(queue)


class Batches(Generic[Item_co]):
    """The batches of a subscription. Made by ``Subscription.batches``."""

    __slots__ = ("_max_size", "_max_wait", "_subscription")

    def __init__(self, subscription: Subscription[Item_co], max_size: int, max_wait: float) -> None:
        self._subscription = subscription
        self._max_size = max_size
        self._max_wait = max_wait

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[Item_co]:
        """Return the next batch. Cancellation: safe; a cancelled call has removed nothing."""
        while True:
            await self._subscription.ready(self._max_size, max_wait=self._max_wait)
            batch = self._subscription.take(self._max_size)
            if batch:  # empty if another task that shares the subscription took the events
                return batch


def queue_of(subscription: Subscription[Any]) -> BoundedQueue:
    """Return the queue of ``subscription``, which is not public."""
    return subscription._queue  # noqa: SLF001 - the only place for it


class Work(Protocol):
    """Counts of delivered events: a callback's runner has them."""

    failed: int
    retried: int
    in_flight: int
    last_error: str | None


def statistics_of(queue: BoundedQueue, work: Work | None = None) -> SubscriptionStatistics:
    """Return the counts of ``queue``, on the loop's thread."""
    counts = queue.counts()
    oldest = queue.oldest
    age = 0.0 if oldest is None else (datetime.now(UTC) - oldest.timestamp).total_seconds()
    return SubscriptionStatistics(
        name=queue.name,
        offered=counts.offered,
        delivered=counts.delivered,
        dropped=counts.dropped,
        pending=counts.pending,
        peak_pending=counts.peak_pending,
        stalled=counts.stalled,
        oldest_age=max(0.0, age),
        failed=work.failed if work else 0,
        retried=work.retried if work else 0,
        in_flight=work.in_flight if work else 0,
        last_error=work.last_error if work else None,
    )
