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
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from edr._util.tasks import is_cancelled, raise_if_cancelled
from edr.bus import Bus, Gap
from edr.delivery import FaultLog
from edr.journal import Entry, JournalError
from edr.records import Binding, Event, Severity
from edr.sinks.alerts import Alerts
from edr.sinks.collecting import Collector
from edr.sinks.dead_letters import DeadLetter, DeadLetters
from edr.sinks.errors import RefusedError, RejectError, RetryError
from edr.sinks.files import in_thread
from edr.sinks.intake import Intake
from edr.sinks.options import Batch, Retry
from edr.sinks.pacing import Pacing
from edr.sinks.sending import Sending
from edr.sinks.sink import Sink
from edr.sinks.state import SinkState, SinkStatistics

TROUBLE_AFTER = 60.0
"""Seconds without a delivery after which a sink with events is stuck, or an alert says that it is
retrying. A receiver that restarts is back by then."""

REPLACE_TIMEOUT = 10.0
"""Seconds that the old sink of ``replace`` has to finish its write."""

FINISH_SHARE = 0.1
FINISH_TIMEOUT = 1.0
"""The share of the time of ``drain``, and its most seconds, that are left to the write that runs
when the time is nearly over. A write that is cut is sent again after the next start."""

CLOSE_TIMEOUT = 2.0
"""Seconds for a cancelled call of a sink to end, and for its ``aclose``."""

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
        self._sink = sink
        self._intake = intake
        self._dead_letters = dead_letters
        self._timeout = timeout
        self._bus = bus
        self._log = FaultLog(f"sink {name!r}", _logger)
        self._alerts = Alerts(bus, self.kind, name, self._log)
        self._retry = retry or Retry()
        self._pacing = self._new_pacing()
        self._collector = Collector(intake, batch or Batch(), self._on_gap, self._alerts.is_own)
        self._sending: Sending | None = None
        self._repeated: deque[DeadLetter] = deque()
        """Dead letters to send again."""
        self._state = SinkState.STOPPED
        """The state, apart from ``paused``, ``stuck`` and ``stopping``."""
        self._task: asyncio.Task[None] | None = None
        self._waiting: asyncio.Timeout | None = None
        """The wait of the task that a command may end."""
        self._now: Callable[[], float] = time.monotonic
        """The clock of the loop, also for a status that another thread reads."""
        self._is_open = False
        self._is_paused = False
        self._is_halting = False
        """Whether the task must end before its next call of the sink."""
        self._is_rebound = False
        """Whether held entries may not match any more."""
        self._is_stopping = False
        self._is_closed = False
        self._closing: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()
        """Held by commands that end the task, one at a time."""
        self._next_attempt_at: float | None = None
        self._attempt = 0
        self._no_delivery_since: float | None = None
        """When the first of the events that are held now was taken, or the last one delivered."""
        self._trouble_timer: asyncio.TimerHandle | None = None
        self._delivered = 0
        self._retried = 0
        self._lost: Counter[str] = Counter()

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
        if self._state is SinkState.STOPPED:
            return SinkState.STOPPED
        if self._is_stopping:
            return SinkState.STOPPING
        if self._is_paused:
            return SinkState.PAUSED
        if self._state is SinkState.RUNNING and self._seconds_without_delivery() >= TROUBLE_AFTER:
            return SinkState.STUCK
        return self._state

    def statistics(self) -> SinkStatistics:
        """Return a snapshot."""
        lost = self._lost + Counter(self._intake.lost())
        next_attempt = None
        if self._next_attempt_at is not None:
            next_attempt = max(0.0, self._next_attempt_at - self._now())
        return SinkStatistics(
            name=self.name,
            state=self.state,
            offered=self._collector.offered,
            delivered=self._delivered,
            retried=self._retried,
            rejected=self._lost["rejected"] + self._lost["expired"],
            lost=dict(lost),
            held=self._held,
            backlog=self._held + self._intake.behind(),
            oldest_age=self._oldest_age(),
            attempt=self._attempt,
            next_attempt=next_attempt,
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

    @property
    def _held(self) -> int:
        return len(self._collector) + (0 if self._sending is None else len(self._sending))

    def _oldest_age(self) -> float:
        oldest = self._collector.oldest
        if self._sending:
            oldest = min(entry.recorded_at for entry in self._sending.entries)
        if oldest is None:
            return 0.0
        return max(0.0, (datetime.now(UTC) - oldest).total_seconds())

    def _seconds_without_delivery(self) -> float:
        if self._no_delivery_since is None:
            return 0.0
        return self._now() - self._no_delivery_since

    # The service

    async def prepare(self) -> None:
        """Open the intake, so that events are kept from now on. ``start`` does it too. Idempotent.

        Raises:
            ConsumerInUseError, JournalError: the consumer cannot be opened.
        """
        await self._intake.open(self._collector.batch.events)

    async def start(self) -> None:
        """Open the intake, and start to deliver. It does not wait for the sink. Idempotent.

        Raises:
            ConsumerInUseError, JournalError: the consumer cannot be opened.
        """
        if self._is_closed:
            raise RuntimeError(f"sink {self.name!r} is closed; make another worker")
        if self._task is not None:
            return
        self._now = asyncio.get_running_loop().time
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
        if self._is_closed or self._task is None:
            return 0
        self._is_stopping = True
        self._intake.shutdown()
        timeout = self._timeout if timeout is None else timeout
        grace = min(FINISH_TIMEOUT, FINISH_SHARE * timeout)
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout - grace):
                while not self._task.done() and not self._is_drained:  # noqa: ASYNC110 - no event
                    await asyncio.sleep(POLL_INTERVAL)
        async with self._changing:
            await self._halt(grace)
        left = self._held + self._intake.behind()
        await self.aclose()
        return left

    @property
    def _is_drained(self) -> bool:
        if self._is_paused or (self.is_durable and self._next_attempt_at is not None):
            return True
        return not self._held and not self._intake.behind()

    async def aclose(self) -> None:
        """Close now. Events that were not delivered are kept by the journal, or lost. Idempotent.

        It cancels a write that runs. A sink that hangs is left after some seconds. Cancellation:
        closing continues.
        """
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        self._is_closed = True
        self._is_stopping = True
        async with self._changing:
            await self._halt(0.0)
            await self._close_sink()
            if self._trouble_timer is not None:
                self._trouble_timer.cancel()
            if self._held and not self.is_durable:
                self._lost["closed"] += self._held
                self._log.log(
                    logging.WARNING, "closed and dropped %d undelivered events", self._held
                )
            self._alerts.aclose()
            await self._intake.aclose()
            self._set_state(SinkState.STOPPED)
            if self._bus is not None:
                self._bus.remove_service(self)

    # Commands

    async def pause(self) -> None:
        """Deliver nothing until ``resume`` or ``restart``. A write that runs is finished."""
        if not self._is_paused:
            self._log.log(logging.INFO, "was paused")
        self._is_paused = True
        self._interrupt()

    async def resume(self) -> None:
        """Deliver again, at once. Without effect if it was not paused."""
        if self._is_paused:
            self._log.log(logging.INFO, "was resumed")
        self._is_paused = False
        self._next_attempt_at = None
        self._interrupt()

    async def restart(self) -> None:
        """Close the sink and open it again, and deliver, at once.

        A write that runs is cancelled, and its batch is sent again. It also starts a sink that a
        fault has ended, and resumes one that was paused.
        """
        async with self._changing:
            await self._halt(0.0)
            await self._close_sink()
            self._is_paused = False
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
            self._is_rebound = True
            self._next_attempt_at = None
            self._interrupt()

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
        if self._dead_letters is None:
            return 0
        letters = await in_thread(list, self._dead_letters.read())
        known = set(map(_key_of, self._repeated))
        chosen = [
            letter
            for letter in letters
            if (condition is None or condition(letter)) and _key_of(letter) not in known
        ]
        self._repeated += chosen
        self._interrupt()
        return len(chosen)

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
        again later, as at the start.
        """
        async with self._changing:
            opening = asyncio.ensure_future(self._opened(sink, timeout or self._timeout))
            try:
                await self._halt(REPLACE_TIMEOUT)
                await self._close_sink()
                await asyncio.wait({opening})
            except BaseException:
                opening.cancel()
                self._continue()
                raise
            self._sink = sink
            self._collector.batch = batch or self._collector.batch
            self._retry = retry or self._retry
            self._timeout = timeout or self._timeout
            self._dead_letters = dead_letters or self._dead_letters
            self._is_open = opening.result()
            self._continue()

    async def _opened(self, sink: Sink, timeout: float) -> bool:
        """Open a sink that is not used yet; return False if it failed."""
        try:
            async with asyncio.timeout(timeout):
                await sink.open()
        except BaseException as exc:  # the task opens it again, and handles its fault
            await self._close_sink(sink)
            if isinstance(exc, KeyboardInterrupt) or is_cancelled():
                raise
            self._fault(logging.WARNING, exc, "could not open its new sink: %s", _text(exc))
            return False
        return True

    def _continue(self) -> None:
        """Start the task again after ``_halt``, as a new sink would start."""
        self._pacing = self._new_pacing()
        self._next_attempt_at = None
        self._attempt = 0
        if not self._is_closed and self._task is not None:
            self._spawn()

    def _new_pacing(self) -> Pacing:
        return Pacing(self._retry, clock=lambda: asyncio.get_running_loop().time())

    # The task

    def _spawn(self) -> None:
        self._is_halting = False
        self._set_state(SinkState.RUNNING if self._is_open else SinkState.STARTING)
        self._task = asyncio.get_running_loop().create_task(
            self._run(), name=f"edr:sink:{self.name}"
        )

    def _interrupt(self) -> None:
        """End the present wait of the task, so that it sees what has changed."""
        if self._waiting is not None:
            with suppress(RuntimeError):  # it is ending already
                self._waiting.reschedule(asyncio.get_running_loop().time())

    async def _halt(self, grace: float) -> None:
        """End the task: it has ``grace`` seconds to finish a call of the sink."""
        task = self._task
        if task is None or task.done():
            return
        self._is_halting = True
        self._interrupt()
        if grace:
            await asyncio.wait({task}, timeout=grace)
        task.cancel()
        _, pending = await asyncio.wait({task}, timeout=CLOSE_TIMEOUT)
        if pending:
            self._log.log(
                logging.ERROR, "did not end within %g s of its cancellation", CLOSE_TIMEOUT
            )

    async def _run(self) -> None:
        try:
            while not self._is_halting and await self._step():
                pass
        except (KeyboardInterrupt, asyncio.CancelledError):
            raise
        except BaseException as exc:  # a SystemExit of a sink ends the sink, not the program
            self._ended_by(exc)

    def _ended_by(self, exc: BaseException) -> None:
        self._fault(logging.ERROR, exc, "was ended by %s; restart it", _text(exc))
        self._set_state(SinkState.STOPPED)
        self._alerts.trouble(Severity.CRITICAL, SinkState.STOPPED, _text(exc))

    async def _step(self) -> bool:
        """Do the next thing; return False after the last event."""
        if self._is_rebound:
            self._drop_unmatched()
        if self._is_paused or self._next_attempt_at is not None:
            await self._wait()
            return True
        sending = self._sending
        has_more = True
        try:
            has_more = await self._advance(sending)
        except Exception as exc:  # sinks raise anything
            raise_if_cancelled()
            self._failed(exc)
        if sending is not None and not sending:
            self._sending = None
        return has_more

    async def _advance(self, sending: Sending | None) -> bool:
        """Do the next thing for the present batch, or take one; return False after the last."""
        if sending is not None:
            self._give_up_old(sending)
        if sending is not None and sending.refused:
            await self._bury(sending)
        elif not self._is_open:
            await self._open()
        elif sending is not None and sending.has_parts:
            await self._send(sending)
        elif self._repeated:
            self._repeat()
        elif self._collector.has_ended and not self._collector:
            return False
        elif entries := self._collector.next_nowait():
            self._begin(entries)
        else:
            await self._interruptible(self._collect, None)
        return True

    async def _wait(self) -> None:
        """Wait until the next attempt or a command, and collect the batch that is sent then."""

        async def collect() -> None:
            if self._sending is None and not self._collector.has_ended:
                with suppress(JournalError):
                    await self._collect()
            await asyncio.get_running_loop().create_future()

        when = None if self._is_paused else self._next_attempt_at
        await self._interruptible(collect, when)
        now = asyncio.get_running_loop().time()
        if self._next_attempt_at is not None and self._next_attempt_at <= now:
            self._next_attempt_at = None

    async def _interruptible(
        self, work: Callable[[], Awaitable[None]], deadline: float | None
    ) -> None:
        """Await ``work()`` until it ends, a command interrupts it, or the deadline."""
        try:
            async with asyncio.timeout_at(deadline) as self._waiting:
                await work()
        except TimeoutError:
            if not (self._waiting and self._waiting.expired()):
                raise
        finally:
            self._waiting = None

    async def _collect(self) -> None:
        entries = await self._collector.next()
        if entries:
            self._begin(entries)

    def _begin(self, entries: list[Entry]) -> None:
        self._sending = Sending(entries)
        self._is_progressing()

    def _repeat(self) -> None:
        """Begin to send dead letters again."""
        now = datetime.now(UTC)
        count = min(self._collector.batch.events, len(self._repeated))
        letters = [self._repeated.popleft() for _ in range(count)]
        self._sending = Sending(
            [Entry(each.position, now, each.event) for each in letters], is_repeated=True
        )
        self._is_progressing()

    async def _open(self) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                await self._sink.open()
            raise_if_cancelled()
        except BaseException:
            await self._close_sink()
            raise
        self._is_open = True
        self._succeeded()
        self._is_progressing()

    async def _send(self, sending: Sending) -> None:
        entries = sending.first
        sending.began()
        try:
            await self._write([entry.event for entry in entries])
        except RejectError as error:
            delivered = sending.rejected(error)
            self._log.fault(
                logging.WARNING, "rejected", "had events of a batch rejected: %s", error
            )
        else:
            delivered = sending.delivered()
        self._delivered += len(delivered)
        if sending.is_repeated:
            await self._remove_letters(delivered)
        else:
            self._ack(delivered)
        self._succeeded()
        self._is_progressing()

    async def _write(self, events: list[Event]) -> None:
        try:
            async with asyncio.timeout(self._timeout) as limit:
                await self._sink.write(events)
            raise_if_cancelled()
        except TimeoutError as exc:
            if limit.expired():
                raise RetryError(f"no answer within {self._timeout:g} s") from exc
            raise
        except asyncio.CancelledError as exc:
            if is_cancelled():
                raise
            raise RetryError("the sink raised CancelledError") from exc

    async def _close_sink(self, sink: Sink | None = None) -> None:
        """Close ``sink``, by default the present one. One that hangs is left to itself."""

        async def close(sink: Sink) -> None:
            try:
                await sink.aclose()
            except (KeyboardInterrupt, asyncio.CancelledError):
                raise
            except BaseException as exc:  # it is not used any more
                self._fault(logging.WARNING, exc, "could not close: %s", _text(exc))

        if sink is None:
            self._is_open = False
        closing = asyncio.get_running_loop().create_task(close(sink or self._sink))
        _, pending = await asyncio.wait({closing}, timeout=CLOSE_TIMEOUT)
        if pending:
            closing.cancel()
            self._log.log(logging.ERROR, "did not close within %g s", CLOSE_TIMEOUT)

    # Settling

    def _ack(self, entries: list[Entry]) -> None:
        try:
            self._intake.ack(*entries)
        except JournalError as exc:  # the journal was closed; the entries are returned again
            self._log.fault(logging.WARNING, "ack", "could not acknowledge events: %s", exc)

    async def _bury(self, sending: Sending) -> None:
        """Store the refused entries as dead letters, then acknowledge them."""
        if sending.is_repeated:  # they are stored
            sending.refused.clear()
            self._is_progressing()
            return
        refused = list(sending.refused)
        if self._dead_letters is not None:
            try:
                await self._dead_letters.append(self.name, refused)
            except OSError as exc:
                raise RetryError(f"dead letters cannot be stored: {exc.strerror or exc}") from exc
        del sending.refused[: len(refused)]
        counts = Counter("expired" if each.is_expired else "rejected" for each in refused)
        for reason, count in counts.items():
            self._lost[reason] += count
            self._alerts.lost(reason, count)
        for each in refused:
            self._log.dropped(each.entry.event, "refused", each.reason)
        self._ack([each.entry for each in refused])
        self._is_progressing()

    async def _remove_letters(self, entries: list[Entry]) -> None:
        assert self._dead_letters is not None
        delivered = {(entry.position, entry.event.id) for entry in entries}
        try:
            await in_thread(self._dead_letters.remove, lambda each: _key_of(each) in delivered)
        except OSError as exc:  # they may be sent again
            self._log.fault(logging.WARNING, "letters", "could not remove dead letters: %s", exc)

    def _give_up_old(self, sending: Sending) -> None:
        if self._retry.give_up_after is not None:
            oldest = datetime.now(UTC) - timedelta(seconds=self._retry.give_up_after)
            sending.expire(lambda entry: entry.recorded_at < oldest, self._log.last_error)

    def _drop_unmatched(self) -> None:
        """Acknowledge the held entries that the new bindings do not match."""
        self._is_rebound = False
        bindings = self._intake.bindings

        def is_unwanted(entry: Entry) -> bool:
            return not any(binding.matches(entry.event) for binding in bindings)

        if not bindings:
            return
        removed = self._collector.remove(is_unwanted)
        if self._sending is not None and not self._sending.is_repeated:
            removed += self._sending.remove(is_unwanted)
            self._sending = self._sending or None
        self._ack(removed)
        self._is_progressing()

    def _on_gap(self, gap: Gap) -> None:
        self._log.fault(
            logging.WARNING, "gap", "missed %d entries, which the journal removed", gap.missed
        )
        self._alerts.lost("retention", gap.missed)

    # Health

    def _failed(self, exc: Exception) -> None:
        delay = self._pacing.delay_after(exc)
        self._next_attempt_at = self._now() + delay
        self._attempt += 1
        self._retried += 1
        is_refused = isinstance(exc, RefusedError)
        self._state = SinkState.REFUSED if is_refused else SinkState.RETRYING
        self._fault(
            logging.WARNING, exc, "failed: %s; trying again in %s s", _text(exc), f"{delay:.1f}"
        )
        if self._no_delivery_since is None:
            self._no_delivery_since = self._now()
        self._watch_for_trouble()
        if is_refused:
            self._alerts.trouble(Severity.CRITICAL, SinkState.REFUSED, _text(exc))
        elif isinstance(exc, RetryError) and exc.slow:
            self._alerts.trouble(Severity.WARNING, SinkState.RETRYING, _text(exc))

    def _fault(self, level: int, exc: BaseException, message: str, *args: object) -> None:
        """Log a fault, with its traceback unless the sink raised it as an answer."""
        self._log.last_error = _text(exc)
        is_answer = isinstance(exc, RetryError | RefusedError)
        key = f"{message}{_text(exc) if is_answer else type(exc).__name__}"
        self._log.fault(level, key, message, *args, exc=None if is_answer else exc)

    def _succeeded(self) -> None:
        self._pacing.succeeded()
        if self._attempt:
            self._log.log(logging.INFO, "works again after %d failed attempts", self._attempt)
            self._attempt = 0
        self._set_state(SinkState.RUNNING)
        self._alerts.recovered()

    def _is_progressing(self) -> None:
        """Called when a batch was taken, or events of it were settled."""
        self._no_delivery_since = None
        if self._sending:
            self._no_delivery_since = self._now()
            self._watch_for_trouble()

    def _watch_for_trouble(self) -> None:
        if self._trouble_timer is None and self._no_delivery_since is not None:
            when = self._no_delivery_since + TROUBLE_AFTER
            self._trouble_timer = asyncio.get_running_loop().call_at(when, self._look_for_trouble)

    def _look_for_trouble(self) -> None:
        self._trouble_timer = None
        if self._seconds_without_delivery() < TROUBLE_AFTER:
            self._watch_for_trouble()
        elif self.state is SinkState.STUCK:
            reason = f"no delivery for {TROUBLE_AFTER:g} s"
            self._alerts.trouble(Severity.CRITICAL, SinkState.STUCK, reason)
        elif self.state is SinkState.RETRYING:
            reason = self._log.last_error or "no delivery"
            self._alerts.trouble(Severity.WARNING, SinkState.RETRYING, reason)

    def _set_state(self, state: SinkState) -> None:
        if state is not self._state:
            self._state = state
            self._log.log(logging.INFO, "changed its state to %s", state)


def _key_of(letter: DeadLetter) -> tuple[int, str]:
    return letter.position, letter.event.id


def _text(exc: BaseException) -> str:
    if isinstance(exc, RetryError | RefusedError):
        return str(exc)
    return f"{type(exc).__name__}: {exc}" if str(exc) else type(exc).__name__
