"""``Interest``: tells a broker which events this bus has subscriptions for, as these change.

A change is announced soon after it happens, but announcements take at most a tenth of the loop's
time, however many subscriptions come and go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from time import perf_counter
from typing import Literal

from edr.bus import Bus, InterestWatch, Subscription
from edr.links.transport import Transport
from edr.records import Binding, TrieKey, trie_keys

MIN_INTERVAL = 0.01
"""Least seconds between two announcements. It is also at least ``LOAD`` times as long as the
computation of the patterns took."""

LOAD = 10
"""One part in ``LOAD`` of the loop's time may be spent on interest."""


class Interest:
    """The events that a link receives.

    Args:
        bus: the bus.
        receive: bindings; or ``"wanted"`` for the events that the bus has subscriptions for.
        transport: announces the interest to the broker.
    """

    def __init__(
        self, bus: Bus, receive: Literal["wanted"] | Sequence[Binding], transport: Transport
    ) -> None:
        if isinstance(receive, str) and receive != "wanted":
            raise ValueError(f'receive must be "wanted" or a sequence of bindings, got {receive!r}')
        self._bus = bus
        self._transport = transport
        self._watches = isinstance(receive, str)
        self._bindings = () if isinstance(receive, str) else tuple(receive)
        self._watch: InterestWatch | None = None
        self._due: float | None = None
        self._changed = asyncio.Event()
        self._announced = asyncio.Event()

    def start(self, exclude: Subscription | None) -> None:
        """Watch the subscriptions of the bus, except the link's own."""
        if self._watches:
            self._watch = self._bus.watch_interest(self._on_interest, exclude=exclude)

    def close(self) -> None:
        """Stop watching, and end ``announced``."""
        if self._watch is not None:
            self._watch.close()
        self._announced.set()

    def _on_interest(self, _key: TrieKey, _wanted: bool) -> None:  # noqa: FBT001 - as it is called
        self._announced.clear()
        self._changed.set()

    @property
    def _keys(self) -> Iterable[TrieKey]:
        if self._watch is not None:
            return self._watch.keys
        return [key for binding in self._bindings for key in trie_keys(binding)]

    async def announce(self) -> float:
        """Announce the present interest, and return the seconds that its computation took."""
        self._changed.clear()
        began = perf_counter()
        patterns = self._transport.patterns_for(self._keys)
        took = perf_counter() - began
        self._due = await self._transport.set_interest(patterns)
        if not self._changed.is_set():
            self._announced.set()
        return took

    async def keep_announced(self) -> None:
        """Announce each change, until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._due):
                    await self._changed.wait()
            took = await self.announce()
            await asyncio.sleep(max(MIN_INTERVAL, LOAD * took))

    def on_connection_lost(self) -> None:
        """Called after the connection ended: the next broker received no announcement."""
        self._announced.clear()

    @property
    def is_announced(self) -> bool:
        """Whether the broker received the present interest."""
        return self._announced.is_set()

    async def announced(self) -> None:
        """Wait until the broker received the present interest, or the link is closed."""
        await self._announced.wait()
