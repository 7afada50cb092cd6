"""``Tap``: gets each event within the call that emits it. ``GuardedTap`` contains its errors.

A tap stands among the queues of a route, so an emit without taps does not pay for them. It is no
subscription: it has no queue, and does not count in what emit returns.
"""

from __future__ import annotations

import logging
from typing import Protocol

from edr._util.log import RateLimitedLog
from edr.bus.putters import PendingPut
from edr.records import Event


class Tap(Protocol):
    """Takes events as they are emitted. It is called on the loop's thread, and must be quick."""

    def offer(self, event: Event) -> object:
        """Take ``event``, from an emit that is awaited. What it returns is ignored."""
        ...

    def offer_nowait(self, event: Event) -> object:
        """Take ``event``, from an emit that cannot wait. What it returns is ignored."""
        ...


class GuardedTap:
    """A tap as it stands among the queues: whatever it raises is logged and counted.

    Args:
        tap: the user's.
        log: says what it raised.
    """

    __slots__ = ("_log", "credit", "failed", "number", "tap")

    def __init__(self, tap: Tap, log: RateLimitedLog) -> None:
        self.tap: Tap = tap
        self.credit: int = 0  # as a queue that is asked for each event
        self.number: int = 0  # as a queue that was there before every subscription
        self.failed: int = 0
        """Events for which the tap raised."""
        self._log = log

    def offer(self, event: Event) -> PendingPut | bool:
        """Give ``event`` to the tap."""
        try:
            self.tap.offer(event)
        except KeyboardInterrupt:
            raise
        except BaseException as exc:  # no tap ends an emit, as no callback does
            self._tell(exc, event)
        return False

    def offer_nowait(self, event: Event) -> bool:
        """Give ``event`` to the tap, from an emit that cannot wait."""
        try:
            self.tap.offer_nowait(event)
        except KeyboardInterrupt:
            raise
        except BaseException as exc:  # as above
            self._tell(exc, event)
        return False

    def _tell(self, exc: BaseException, event: Event) -> None:
        self.failed += 1
        self._log.log(
            logging.ERROR,
            f"tap {type(self.tap).__name__} {type(exc).__name__}",
            "tap %s failed on event %s of %s: %r",
            type(self.tap).__name__,
            event.id,
            event.app_name,
            exc,
            exc=exc,
        )
