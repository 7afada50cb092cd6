"""The logger of edr, and a limit for faults that repeat thousands of times a second."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

logger: logging.Logger = logging.getLogger("edr")


def log_safely(
    level: int,
    message: str,
    *args: object,
    exc: BaseException | None = None,
    logger: logging.Logger = logger,
) -> None:
    """Log ``message % args``, and write to stderr any exception of a log handler or filter.

    A handler is code of the program, and runs in the middle of edr's own. Its exception must not
    leave edr in a state that is half changed. Only ``KeyboardInterrupt`` is raised.
    """
    try:
        logger.log(level, message, *args, exc_info=exc)
    except KeyboardInterrupt:
        raise
    except BaseException:  # pytest.fail and SystemExit of a handler too
        if logging.raiseExceptions and sys.stderr is not None:
            with suppress(Exception):  # stderr was closed
                traceback.print_exc()


class RateLimitedLog:
    """Logs at most one message per key and interval, with the number of suppressed ones.

    Use it for faults that statistics count too, so that no fault is lost.

    Args:
        clock: returns the time in seconds.
        logger: receives the messages.
        interval: seconds between two messages of one key; by default ``INTERVAL``.
    """

    INTERVAL = 1.0
    """Seconds. One line a second of each fault can be read; more would hide the others."""
    MAX_KEYS = 1024
    """Bounds the memory: keys are names of subscriptions and callbacks, perhaps a million."""

    def __init__(
        self,
        clock: Callable[[], float] = monotonic,
        logger: logging.Logger = logger,
        interval: float = INTERVAL,
    ) -> None:
        self._clock = clock
        self._interval = interval
        self._logger = logger
        self._suppressed: dict[str, tuple[float, int]] = {}
        """Key -> the time until which it is suppressed, and the number of suppressed messages."""

    def log(
        self, level: int, key: str, message: str, *args: object, exc: BaseException | None = None
    ) -> None:
        """Log ``message % args``, unless ``key`` was logged within the last interval."""
        now = self._clock()
        until, count = self._suppressed.get(key, (0.0, 0))
        if now < until:
            self._suppressed[key] = (until, count + 1)
            return
        if len(self._suppressed) >= self.MAX_KEYS:
            self._suppressed.clear()
        self._suppressed[key] = (now + self._interval, 0)
        if count:
            message += " (and %d more like it)"
            args = (*args, count)
        log_safely(level, message, *args, exc=exc, logger=self._logger)
