"""``LinkSink``: a link as a ``Sink``, which sends the dead letters of a link once more.

A link sends what its bus publishes, and reports no single event. So this one has a bus of its own,
publishes one event, and reads the counts of the link.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from edr.bus import Bus
from edr.delivery import ConnectionState
from edr.links import Link
from edr.records import Event
from edr.sinks import RejectError, RetryError

POLL_INTERVAL = 0.01
"""Seconds between two looks at the counts of the link, which does not announce them."""


class LinkSink:
    """Sends events to a broker. ``write`` returns when the broker has confirmed each of them.

    Args:
        make: makes a link without a journal that sends every event of a bus.
    """

    def __init__(self, make: Callable[[Bus], Link]) -> None:
        self._make = make
        self._bus = Bus()
        self._link: Link | None = None

    async def open(self) -> None:
        """Connect.

        Raises:
            LinkRefusedError: the broker refused the link.
            RetryError: the broker cannot be reached.
        """
        self._link = self._make(self._bus)
        await self._link.start()
        if self._link.state is not ConnectionState.UP:
            raise RetryError(self._link.statistics().last_error or "the broker cannot be reached")

    async def write(self, batch: Sequence[Event]) -> None:
        """Send the events, one by one.

        Raises:
            RejectError: an event was refused. Those before it are sent.
            RetryError: the connection was lost. The event may have arrived.
        """
        for event in batch:
            await self._send(event)

    async def aclose(self) -> None:
        """Close the connection."""
        if self._link is not None:
            await self._link.aclose()
        await self._bus.aclose()

    async def _send(self, event: Event) -> None:
        assert self._link is not None
        sent = self._link.statistics().sent
        await self._bus.publish(event)
        while (counts := self._link.statistics()).pending:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(POLL_INTERVAL)
        if counts.sent > sent:
            return
        reason: Any = counts.last_error or "it was not sent"
        raise RetryError(reason) if counts.uncertain else RejectError(reason)
