"""``SinkWorker``: delivers events to one sink, in order, at least once, whatever the sink does.

One task opens the sink, collects a batch, writes it, and acknowledges it after the write returned.
An event is settled in one of two ways only: the sink delivered it, or the dead letters have stored
it. Until then the worker keeps it, and a durable intake returns it after a restart.

The task is interrupted only while it waits: for events, for the next attempt, or while it is
paused. So a command never cuts a write short, except for ``restart``, ``replace`` and the end,
which limit the time that they wait for it. The entries that the worker holds outlive the task.

Rejected: ``edr.delivery.Reconnector``. It makes a new connection for each attempt, but a sink stays
open while it fails, and its delays are those of the sink's options.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress

from edr._util.tasks import is_cancelled, raise_if_cancelled
from edr.bus import Bus
from edr.delivery import FaultLog
from edr.journal import JournalError
from edr.records import Binding
from edr.sinks.alerts import Alerts
from edr.sinks.collecting import Collector
from edr.sinks.dead_letters import DeadLetter, DeadLetters
from edr.sinks.delivering import Delivery, Step
from edr.sinks.files import in_thread
from edr.sinks.guarded_sink import GuardedSink
from edr.sinks.health import Health, text_of
from edr.sinks.intake import Intake
from edr.sinks.options import Batch, Retry
from edr.sinks.settling import Settlement
from edr.sinks.sink import Sink
from edr.sinks.state import SinkState, SinkStatistics
from edr.sinks.step_loop import StepLoop

REPLACE_TIMEOUT = 10.0
"""Seconds that the old sink of ``replace`` has to finish its write."""

FINISH_SHARE = 0.1
FINISH_TIMEOUT = 1.0
"""The share of the time of ``drain``, and its most seconds, that are left to the write that runs
when the time is nearly over. A write that is cut is sent again after the next start."""

POLL_INTERVAL = 0.01
"""Seconds between two checks in ``drain``: a consumer does not announce that it is at the end."""

_logger = logging.getLogger("edr.sinks")


class SinkWorker:
    """Delivers the events of ``intake`` to ``sink``.

    It is a ``Service``, and a ``Part`` of the control socket.

    Promises: every event of a durable intake is delivered at least once, or becomes a dead letter;
    batches are sent in order, and a batch that failed is sent again whole. Events repeat after a
    crash, and after an answer that was lost. A sink that fails, hangs or raises affects no other.

    Args:
        name: the name of the part, in the status, log lines and dead letters.
        sink: delivers the events.
        intake: supplies them; the worker opens and closes it.
        batch: the limits of a batch; by default one event.
        retry: the delays between attempts.
        dead_letters: stores events that will not be delivered, before they are acknowledged.
            Without it, they are counted, and logged.
        timeout: seconds for each ``open`` and each ``write``.
        bus: gets the alerts, and ends the worker as one of its services. ``None``: the log gets
            them, and the program ends the worker.
    """

    kind: str = "sink"

    def __init__(
        self,
        name: str,
        sink: Sink,
        intake: Intake,
        *,
        batch: Batch | None = None,
        retry: Retry | None = None,
        dead_letters: DeadLetters | None = None,
        timeout: float = 30.0,
        bus: Bus | None = None,
    ) -> None:
        self.name: str = name
        self._intake = intake
        self._bus = bus
        self._log = FaultLog(f"sink {name!r}", _logger)
        alerts = Alerts(bus, self.kind, name, self._log)
        self._health = Health(retry or Retry(), alerts, self._log)
        self._settlement = Settlement(name, intake, dead_letters, alerts, self._log)
        collector = Collector(intake, batch or Batch(), self._settlement.missed, alerts.is_own)
        self._delivery = Delivery(intake, collector, self._settlement, self._health, self._log)
        self._sink = self._guarded(sink, timeout)
        self._loop = StepLoop(f"edr:sink:{name}", self._step, self._health.ended_by, self._log)
        self._closing: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()
        """Held by commands that end the task, one at a time."""

    def _guarded(self, sink: Sink, timeout: float) -> GuardedSink:
        return GuardedSink(sink, timeout, self._health, self._log)

    # The part

    @property
    def bindings(self) -> tuple[Binding, ...]:
        """The events that it takes; empty for every event."""
        return self._intake.bindings

    @property
    def is_durable(self) -> bool:
        """Whether events that were not delivered are kept for the next start."""
        return self._intake.is_durable

    @property
    def state(self) -> SinkState:
        """The state of this moment."""
        return self._health.state

    def statistics(self) -> SinkStatistics:
        """Return a snapshot."""
        delivery, health = self._delivery, self._health
        held = delivery.held
        return SinkStatistics(
            name=self.name,
            state=health.state,
            offered=delivery.offered,
            delivered=self._settlement.delivered,
            retried=health.retried,
            rejected=self._settlement.rejected,
            lost=self._settlement.lost(),
            held=held,
            backlog=held + self._intake.behind(),
            oldest_age=delivery.oldest_age(),
            attempt=health.attempt,
            next_attempt=health.seconds_to_attempt(),
            error=self._log.last_error,
        )

    def status(self) -> Mapping[str, object]:
        """Return the statistics as a mapping, for the control socket."""
        each = self.statistics()
        is_well = each.state in (SinkState.RUNNING, SinkState.PAUSED)
        return {
            "state": each.state,
            "offered": each.offered,
            "delivered": each.delivered,
            "backlog": each.backlog,
            "oldest_age": each.oldest_age,
            "lost": each.lost,
            "error": None if is_well else each.error,
            "last_error": each.error,
            "retried": each.retried,
            "rejected": each.rejected,
            "attempt": each.attempt,
            "next_attempt": each.next_attempt,
            "durable": self.is_durable,
        }

    # The service

    async def prepare(self) -> None:
        """Open the intake, so that events are kept from now on. ``start`` does it too. Idempotent.

        Raises:
            ConsumerInUseError, JournalError: the consumer cannot be opened.
        """
        await self._intake.open(self._delivery.batch.events)

    async def start(self) -> None:
        """Open the intake, and start to deliver. It does not wait for the sink. Idempotent.

        Raises:
            ConsumerInUseError, JournalError: the consumer cannot be opened.
        """
        if self._closing is not None:
            raise RuntimeError(f"sink {self.name!r} is closed; make another worker")
        if self._loop.was_started:
            return
        self._health.started()
        await self.prepare()
        if self._bus is not None:
            self._bus.add_service(self, f"sink {self.name}", self._intake.subscription)
        self._spawn()

    async def drain(self, timeout: float | None = None) -> int:
        """Deliver the events of before this call, close, and return how many are left.

        Entries of a journal that were not examined yet count too, matching or not. A durable sink
        that is retrying, refused or paused does not wait: the journal keeps its events for the next
        start. Another one tries until the time is over.

        Args:
            timeout: seconds; by default the timeout of a write.
        """
        if self._closing is not None or not self._loop.was_started:
            return 0
        self._health.is_stopping = True
        self._intake.shutdown()
        timeout = self._sink.timeout if timeout is None else timeout
        grace = min(FINISH_TIMEOUT, FINISH_SHARE * timeout)
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout - grace):
                while self._loop.is_running and not self._is_drained:  # noqa: ASYNC110 - no event
                    await asyncio.sleep(POLL_INTERVAL)
        async with self._changing:
            await self._loop.halt(grace)
        left = self._delivery.held + self._intake.behind()
        await self.aclose()
        return left

    @property
    def _is_drained(self) -> bool:
        if self._health.is_paused or (self.is_durable and self._health.must_wait):
            return True
        return not self._delivery.held and not self._intake.behind()

    async def aclose(self) -> None:
        """Close now. Events that were not delivered are kept by the journal, or lost. Idempotent.

        It cancels a write that runs. A sink that hangs is left after some seconds. Cancellation:
        closing continues.
        """
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        self._health.is_stopping = True
        async with self._changing:
            await self._loop.halt(0.0)
            await self._sink.aclose()
            if not self.is_durable:
                self._settlement.drop(self._delivery.held)
            self._health.aclose()
            await self._intake.aclose()
            self._health.enter(SinkState.STOPPED)
            if self._bus is not None:
                self._bus.remove_service(self)

    # Commands

    async def pause(self) -> None:
        """Deliver nothing until ``resume`` or ``restart``. A write that runs is finished."""
        self._health.pause()
        self._loop.interrupt()

    async def resume(self) -> None:
        """Deliver again, at once. Without effect if it was not paused."""
        self._health.resume()
        self._loop.interrupt()

    async def restart(self) -> None:
        """Close the sink and open it again, and deliver, at once.

        A write that runs is cancelled, and its batch is sent again. It also starts a sink that a
        fault has ended, and resumes one that was paused.
        """
        async with self._changing:
            await self._loop.halt(0.0)
            await self._sink.aclose()
            self._health.is_paused = False
            self._continue()

    async def rebind(self, *bindings: Binding) -> None:
        """Deliver the events that ``bindings`` match from now on; without one, every event.

        A write that runs is finished. A batch that waits for its next attempt is sent at once.
        Held events that no longer match are acknowledged without delivery.

        Raises:
            JournalError: the bindings could not be stored now. They apply, and it is tried again.
        """
        try:
            await self._intake.rebind(*bindings)
        finally:
            self._delivery.rebound()
            self._health.next_attempt_at = None
            self._loop.interrupt()

    async def retry_dead_letters(
        self, condition: Callable[[DeadLetter], bool] | None = None
    ) -> int:
        """Send dead letters again, before later events, and return how many.

        A letter is removed from its file after it was delivered. One that is refused again stays.

        Args:
            condition: which letters are sent; by default all.

        Raises:
            OSError: the file cannot be read.
        """
        if self._settlement.dead_letters is None:
            return 0
        letters = await in_thread(list, self._settlement.dead_letters.read())
        count = self._delivery.repeat(filter(condition or (lambda _: True), letters))
        self._loop.interrupt()
        return count

    async def replace(
        self,
        sink: Sink,
        *,
        batch: Batch | None = None,
        retry: Retry | None = None,
        timeout: float | None = None,
        dead_letters: DeadLetters | None = None,
    ) -> None:
        """Continue with another sink, and with the options that are given.

        The new sink is opened while the old one finishes its batch, for 10 seconds at most. Then it
        gets the events that the old one has not delivered. If it cannot be opened, it is opened
        again later, as at the start. Without effect on a closed worker.
        """
        async with self._changing:
            if self._closing is not None:
                return
            new = self._guarded(sink, timeout or self._sink.timeout)
            opening = asyncio.ensure_future(self._try_open(new))
            try:
                await self._loop.halt(REPLACE_TIMEOUT)
                await self._sink.aclose()
                await asyncio.wait({opening})
            except BaseException:
                opening.cancel()
                self._continue()
                raise
            self._sink = new
            self._delivery.batch = batch or self._delivery.batch
            self._health.retry = retry or self._health.retry
            self._settlement.dead_letters = dead_letters or self._settlement.dead_letters
            opening.result()
            self._continue()

    async def _try_open(self, sink: GuardedSink) -> None:
        """Open a sink that is not used yet. If it fails, the task opens it again."""
        try:
            await sink.open()
        except BaseException as exc:  # sinks raise anything
            if isinstance(exc, KeyboardInterrupt) or is_cancelled():
                raise
            self._health.fault(
                logging.WARNING, exc, "could not open its new sink: %s", text_of(exc)
            )

    def _continue(self) -> None:
        """Start the task again after its end, as a new sink would start."""
        self._health.renewed()
        if self._closing is None and self._loop.was_started:
            self._spawn()

    # The task

    def _spawn(self) -> None:
        self._health.enter(SinkState.RUNNING if self._sink.is_open else SinkState.STARTING)
        self._loop.start()

    async def _step(self) -> bool:
        """Do the next thing; return False after the last event."""
        self._delivery.drop_unmatched()
        if self._health.must_wait:
            await self._loop.wait(self._collect_and_wait(), self._health.wait_until)
            self._health.waited()
            return True
        try:
            step = await self._delivery.advance(self._sink)
            if step is Step.IDLE:
                await self._loop.wait(self._delivery.collect())
        except Exception as exc:  # sinks raise anything
            raise_if_cancelled()
            self._health.failed(exc)
            return True
        return step is not Step.ENDED

    async def _collect_and_wait(self) -> None:
        """Collect the batch that is sent after the wait for the next attempt or a command."""
        with suppress(JournalError):
            await self._delivery.collect()
        await asyncio.get_running_loop().create_future()
