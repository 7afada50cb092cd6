"""``Health``: the state of one sink, the time of its next attempt, and the alerts about both."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from edr.delivery import FaultLog
from edr.records import Severity
from edr.sinks.alerts import Alerts
from edr.sinks.errors import RefusedError, RetryError
from edr.sinks.options import Retry
from edr.sinks.pacing import Pacing
from edr.sinks.state import SinkState

TROUBLE_AFTER = 60.0
"""Seconds without a delivery after which a sink with events is stuck, or an alert says that it is
retrying. A receiver that restarts is back by then."""


class Health:
    """The faults and successes of one sink. It does not call the sink.

    Args:
        retry: the delays between attempts.
        alerts: reports lasting troubles, and their end.
        log: logs faults and changes of the state.
    """

    def __init__(self, retry: Retry, alerts: Alerts, log: FaultLog) -> None:
        self.retry: Retry = retry
        self.is_paused: bool = False
        """Whether no attempt is made until ``resume``."""
        self.is_stopping: bool = False
        """Whether the sink is drained or closed."""
        self.attempt: int = 0
        """Attempts that failed since the last success."""
        self.retried: int = 0
        """Attempts that failed."""
        self.next_attempt_at: float | None = None
        """When the next attempt is made after a failure, in the loop's time."""
        self._alerts = alerts
        self._log = log
        self._pacing = self._new_pacing()
        self._state = SinkState.STOPPED
        """The state, apart from ``paused``, ``stuck`` and ``stopping``."""
        self._now: Callable[[], float] = time.monotonic
        """The clock of the loop, also for a status that another thread reads."""
        self._no_delivery_since: float | None = None
        """When the first of the events that are held now was taken, or the last one delivered."""
        self._timer: asyncio.TimerHandle | None = None

    @property
    def state(self) -> SinkState:
        """The state of this moment."""
        if self._state is SinkState.STOPPED:
            return SinkState.STOPPED
        if self.is_stopping:
            return SinkState.STOPPING
        if self.is_paused:
            return SinkState.PAUSED
        if self._state is SinkState.RUNNING and self._seconds_without_delivery() >= TROUBLE_AFTER:
            return SinkState.STUCK
        return self._state

    @property
    def must_wait(self) -> bool:
        """Whether no attempt may be made now."""
        return self.is_paused or self.next_attempt_at is not None

    @property
    def wait_until(self) -> float | None:
        """When ``must_wait`` ends, in the loop's time; ``None`` if a command ends it."""
        return None if self.is_paused else self.next_attempt_at

    def seconds_to_attempt(self) -> float | None:
        """Return the seconds until the next attempt; ``None`` unless the last one failed."""
        if self.next_attempt_at is None:
            return None
        return max(0.0, self.next_attempt_at - self._now())

    def started(self) -> None:
        """Called in the loop of the sink, before its first attempt."""
        self._now = asyncio.get_running_loop().time

    def enter(self, state: SinkState) -> None:
        """Change the state, and log it."""
        if state is not self._state:
            self._state = state
            self._log.log(logging.INFO, "changed its state to %s", state)

    def renewed(self) -> None:
        """Forget the failures, as a new sink would start."""
        self._pacing = self._new_pacing()
        self.next_attempt_at = None
        self.attempt = 0

    def pause(self) -> None:
        """Permit no attempt until ``resume``."""
        if not self.is_paused:
            self._log.log(logging.INFO, "was paused")
        self.is_paused = True

    def resume(self) -> None:
        """Permit an attempt at once."""
        if self.is_paused:
            self._log.log(logging.INFO, "was resumed")
        self.is_paused = False
        self.next_attempt_at = None

    def waited(self) -> None:
        """Permit the next attempt if its time has come."""
        if self.next_attempt_at is not None and self.next_attempt_at <= self._now():
            self.next_attempt_at = None

    def failed(self, exc: Exception) -> None:
        """Called when an attempt has failed."""
        delay = self._pacing.delay_after(exc)
        self.next_attempt_at = self._now() + delay
        self.attempt += 1
        self.retried += 1
        is_refused = isinstance(exc, RefusedError)
        self._state = SinkState.REFUSED if is_refused else SinkState.RETRYING
        self.fault(
            logging.WARNING, exc, "failed: %s; trying again in %s s", text_of(exc), f"{delay:.1f}"
        )
        if self._no_delivery_since is None:
            self._no_delivery_since = self._now()
        self._watch_for_trouble()
        if is_refused:
            self._alerts.trouble(Severity.CRITICAL, SinkState.REFUSED, text_of(exc))
        elif isinstance(exc, RetryError) and exc.slow:
            self._alerts.trouble(Severity.WARNING, SinkState.RETRYING, text_of(exc))

    def fault(self, level: int, exc: BaseException, message: str, *args: object) -> None:
        """Log a fault, with its traceback unless the sink raised it as an answer."""
        self._log.last_error = text_of(exc)
        is_answer = isinstance(exc, RetryError | RefusedError)
        key = f"{message}{text_of(exc) if is_answer else type(exc).__name__}"
        self._log.fault(level, key, message, *args, exc=None if is_answer else exc)

    def ended_by(self, exc: BaseException) -> None:
        """Called when a fault has ended the task; only a restart starts another one."""
        self.fault(logging.ERROR, exc, "was ended by %s; restart it", text_of(exc))
        self.enter(SinkState.STOPPED)
        self._alerts.trouble(Severity.CRITICAL, SinkState.STOPPED, text_of(exc))

    def succeeded(self) -> None:
        """Called when an attempt has succeeded."""
        self._pacing.succeeded()
        if self.attempt:
            self._log.log(logging.INFO, "works again after %d failed attempts", self.attempt)
            self.attempt = 0
        self.enter(SinkState.RUNNING)
        self._alerts.recovered()

    def progressed(self, *, holds_events: bool) -> None:
        """Called when a batch was taken, or events of it were settled."""
        self._no_delivery_since = None
        if holds_events:
            self._no_delivery_since = self._now()
            self._watch_for_trouble()

    def aclose(self) -> None:
        """Report nothing further."""
        if self._timer is not None:
            self._timer.cancel()
        self._alerts.aclose()

    def _new_pacing(self) -> Pacing:
        return Pacing(self.retry, clock=lambda: asyncio.get_running_loop().time())

    def _seconds_without_delivery(self) -> float:
        if self._no_delivery_since is None:
            return 0.0
        return self._now() - self._no_delivery_since

    def _watch_for_trouble(self) -> None:
        if self._timer is None and self._no_delivery_since is not None:
            when = self._no_delivery_since + TROUBLE_AFTER
            self._timer = asyncio.get_running_loop().call_at(when, self._look_for_trouble)

    def _look_for_trouble(self) -> None:
        self._timer = None
        if self._seconds_without_delivery() < TROUBLE_AFTER:
            self._watch_for_trouble()
        elif self.state is SinkState.STUCK:
            reason = f"no delivery for {TROUBLE_AFTER:g} s"
            self._alerts.trouble(Severity.CRITICAL, SinkState.STUCK, reason)
        elif self.state is SinkState.RETRYING:
            reason = self._log.last_error or "no delivery"
            self._alerts.trouble(Severity.WARNING, SinkState.RETRYING, reason)


def text_of(exc: BaseException) -> str:
    """Return the text of a fault; an answer of the sink stands without the name of its type."""
    if isinstance(exc, RetryError | RefusedError):
        return str(exc)
    return f"{type(exc).__name__}: {exc}" if str(exc) else type(exc).__name__
