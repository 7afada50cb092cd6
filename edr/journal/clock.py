"""``Clock`` and ``AgeClock``: guard a journal against wrong times of the computer's clock.

Clocks are set back, run ahead, start in 1970, or return invalid times. An entry has the time that
the clock showed, so new entries are right again as soon as the clock is. But retention by age
cannot be undone. So a jump ahead must last before entries are removed because of it.

Rejected: recording no time earlier than that of the newest entry. After one entry from a clock that
was a year ahead, all entries of that year would have that time, and none would become too old.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import timedelta

from edr.bus import log_safely

logger: logging.Logger = logging.getLogger("edr.journal")

LATEST = 253_402_300_799_999_999
"""The end of the year 9999 in microseconds since 1970, the latest time of ``datetime``."""

MIN_JUMP_TIME = 600_000_000
"""Microseconds for which the clock must stay ahead before entries are removed for it. A wrong
clock is usually corrected within minutes, and keeping entries ten minutes longer is harmless."""


class Clock:
    """Reads a clock, and always returns a valid time.

    An invalid reading (NaN, infinite, before 1970, after 9999, an exception) is logged once, and
    the last valid one is returned.

    Args:
        read: returns seconds since 1970, as ``time.time`` does.
    """

    def __init__(self, read: Callable[[], float]) -> None:
        self._read = read
        self._good: int | None = None
        self._is_broken = False

    def __call__(self) -> int:
        """Return the time in microseconds since 1970."""
        reading: object = None
        try:
            reading = self._read()
            now = int(reading * 1_000_000)
        except Exception as exc:
            return self._instead_of(reading, repr(exc))
        if not 0 <= now <= LATEST:
            return self._instead_of(reading, "out of range")
        self._good = now
        self._is_broken = False
        return now

    def _instead_of(self, reading: object, reason: str) -> int:
        if self._good is None:
            self._good = min(max(0, time.time_ns() // 1000), LATEST)
        if not self._is_broken:
            self._is_broken = True
            log_safely(
                logging.ERROR,
                "the clock must return a time from 1970 to 9999, got %r (%s); "
                "the last valid time is used instead",
                reading,
                reason,
                logger=logger,
            )
        return self._good


def microseconds_elapsed() -> int:
    """Return microseconds of the monotonic clock."""
    return time.monotonic_ns() // 1000


class AgeClock:
    """The time for computing ages of entries. It follows a jump ahead only after it has lasted.

    Jumps are measured against the monotonic clock. Jumps ahead of less than a tenth of ``max_age``,
    and all jumps back, are followed at once.

    Args:
        max_age: the age at which entries are removed.
        elapsed: returns microseconds of a monotonic clock.
    """

    def __init__(self, max_age: timedelta, elapsed: Callable[[], int]) -> None:
        self._tolerance = min(MIN_JUMP_TIME, max_age // timedelta(microseconds=10))
        self._elapsed = elapsed
        # Differences between the two clocks.
        self._believed = 0
        self._ahead = 0
        self._ahead_since: int | None = None

    def start(self, now: int, newest: int) -> None:
        """Begin at ``newest``, the time of the newest entry, or at ``now`` if that is earlier.

        ``now`` alone may be wrong. The newest entry confirms it, so that a program that runs for a
        minute each day still removes old entries.
        """
        self._believed = min(now, newest) - self._elapsed()
        self._ahead_since = None

    def at(self, now: int) -> int:
        """Return the time for computing ages when the clock shows ``now``."""
        elapsed = self._elapsed()
        offset = now - elapsed
        if offset - self._believed <= self._tolerance:
            self._believed = offset
            self._ahead_since = None
        elif self._ahead_since is None:
            self._ahead, self._ahead_since = offset, elapsed
        else:
            self._ahead = min(self._ahead, offset)
            if elapsed - self._ahead_since >= MIN_JUMP_TIME:
                self._believed = self._ahead
                self._ahead_since = None
        return elapsed + self._believed
