"""``InterestWatch``: reports changes of the interest on a bus.

The interest is the set of trie keys with a subscription. A link subscribes at its broker to exactly
these keys. Keys and not bindings: there are fewer, and a broker can filter by each of them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeAlias

from edr._util.log import log_safely
from edr.bus.bounded_queue import BoundedQueue
from edr.records import IndexKey, TrieKey

IndexKeys: TypeAlias = tuple[IndexKey, ...]
"""The keys of a queue in the trie, each with its body pattern."""

OnInterest: TypeAlias = Callable[[TrieKey, bool], object]
"""``on_change(key, wanted)``, called on the loop's thread. It must be fast, and not raise."""


class InterestWatch:
    """Follows the keys of the trie that have a subscription. Returned by ``Bus.watch_interest``.

    Bindings with the same app, account and levels are one key, with any body patterns. So the
    reported interest is at least as wide as the bindings.
    """

    def __init__(
        self,
        on_change: OnInterest,
        exclude: BoundedQueue | None,
        watches: list[InterestWatch],
    ) -> None:
        self._on_change = on_change
        self._exclude = exclude
        self._watches = watches
        self._wanted: dict[TrieKey, int] = {}
        watches.append(self)

    @property
    def keys(self) -> tuple[TrieKey, ...]:
        """The keys that are wanted now."""
        return tuple(self._wanted)

    def came(self, queue: Any, keys: IndexKeys) -> None:
        """Called when a queue, or a tap, is registered at ``keys``."""
        if queue is self._exclude:
            return
        for key in dict.fromkeys(key for key, _ in keys):
            count = self._wanted.get(key, 0)
            self._wanted[key] = count + 1
            if not count:
                self._tell(key, wanted=True)

    def went(self, queue: Any, keys: IndexKeys) -> None:
        """Called when a queue, or a tap, is no longer registered at ``keys``."""
        if queue is self._exclude:
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
        except BaseException as exc:  # the registration of a queue must not fail by it
            log_safely(logging.ERROR, "watch_interest: on_change failed: %r", exc, exc=exc)

    def close(self) -> None:
        """Stop the reports. Idempotent."""
        if self in self._watches:
            self._watches.remove(self)
