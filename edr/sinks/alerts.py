"""``Alerts``: reports the troubles of one part as events of the app ``edr``, and in the log.

A *condition* lasts: the part is refused, stuck, or has been retrying for a minute. Its end is
reported too, as ``ok``. A *loss* is counted. At most one event a minute is emitted for each part.
The next one reports the changes and losses in between. So a part that fails and recovers every
second does not flood the bus, and each loss is reported.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import Any

from edr.bus import Bus
from edr.delivery import FaultLog
from edr.records import Event, Severity, Verbosity

APP_NAME = "edr"
"""The app of alerts."""

INTERVAL = 60.0
"""Seconds between two alerts of one part, at least."""

_LEVELS = {
    Severity.OK: (logging.INFO, Verbosity.INFO),
    Severity.WARNING: (logging.WARNING, Verbosity.WARN),
    Severity.CRITICAL: (logging.ERROR, Verbosity.ERROR),
}


class Alerts:
    """The alerts of one part.

    The body of an alert has ``part``, ``kind``, ``state``, ``reason`` and, where entries were lost,
    ``lost``: reason -> events since the last alert.

    Args:
        bus: gets the events; ``None`` for the log only.
        kind: the kind of the part, such as ``sink``.
        name: its name.
        log: gets a line for each alert.
    """

    def __init__(self, bus: Bus | None, kind: str, name: str, log: FaultLog) -> None:
        self.sent: int = 0
        """Alerts so far."""
        self._bus = bus
        self._kind = kind
        self._name = name
        self._log = log
        self._condition = (Severity.OK, "running", "")
        self._reported = Severity.OK
        """The severity of the condition that was last reported."""
        self._is_new = False
        """Whether the condition has not been reported."""
        self._lost: Counter[str] = Counter()
        self._timer: asyncio.TimerHandle | None = None

    def is_own(self, event: Event) -> bool:
        """Return whether ``event`` is an alert about this part, which must not deliver it."""
        return (
            event.app_name == APP_NAME
            and event.body.get("part") == self._name
            and event.body.get("kind") == self._kind
            and (self._bus is None or event.node == self._bus.node)
        )

    def trouble(self, severity: Severity, state: str, reason: str) -> None:
        """Report that a condition has begun, or become worse."""
        if self._condition[:2] != (severity, state):
            self._condition = (severity, state, reason)
            self._is_new = True
            self._report_soon()

    def recovered(self) -> None:
        """Report that the part works again, if an alert said that it did not."""
        if self._condition[0] is not Severity.OK:
            self._condition = (Severity.OK, "running", "recovered")
            self._is_new = self._reported is not Severity.OK
            self._report_soon()

    def lost(self, reason: str, count: int) -> None:
        """Report that the part will not deliver ``count`` events."""
        self._lost[reason] += count
        self._report_soon()

    def aclose(self) -> None:
        """Report now what is left to report."""
        if self._timer is not None:
            self._timer.cancel()
            self._report()

    def _report_soon(self) -> None:
        if self._timer is None and (self._is_new or self._lost):
            self._report()

    def _report(self) -> None:
        self._timer = None
        if not (self._is_new or self._lost):
            return
        severity, state, reason = self._condition
        body: dict[str, Any] = {"part": self._name, "kind": self._kind, "state": state}
        if self._lost:
            severity = Severity.WARNING if severity is Severity.OK else severity
            lost = ", ".join(f"{count} ({why})" for why, count in self._lost.items())
            reason = "; ".join(filter(None, [reason, f"events not delivered: {lost}"]))
            body["lost"] = dict(self._lost)
        body["reason"] = reason
        self._is_new = False
        self._reported = self._condition[0]
        self._lost.clear()
        self.sent += 1
        self._timer = asyncio.get_running_loop().call_later(INTERVAL, self._report)
        level, verbosity = _LEVELS[severity]
        self._log.log(level, "alert: %s: %s", state, reason)
        self._emit(severity, verbosity, body)

    def _emit(self, severity: Severity, verbosity: Verbosity, body: dict[str, Any]) -> None:
        from edr import __version__  # noqa: PLC0415 - the facade is not loaded before this package

        if self._bus is None:
            return
        try:
            self._bus.emit_nowait(APP_NAME, __version__, severity, verbosity, body)
        except Exception as exc:  # the bus may be closed; the log has the alert
            self._log.fault(logging.INFO, "alert", "could not emit an alert: %s", exc)
