"""``InterestWatch``: what is wanted on a bus, told as it changes.

A link that joins a bus to a broker asks the broker for just what somebody here wants. It watches
the spots of the trie, not the bindings: there are fewer, and each is what a broker can filter by.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeAlias

from edr._util.log import log_safely
from edr.bus.bounded_queue import BoundedQueue
from edr.records import Place, Spot

Places: TypeAlias = tuple[Place, ...]
"""Where a queue stands in the trie, and the body patterns that it asks for there."""

OnInterest: TypeAlias = Callable[[Spot, bool], object]
"""``on_change(spot, wanted)``, called on the loop's thread; cheap, and never raising."""


class InterestWatch:
    """Follows which spots of the trie somebody wants. Returned by ``Bus.watch_interest``.

    Two bindings that want the same app, account and levels are one spot, whatever their body
    patterns; so what is told is at least as wide as what is wanted.
    """

    def __init__(
        self,
        on_change: OnInterest,
        besides: BoundedQueue | None,
        watches: list[InterestWatch],
    ) -> None:
        self._on_change = on_change
        self._besides = besides
        self._watches = watches
        self._wanted: dict[Spot, int] = {}
        watches.append(self)

    @property
    def spots(self) -> tuple[Spot, ...]:
        """What is wanted now."""
        return tuple(self._wanted)

    def came(self, queue: Any, places: Places) -> None:
        """Called when a queue, or a tap, is registered at ``places``."""
        if queue is self._besides:
            return
        for spot in dict.fromkeys(spot for spot, _ in places):
            count = self._wanted.get(spot, 0)
            self._wanted[spot] = count + 1
            if not count:
                self._tell(spot, wanted=True)

    def went(self, queue: Any, places: Places) -> None:
        """Called when a queue, or a tap, is no longer registered at ``places``."""
        if queue is self._besides:
            return
        for spot in dict.fromkeys(spot for spot, _ in places):
            self._wanted[spot] -= 1
            if not self._wanted[spot]:
                del self._wanted[spot]
                self._tell(spot, wanted=False)

    def _tell(self, spot: Spot, *, wanted: bool) -> None:
        try:
            self._on_change(spot, wanted)
        except KeyboardInterrupt:
            raise
        except BaseException as exc:  # it must not keep a queue from being registered or removed
            log_safely(logging.ERROR, "watch_interest: on_change failed: %r", exc, exc=exc)

    def close(self) -> None:
        """Hear nothing more. Idempotent."""
        if self in self._watches:
            self._watches.remove(self)
