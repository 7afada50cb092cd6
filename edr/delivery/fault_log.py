"""``FaultLog``: logs the faults of one component under its name, and keeps the last one."""

from __future__ import annotations

import logging

from edr._util.log import RateLimitedLog, log_safely
from edr.records import Event

LOG_INTERVAL = 30.0
"""Seconds between two log lines of the same fault: an outage of an hour writes 120 lines."""


class FaultLog:
    """The log of one component.

    Args:
        name: begins each line, such as ``link 'a'``.
        logger: receives the lines. An exception of its handlers does not reach the component.
    """

    def __init__(self, name: str, logger: logging.Logger) -> None:
        self.name: str = name
        self.last_error: str | None = None
        """The last fault, for statistics."""
        self._logger = logger
        self._limited = RateLimitedLog(logger=logger, interval=LOG_INTERVAL)

    def log(self, level: int, message: str, *args: object) -> None:
        """Log ``message % args`` after the name."""
        log_safely(level, f"%s {message}", self.name, *args, logger=self._logger)

    def fault(
        self,
        level: int,
        key: str,
        message: str,
        *args: object,
        exc: BaseException | None = None,
    ) -> None:
        """Log a fault, unless the same ``key`` was logged within ``LOG_INTERVAL``.

        ``exc`` adds the traceback of an exception.
        """
        self._limited.log(level, key, f"%s {message}", self.name, *args, exc=exc)

    def dropped(self, event: Event, reason: str, details: str) -> None:
        """Log an event that will not be sent; of each reason one, the others are counted."""
        self.last_error = f"{reason}: {details}"
        message = "dropped event %r of %r (%s): %s"
        args = (event.id, event.app_name, reason, details)
        self.fault(logging.WARNING, f"dropped {reason}", message, *args)
