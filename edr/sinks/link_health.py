"""``LinkHealth``: whether a link works, and the alerts while it does not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from edr.delivery import ConnectionState
from edr.records import Severity
from edr.sinks.alerts import Alerts
from edr.sinks.state import SinkState

TROUBLE_AFTER = 60.0
"""Seconds without a connection, or without a delivery, after which there is an alert."""


class LinkHealth:
    """The health of one link after another.

    Args:
        alerts: reports lasting troubles, and their end.
    """

    def __init__(self, alerts: Alerts) -> None:
        self._alerts = alerts
        self._was_up = False
        self._now: Callable[[], float] = time.monotonic
        """The clock of the loop, also for a status that another thread reads."""
        self._well_since: float | None = None
        """When it was last connected and without events, or delivered one."""
        self._delivered_then = 0

    def started(self) -> None:
        """Called when a link starts, in its loop."""
        self._was_up = False
        self._now = asyncio.get_running_loop().time
        self._well_since = self._now()

    def state(self, link: ConnectionState, last_error: str | None) -> SinkState:
        """Return the state of a link that was started and not refused."""
        if link is ConnectionState.UP:
            return SinkState.STUCK if self._is_unwell else SinkState.RUNNING
        if self._was_up or last_error:
            return SinkState.RETRYING
        return SinkState.STARTING

    def look(self, link: ConnectionState, status: Mapping[str, Any], state: SinkState) -> None:
        """Report what has changed. Called every second or so.

        Args:
            link: the state of the connection.
            status: of the link.
            state: of the part, for an alert.
        """
        delivered = status["delivered"]
        is_up = link is ConnectionState.UP
        self._was_up = self._was_up or is_up
        if is_up and (not status["backlog"] or delivered != self._delivered_then):
            self._well_since = self._now()
            self._alerts.recovered()
        elif self._is_unwell:
            severity = Severity.CRITICAL if is_up else Severity.WARNING
            reason = status["last_error"] or f"no delivery for {TROUBLE_AFTER:g} s"
            self._alerts.trouble(severity, state, reason)
        self._delivered_then = delivered

    @property
    def _is_unwell(self) -> bool:
        return self._well_since is not None and self._now() - self._well_since >= TROUBLE_AFTER
