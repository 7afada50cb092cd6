"""The named consumers of a journal, read by a thread that makes a page of metrics.

A journal is asked in its loop, and has to read. So a page that is made in another thread waits for
the answer, for a second at most. One that is made in the loop itself, as by an ASGI endpoint,
cannot wait: it shows the answer to the page before it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any

from edr.bus import Bus
from edr.journal import ConsumerStatus

ANSWERED_WITHIN = 1.0
"""Seconds for which a page waits. A server that scrapes gives up after some ten."""


class ConsumerCounts:
    """The last known state of the consumers of a bus's journal."""

    def __init__(self) -> None:
        self._known: Sequence[ConsumerStatus] = ()
        self._asking: asyncio.Task[None] | None = None

    def read(self, bus: Bus) -> Sequence[ConsumerStatus]:
        """Return the state of each consumer of the journal of ``bus``."""
        journal: Any = bus.journal
        loop = bus.loop
        if journal is None or loop is None or not loop.is_running() or bus.closed:
            return self._known
        if _runs_here(loop):
            if self._asking is None or self._asking.done():
                self._asking = loop.create_task(self._ask(journal.consumers()))
            return self._known
        asked = asyncio.run_coroutine_threadsafe(self._ask(journal.consumers()), loop)
        try:
            asked.result(ANSWERED_WITHIN)
        except TimeoutError:
            asked.cancel()
        return self._known

    async def _ask(self, consumers: Coroutine[Any, Any, Sequence[ConsumerStatus]]) -> None:
        with suppress(Exception):  # the journal says by itself what is wrong with it
            self._known = await consumers


def _runs_here(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False
