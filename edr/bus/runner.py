"""``CallbackRunner``: runs one callback on the events of one subscription.

Each callback has its own subscription and its own task (or ``concurrency`` tasks). So a callback
that is slow, hangs or fails delays no other callback, and emits only as its policy says. Each of
its exceptions is logged, counted and given to ``on_error``, and the next event is processed. This
includes a failed assertion, ``SystemExit`` and a cancellation by the callback itself. Only a
cancellation from outside ends a worker; unprocessed events are then reported.

Each event is processed in a new context, so a context variable that a callback sets is not set for
the next event. Rejected: the context of the code that bound the callback or started the workers. It
kept the request in which a bus was first used for the lifetime of the bus.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import Context, ContextVar
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from edr._util.backoff import Backoff
from edr._util.log import RateLimitedLog
from edr.bus.bounded_queue import BoundedQueue
from edr.bus.loop_guard import LoopGuard
from edr.bus.options import accepts, plain_function, seconds, whole_number
from edr.bus.overflow import Gap
from edr.bus.statistics import SubscriptionStatistics
from edr.bus.subscription import Subscription, queue_of, statistics_of
from edr.bus.tracing import Tracer
from edr.errors import SubscriptionOverflowError
from edr.records import Event

Callback: TypeAlias = Callable[..., Any]
"""``callback(event)``, or ``callback(event, payload)`` with a bound payload; async or plain."""

OnError: TypeAlias = Callable[[BaseException, Event], Any]
"""``on_error(exception, event)``, plain: called when a callback has failed on an event."""

MAX_BACKOFF = 30.0
"""The most seconds between two tries; without a limit, doubling reaches hours."""


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
        whole_number("concurrency", self.concurrency, at_least=1)
        if self.timeout is not None:
            seconds("timeout", self.timeout)
        whole_number("retries", self.retries, at_least=0)
        seconds("backoff", self.backoff, zero=True, infinite=False)
        if self.on_error is not None:
            plain_function("on_error", self.on_error)
            accepts("on_error", self.on_error, "exception", "event")


class _Worker(asyncio.Task[None]):
    """A task that counts how often its own code cancelled it.

    A callback that cancels its own task must not end the subscription. A loop that shuts down must
    end it. Both raise the same error in the callback; only ``cancel`` can distinguish them.
    """

    own_cancels: int = 0
    call: Handling | None = None
    """The call of the callback that is running now."""

    def cancel(self, msg: Any | None = None) -> bool:
        if asyncio.current_task(self.get_loop()) is self:
            self.own_cancels += 1
        return super().cancel(msg)


class CallbackRunner:
    """The tasks of one bound callback.

    Args:
        guard: of the bus that the tasks belong to.
        callback: the callback.
        payload: its second argument, if not ``NO_PAYLOAD``.
        options: concurrency, timeout, retries and errors.
        subscription: the source of events.
        log: logs failures.
        on_failure: called when the callback failed on an event, after its last retry.
        on_end: called when the last task ends, with the number of events that it could not process;
            0 after ``stop``.
    """

    def __init__(
        self,
        guard: LoopGuard,
        callback: Callback,
        payload: Any,
        options: CallbackOptions,
        subscription: Subscription,
        log: RateLimitedLog,
        on_failure: Callable[[], object],
        on_end: Callable[[CallbackRunner, int], object],
    ) -> None:
        self.guard = guard
        self.callback = callback
        self._traced = callback
        self.payload = payload
        self.failed: int = 0
        """Events on which the callback failed, after its last retry."""
        self.retried: int = 0
        """Further calls, after one that failed."""
        self.in_flight: int = 0
        """Events that the callback is processing."""
        self.last_error: str | None = None
        """The exception of the last event counted in ``failed``."""
        self._options = options
        self._subscription = subscription
        self._log = log
        self._on_failure = on_failure
        self._on_end = on_end
        self._workers: list[_Worker] = []
        self._inside: list[_Worker] = []
        self._interrupted = 0
        self._stopped = False
        self._idle: asyncio.Future[None] | None = None

    @property
    def name(self) -> str:
        """The name of its subscription."""
        return self._subscription.name

    @property
    def queue(self) -> BoundedQueue:
        """The queue that it takes from."""
        return queue_of(self._subscription)

    @property
    def undone(self) -> int:
        """Events that are queued or in the callback, without calls that wait for the bus."""
        return self.queue.pending + self.in_flight - len(self._inside)

    def statistics(self) -> SubscriptionStatistics:
        """Return the counts of this moment. From any thread."""
        return self.guard.read(lambda: statistics_of(self.queue, self))

    def set_tracer(self, tracer: Tracer | None) -> None:
        """Run the callback in a span of ``tracer``, from its next call on; ``None``: without."""
        self._traced = self.callback if tracer is None else tracer.wrap(self.name, self.callback)

    # Its tasks

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the workers, once, in the loop of the bus."""
        if self._workers:
            return
        for number in range(self._options.concurrency):
            name = f"edr:{self.name}" + (f":{number}" if number else "")
            worker = _Worker(self._run(), loop=loop, name=name, context=Context())
            worker.add_done_callback(self._worker_done)
            self._workers.append(worker)

    def workers(self) -> list[asyncio.Task[None]]:
        """Return the tasks that still run."""
        return [worker for worker in self._workers if not worker.done()]

    def stop(self) -> None:
        """Drop the queued events, and cancel its calls, except for the calling one."""
        self.queue.observer.release(self.queue)
        self.cancel()
        self._on_end(self, 0)

    def cancel(self) -> list[asyncio.Task[None]]:
        """Cancel its calls, and return the tasks that will end.

        The calling one and calls that wait for the bus go on, and end with their event.
        """
        self._stopped = True
        call = _present_call()
        spared = {*self._inside, call.worker if call else None, _current_task_or_none()}
        ending = [worker for worker in self.workers() if worker not in spared]
        for worker in ending:
            if not worker.get_loop().is_closed():
                worker.cancel()
        return ending

    async def _run(self) -> None:
        worker = asyncio.current_task()
        assert isinstance(worker, _Worker)
        async for event in self._subscription:
            if isinstance(event, Gap):
                continue
            self.in_flight += 1
            worker.call = Handling(event, self, worker)
            context = Context()
            context.run(_handling.set, worker.call)
            try:
                await self._handle(event, context)
            except BaseException:
                self._interrupted += 1
                raise
            finally:
                self.in_flight -= 1
                worker.call = None
                self.wake_if_idle()
            if _stopped_from_outside():  # and the callback did not raise it
                raise asyncio.CancelledError

    async def _handle(self, event: Event, context: Context) -> None:
        pauses = Backoff(self._options.backoff, MAX_BACKOFF)
        for tries_left in reversed(range(self._options.retries + 1)):
            try:
                await self._call(event, context)
            except KeyboardInterrupt:
                raise
            # Not only Exception: a consumer must not end the service, and every exception must be
            # reported, also the failed assertion of a test framework.
            except BaseException as exc:
                if isinstance(exc, asyncio.CancelledError) and _stopped_from_outside():
                    raise
                if isinstance(exc, GeneratorExit) and _current_task_or_none() is None:
                    raise  # the coroutine is closed after its loop
                if not tries_left:
                    context.run(self._failed, exc, event)
                    return
            else:
                return
            self.retried += 1
            await asyncio.sleep(pauses.next())

    async def _call(self, event: Event, context: Context) -> None:
        args = (event,) if self.payload is NO_PAYLOAD else (event, self.payload)
        try:
            result = context.run(self._traced, *args)
            if inspect.isawaitable(result):
                if self._options.timeout is None:
                    await _InContext(result, context)
                    return
                async with asyncio.timeout(self._options.timeout):
                    await _InContext(result, context)
        finally:
            await _absorb_own_cancellation()

    def _failed(self, exc: BaseException, event: Event) -> None:
        self.failed += 1
        self.last_error = _words(exc)
        self._on_failure()
        self._log.log(
            logging.ERROR,
            f"callback {self.name} {type(exc).__name__}",
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
        except KeyboardInterrupt:
            raise
        except BaseException as fault:  # as for the callback itself
            self._log.log(
                logging.ERROR,
                f"on_error {self.name} {type(fault).__name__}",
                "on_error of callback %r failed: %r",
                self.name,
                fault,
                exc=fault,
            )

    def _worker_done(self, worker: asyncio.Task[None]) -> None:
        """Close the subscription when its last worker has ended."""
        exc = None if worker.cancelled() else worker.exception()
        if isinstance(exc, SubscriptionOverflowError):
            self._log.log(logging.ERROR, f"overflow {self.name}", "callback ended: %s", exc)
        if not self.workers():
            undone = self.queue.pending + self._interrupted
            self.queue.discard()
            self._on_end(self, 0 if self._stopped else undone)
        self.wake_if_idle()

    # Idle or busy

    @property
    def is_idle(self) -> bool:
        """Whether it has no event to process, or no free worker.

        A call that waits for the bus (``settled``, ``drain``) does not count as busy.
        """
        if self.in_flight > len(self._inside):
            return False
        return not self.queue.to_take or len(self._inside) >= len(self.workers())

    async def until_idle(self) -> None:
        """Wait until ``is_idle``."""
        while not self.is_idle:
            if self._idle is None or self._idle.done():
                self._idle = asyncio.get_running_loop().create_future()
            await asyncio.wait({self._idle})

    def wake_if_idle(self) -> None:
        """Wake the waits for ``until_idle``."""
        if self._idle is not None and self.is_idle and not self._idle.done():
            self._idle.set_result(None)

    @contextmanager
    def waiting(self, worker: _Worker) -> Iterator[None]:
        """Record that the call in ``worker`` waits for the bus, during the ``with`` block."""
        self._inside.append(worker)
        self.wake_if_idle()
        try:
            yield
        finally:
            self._inside.remove(worker)


class Handling(NamedTuple):
    """One call of a callback."""

    event: Event
    runner: CallbackRunner
    worker: _Worker


class _InContext:
    """Awaits ``awaitable`` within ``context``, in the current task.

    So a context variable that a callback sets ends with its event. Rejected: a task for each event.
    It costs several times as much, and a callback could not cancel it as its own.
    """

    __slots__ = ("_awaitable", "_context")

    def __init__(self, awaitable: Awaitable[Any], context: Context) -> None:
        self._awaitable = awaitable
        self._context = context

    def __await__(self) -> Generator[Any, Any, Any]:
        run = self._context.run
        awaitable = self._awaitable
        # Any other awaitable may have an iterator without ``send`` and ``throw``.
        steps = awaitable if inspect.iscoroutine(awaitable) else _result_of(awaitable)
        send = steps.send
        try:
            waits_for = run(send, None)
            while True:
                try:
                    result = yield waits_for
                except GeneratorExit:
                    run(steps.close)
                    raise
                except BaseException as exc:
                    waits_for = run(steps.throw, exc)
                else:
                    waits_for = run(send, result)
        except StopIteration as end:
            return end.value


async def _result_of(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


_handling: ContextVar[Handling | None] = ContextVar("handling", default=None)


def current_event() -> Event | None:
    """Return the event that the running callback was called with, or ``None`` outside of one.

    Also in what the callback calls, in tasks that it makes and in threads of
    ``asyncio.to_thread``.
    """
    handling = _handling.get()
    return None if handling is None else handling.event


def is_inside(guard: LoopGuard) -> bool:
    """Return whether a running callback of the bus called this, or began this task or thread."""
    call = _present_call()
    return call is not None and call.runner.guard is guard


def waiting_inside(guard: LoopGuard) -> AbstractContextManager[None]:
    """Mark the running callback, if any, as waiting for the bus, so that the bus skips it."""
    call = _present_call()
    if call is None or call.runner.guard is not guard:
        return nullcontext()
    return call.runner.waiting(call.worker)


def _present_call() -> Handling | None:
    """Return the running call that called this, or that started this task or thread."""
    call = _handling.get()
    return call if call is not None and call.worker.call is call else None


def _words(exc: BaseException) -> str:
    try:
        message = str(exc)
    except KeyboardInterrupt:
        raise
    except BaseException:  # any error of a __str__ of the program
        message = ""
    return f"{type(exc).__name__}: {message}" if message else type(exc).__name__


async def _absorb_own_cancellation() -> None:
    """Undo the cancellations of the current task by its own callback.

    If a callback cancelled its task and then did not await, the cancellation is still to come. It
    is raised here, and not at the wait for the next event.
    """
    worker = _current_task_or_none()
    if isinstance(worker, _Worker) and worker.own_cancels:
        try:
            await asyncio.sleep(0)
        finally:
            while worker.own_cancels:
                worker.own_cancels -= 1
                worker.uncancel()


def _stopped_from_outside() -> bool:
    """Return whether the worker was cancelled from outside."""
    worker = asyncio.current_task()
    return worker is not None and worker.cancelling() > 0


def _current_task_or_none() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # no running loop, so no task is running
        return None
