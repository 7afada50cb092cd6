"""``Handle``: a callback bound to a subscription, and the tasks of the bus that run it.

Each handle has its own subscription and its own task (or ``concurrency`` of them), so a
callback that is slow, hangs or fails holds up no other, and no emitter beyond its policy.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from edr.bus.log import RateLimitedLog
from edr.bus.overflow import Gap
from edr.bus.statistics import SubscriptionStatistics
from edr.errors import SubscriptionOverflow
from edr.records import Binding, Event

if TYPE_CHECKING:
    from edr.bus.subscription import Subscription

Callback: TypeAlias = Callable[..., Any]
"""``callback(event)``, or ``callback(event, payload)`` with a bound payload; async or plain."""

OnError: TypeAlias = Callable[[Exception | SystemExit | asyncio.CancelledError, Event], Any]
"""``on_error(exception, event)``, plain: called when a callback has failed on an event."""

MAX_BACKOFF = 30.0
"""Seconds between two tries at the most; the doubling would otherwise reach hours."""


class _NoPayload:
    def __repr__(self) -> str:
        return "no payload"


NO_PAYLOAD = _NoPayload()


@dataclass(frozen=True, slots=True)
class CallbackOptions:
    """How a callback is run."""

    concurrency: int = 1
    """Calls at a time. 1 keeps the order; with more, events may overtake each other."""
    timeout: float | None = None
    """Seconds for each call of an async callback; ``None`` for no limit."""
    retries: int = 0
    """Further calls after one that failed."""
    backoff: float = 0.1
    """Seconds before the first retry; doubled for each further one, up to ``MAX_BACKOFF``."""
    on_error: OnError | None = None

    def __post_init__(self) -> None:
        if self.concurrency < 1:
            raise ValueError(f"concurrency must be at least 1, not {self.concurrency}")
        if self.timeout is not None and self.timeout <= 0:
            raise ValueError(f"timeout must be more than 0 seconds, not {self.timeout}")
        if self.retries < 0 or self.backoff < 0:
            raise ValueError("retries and backoff cannot be negative")


class _Worker(asyncio.Task[None]):
    """A task that knows whether it was cancelled by its own code.

    A callback that cancels the task it runs in must not end the subscription; a loop that shuts
    down must. Both look alike in the callback, and only here can they be told apart.
    """

    cancelled_itself = False

    def cancel(self, msg: Any | None = None) -> bool:
        if asyncio.current_task(self.get_loop()) is self:
            self.cancelled_itself = True
        return super().cancel(msg)


class Handle:
    """One bound callback. Returned by ``bind``; ``unbind`` ends it."""

    def __init__(
        self,
        bindings: tuple[Binding, ...],
        callback: Callback,
        payload: Any,
        options: CallbackOptions,
        subscription: Subscription,
        log: RateLimitedLog,
        on_unbind: Callable[[Handle], object],
    ) -> None:
        self.bindings = bindings
        self.callback = callback
        self.payload = payload
        self.errors = 0
        """Events on which the callback failed, after its last retry."""
        self._options = options
        self._subscription = subscription
        self._log = log
        self._on_unbind = on_unbind
        self._workers: list[_Worker] = []
        self._busy = 0

    def __repr__(self) -> str:
        return f"<Handle {self.name!r} of {self.callback!r}>"

    @property
    def name(self) -> str:
        """The name of its subscription."""
        return self._subscription.name

    def is_of(self, callback: Callback, payload: Any) -> bool:
        """Tell whether it was bound with just these."""
        return bool(self.callback == callback) and is_same(self.payload, payload)

    @property
    def undone(self) -> int:
        """Events that are queued, or in the hands of the callback."""
        return self._subscription.statistics().pending + self._busy

    def statistics(self) -> SubscriptionStatistics:
        """Return the counts of its subscription; delivered means handed to the callback."""
        return self._subscription.statistics()

    def unbind(self) -> None:
        """End the binding now. Idempotent.

        Events still queued are dropped, and counted as ``closed``; the call in progress is
        cancelled, unless it is the one that unbinds.
        """
        self._subscription.close()
        self._subscription._queue.discard()
        current = _current_task_or_none()
        for worker in self._workers:
            if worker is not current:
                worker.cancel()
        self._on_unbind(self)

    # Run by the bus

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the workers, once, in the loop of the bus."""
        if self._workers:
            return
        for number in range(self._options.concurrency):
            name = f"edr:{self.name}" + (f":{number}" if number else "")
            worker = _Worker(self._run(), loop=loop, name=name)
            worker.add_done_callback(self._worker_done)
            self._workers.append(worker)

    def workers(self) -> list[asyncio.Task[None]]:
        """Return the tasks that still run."""
        return [worker for worker in self._workers if not worker.done()]

    async def _run(self) -> None:
        async for event in self._subscription:
            if isinstance(event, Gap):
                continue
            self._busy += 1
            try:
                await self._handle(event)
            finally:
                self._busy -= 1

    async def _handle(self, event: Event) -> None:
        delay = self._options.backoff
        for tries_left in range(self._options.retries, -1, -1):
            try:
                await self._call(event)
            # SystemExit too: a consumer may not end the service that it listens to.
            except (Exception, SystemExit, asyncio.CancelledError) as exc:
                if isinstance(exc, asyncio.CancelledError) and _stopped_from_outside():
                    raise
                if not tries_left:
                    self._failed(exc, event)
                    return
            else:
                return
            await asyncio.sleep(delay)
            delay = min(2 * delay, MAX_BACKOFF)

    async def _call(self, event: Event) -> None:
        args = (event,) if self.payload is NO_PAYLOAD else (event, self.payload)
        try:
            result = self.callback(*args)
            if inspect.isawaitable(result):
                async with asyncio.timeout(self._options.timeout):
                    await result
        finally:
            await _absorb_own_cancellation()

    def _failed(self, exc: Exception | SystemExit | asyncio.CancelledError, event: Event) -> None:
        self.errors += 1
        self._log.log(
            logging.ERROR,
            f"callback {self.name}",
            "callback %r failed on event %s of %s: %r",
            self.name,
            event.id,
            event.app_name,
            exc,
            exc=exc,
        )
        if self._options.on_error is None:
            return
        try:
            self._options.on_error(exc, event)
        except Exception as fault:  # an error handler that fails is one more consumer's fault
            self._log.log(
                logging.ERROR,
                f"on_error {self.name}",
                "on_error of callback %r failed: %r",
                self.name,
                fault,
                exc=fault,
            )

    def _worker_done(self, worker: asyncio.Task[None]) -> None:
        """Close the subscription when its last worker is gone, whoever ended it."""
        exc = None if worker.cancelled() else worker.exception()
        if isinstance(exc, SubscriptionOverflow):
            self._log.log(logging.ERROR, f"overflow {self.name}", "callback ended: %s", exc)
        if not self.workers():
            self._subscription._queue.discard()
            self._on_unbind(self)


def is_same(one: Any, other: Any) -> bool:
    """Tell whether two payloads are one and the same, or equal."""
    try:
        return one is other or bool(one == other)
    except Exception:  # such as two arrays, whose comparison has no truth value
        return False


async def _absorb_own_cancellation() -> None:
    """Take back what a callback did to the task that it runs in.

    A callback that cancelled its task and then did not await has that cancellation still to
    come; it comes here, and not where the next event is waited for.
    """
    worker = asyncio.current_task()
    assert isinstance(worker, _Worker)
    if worker.cancelled_itself:
        try:
            await asyncio.sleep(0)
        finally:
            worker.cancelled_itself = False
            worker.uncancel()


def _stopped_from_outside() -> bool:
    """Tell whether the cancellation that a callback ran into was meant for its worker."""
    worker = asyncio.current_task()
    return worker is not None and worker.cancelling() > 0


def _current_task_or_none() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # no running loop: nothing of ours is running either
        return None
