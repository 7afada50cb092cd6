"""``InterestWatch``: what is wanted on a bus, told as it changes.

A link that joins a bus to a broker asks the broker for just what somebody here wants. It watches
the keys of the trie, not the bindings: there are fewer, and each is what a broker can filter by.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeAlias

from edr._util.log import log_safely
from edr.bus.bounded_queue import BoundedQueue
from edr.records import IndexKey, TrieKey

IndexKeys: TypeAlias = tuple[IndexKey, ...]
"""Where a queue stands in the trie, and the body patterns that it asks for there."""

OnInterest: TypeAlias = Callable[[TrieKey, bool], object]
"""``on_change(key, wanted)``, called on the loop's thread; cheap, and never raising."""


class InterestWatch:
    """Follows which keys of the trie somebody wants. Returned by ``Bus.watch_interest``.

    Two bindings that want the same app, account and levels are one key, whatever their body
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
        self._wanted: dict[TrieKey, int] = {}
        watches.append(self)

    @property
    def keys(self) -> tuple[TrieKey, ...]:
        """What is wanted now."""
        return tuple(self._wanted)

    def came(self, queue: Any, keys: IndexKeys) -> None:
        """Called when a queue, or a tap, is registered at ``keys``."""
        if queue is self._besides:
            return
        for key in dict.fromkeys(key for key, _ in keys):
            count = self._wanted.get(key, 0)
            self._wanted[key] = count + 1
            if not count:
                self._tell(key, wanted=True)

    def went(self, queue: Any, keys: IndexKeys) -> None:
        """Called when a queue, or a tap, is no longer registered at ``keys``."""
        if queue is self._besides:
            return
        for key in dict.fromkeys(key for key, _ in keys):
            self._wanted[key] -= 1
            if not self._wanted[key]:
                del self._wanted[key]
                self._tell(key, wanted=False)

    def _tell(self, key: TrieKey, *, wanted: bool) -> None:
        try:
            self._on_change(key, wanted)
        except KeyboardInterrupt:
            raise
        except BaseException as exc:  # it must not keep a queue from being registered or removed
            log_safely(logging.ERROR, "watch_interest: on_change failed: %r", exc, exc=exc)

    def close(self) -> None:
        """Hear nothing more. Idempotent."""
        if self in self._watches:
            self._watches.remove(self)
