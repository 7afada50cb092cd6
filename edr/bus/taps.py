"""``Tap``: receives each event within the call that emits it. ``GuardedTap`` contains its errors.

A tap stands among the queues of a route, so an emit without taps pays nothing. It is not a
subscription: it has no queue, and the result of emit does not count it.
"""

from __future__ import annotations

import logging
from typing import Protocol

from edr._util.log import RateLimitedLog
from edr.bus.putters import PendingPut
from edr.records import Event


class Tap(Protocol):
    """Receives events as they are emitted. Called on the loop's thread; it must be fast."""

    def offer(self, event: Event) -> object:
        """Receive ``event`` of an awaited emit. The result is ignored."""
        ...

    def offer_nowait(self, event: Event) -> object:
        """Receive ``event`` of an emit that cannot wait. The result is ignored."""
        ...


class GuardedTap:
    """A tap among the queues of a route. It logs and counts the exceptions of the user's tap.

    Args:
        tap: the user's tap.
        log: logs its exceptions.
    """

    __slots__ = ("_log", "credit", "failed", "number", "tap")

    def __init__(self, tap: Tap, log: RateLimitedLog) -> None:
        self.tap: Tap = tap
        self.credit: int = 0  # as a queue without credit: offer is called for each event
        self.number: int = 0  # as a queue that is older than every subscription
        self.failed: int = 0
        """Events for which the tap raised."""
        self._log = log

    def offer(self, event: Event) -> PendingPut | bool:
        """Give ``event`` to the tap."""
        try:
            self.tap.offer(event)
        except KeyboardInterrupt:
            raise
        except BaseException as exc:  # a tap must not end an emit, just as a callback
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
