"""The logger of edr, with a limit: a fault that repeats ten thousand times a second is one line."""

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
    """Log ``message % args``, and contain whatever a log handler or a filter raises.

    Logging runs code of the program, in the middle of the bus's own. What that raises is written
    to stderr, as logging itself does.
    """
    try:
        logger.log(level, message, *args, exc_info=exc)
    except KeyboardInterrupt:
        raise
    except BaseException:
        if logging.raiseExceptions and sys.stderr is not None:
            with suppress(Exception):  # stderr was closed
                traceback.print_exc()


class RateLimitedLog:
    """Logs at most one message per key and ``interval`` seconds, and says how many it left out.

    What is left out is counted in the statistics all the same.
    """

    INTERVAL = 1.0
    """Seconds. One line a second of each fault can be read; more drowns the others."""
    MAX_KEYS = 1024
    """Keys are names of subscriptions and callbacks, of which there may be a million."""

    def __init__(
        self, clock: Callable[[], float] = monotonic, logger: logging.Logger = logger
    ) -> None:
        self._clock = clock
        self._logger = logger
        self._quiet_until: dict[str, tuple[float, int]] = {}

    def log(
        self, level: int, key: str, message: str, *args: object, exc: BaseException | None = None
    ) -> None:
        """Log ``message % args`` unless ``key`` was logged within the last ``interval``."""
        now = self._clock()
        until, left_out = self._quiet_until.get(key, (0.0, 0))
        if now < until:
            self._quiet_until[key] = (until, left_out + 1)
            return
        if len(self._quiet_until) >= self.MAX_KEYS:
            self._quiet_until.clear()
        self._quiet_until[key] = (now + self.INTERVAL, 0)
        if left_out:
            message += " (and %d more like it)"
            args = (*args, left_out)
        log_safely(level, message, *args, exc=exc, logger=self._logger)
