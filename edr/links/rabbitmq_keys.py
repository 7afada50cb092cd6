"""The binding keys of a queue: they cover the events that the subscriptions of a bus match."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aiormq.channel import Channel

from edr.records import TrieKey, bindings_from_keys
from edr.wire import kazoo

LINGER = 5.0
"""Seconds for which an unused key stays bound, because subscriptions often come back."""

AT_A_TIME = 64
"""Keys that are unbound before new keys are bound. Each takes a round trip, some milliseconds with
a busy broker, so a new key must not wait for a thousand of them."""


def keys_of(trie_keys: Sequence[TrieKey], most: int) -> set[str]:
    """Return the keys that cover ``trie_keys``, and no more than ``most``.

    Where these are too many, an account becomes any account; if that is not enough, so does an app.
    At least one key for each set of levels is left, and of these there are few.
    """
    if len(trie_keys) <= most:
        keys = _keys(trie_keys)
        if len(keys) <= most:
            return keys
    keys = _keys({key._replace(account_id=None, include_descendants=False) for key in trie_keys})
    if len(keys) <= most:
        return keys
    return _keys(
        {TrieKey(None, key.level_mask, None, include_descendants=False) for key in trie_keys}
    )


def _keys(trie_keys: Sequence[TrieKey] | set[TrieKey]) -> set[str]:
    bindings = bindings_from_keys((key, None) for key in trie_keys)
    return {key for binding in bindings for key in kazoo.kazoo_keys(binding)}


class BoundQueue:
    """A queue on one channel, and the keys it is bound to there."""

    def __init__(self, channel: Channel, queue: str, exchange: str) -> None:
        self.name = queue
        self._channel = channel
        self._exchange = exchange
        self._bound: set[str] = set()
        self._unwanted_since: dict[str, float] = {}

    def __len__(self) -> int:
        """Return how many keys it is bound to."""
        return len(self._bound)

    @property
    def due(self) -> float | None:
        """The loop's time at which the next unused key will be unbound, if there is one."""
        since = min(self._unwanted_since.values(), default=None)
        return None if since is None else since + LINGER

    async def bind(self, wanted: frozenset[str] | set[str], *, again: bool = False) -> None:
        """Bind the queue to ``wanted``, and unbind some keys that are unused for long; see ``due``.

        Args:
            wanted: the keys.
            again: also repeat the bindings that should exist already.
        """
        new = sorted(wanted if again else wanted - self._bound)
        for key in new[:-1]:
            await self._channel.queue_bind(self.name, self._exchange, key, nowait=True)
        for key in new[-1:]:  # a channel does what it is told in order, so only the last is awaited
            await self._channel.queue_bind(self.name, self._exchange, key)
        self._bound.update(new)

        now = asyncio.get_running_loop().time()
        for key in wanted & self._unwanted_since.keys():
            del self._unwanted_since[key]
        for key in self._bound - wanted:
            self._unwanted_since.setdefault(key, now)
        due = [key for key, since in self._unwanted_since.items() if since + LINGER <= now]
        for key in due[:AT_A_TIME]:
            await self._channel.queue_unbind(self.name, self._exchange, key)
            del self._unwanted_since[key]
            self._bound.discard(key)
