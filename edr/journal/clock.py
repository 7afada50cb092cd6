"""``Clock`` and ``AgeClock``: what a journal believes of the computer's clock.

Clocks are set back, run ahead for an hour, start in 1970, or return no time at all. An entry keeps
the time that the clock showed, so it is right again as soon as the clock is. Only retention by age
cannot be undone, so a jump ahead must last before entries are removed for it.

Rejected: recording no time earlier than the newest entry's. One entry from a clock that was a year
ahead would then date all entries of that year, and none would age.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import timedelta

from edr.bus import log_safely

logger: logging.Logger = logging.getLogger("edr.journal")

LATEST = 253_402_300_799_999_999
"""The end of the year 9999, in microseconds since 1970; ``datetime`` has no later time."""

PATIENCE = 600_000_000
"""Microseconds for which the clock must stay ahead before entries are removed for it. A wrong
clock is usually corrected within minutes; entries that stay ten minutes longer harm nothing."""


class Clock:
    """Reads a clock; always returns a time.

    A reading that is not a time (NaN, infinite, before 1970, beyond 9999, an exception) is logged
    once, and the last good reading returned in its place.

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
                "the last good reading is used instead",
                reading,
                reason,
                logger=logger,
            )
        return self._good


def microseconds_elapsed() -> int:
    """Return microseconds of a clock that is never set."""
    return time.monotonic_ns() // 1000


class AgeClock:
    """The time by which entries are too old: a jump ahead counts only when it has lasted.

    How far the clock may go ahead is known from a second one that is never set. Jumps of less than
    a tenth of ``max_age``, and all jumps back, count at once.

    Args:
        max_age: the age at which entries are removed.
        elapsed: returns microseconds of a clock that is never set.
    """

    def __init__(self, max_age: timedelta, elapsed: Callable[[], int]) -> None:
        self._tolerance = min(PATIENCE, max_age // timedelta(microseconds=10))
        self._elapsed = elapsed
        # Offsets of the two clocks to each other.
        self._believed = 0
        self._ahead = 0
        self._ahead_since: int | None = None

    def start(self, now: int, newest: int) -> None:
        """Begin at ``newest``, when the newest entry was recorded, or ``now`` if that is earlier.

        The clock may have been wrong since the last start, too. An entry recorded then is a second
        witness, so a program that is run for a minute each day still removes what is too old.
        """
        self._believed = min(now, newest) - self._elapsed()
        self._ahead_since = None

    def at(self, now: int) -> int:
        """Return the time to judge ages by when the clock shows ``now``."""
        elapsed = self._elapsed()
        offset = now - elapsed
        if offset - self._believed <= self._tolerance:
            self._believed = offset
            self._ahead_since = None
        elif self._ahead_since is None:
            self._ahead, self._ahead_since = offset, elapsed
        else:
            self._ahead = min(self._ahead, offset)
            if elapsed - self._ahead_since >= PATIENCE:
                self._believed = self._ahead
                self._ahead_since = None
        return elapsed + self._believed
