"""``GuardedSink``: the calls of a sink that anyone may have written.

Each call has a time limit, and an exception never means more than a fault of this one call. A
cancellation that the sink invented is such a fault, and one that it swallowed is raised.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from edr._util.tasks import is_cancelled, raise_if_cancelled
from edr.delivery import FaultLog
from edr.records import Event
from edr.sinks.errors import RetryError
from edr.sinks.health import Health, text_of
from edr.sinks.sink import Sink

CLOSE_TIMEOUT = 2.0
"""Seconds for the ``aclose`` of a sink."""


class GuardedSink:
    """Calls ``sink``, one call at a time.

    Args:
        sink: delivers the events.
        timeout: seconds for each ``open`` and each ``write``.
        health: gets the faults of ``aclose``, which have no other effect.
        log: gets a line if ``aclose`` hangs.
    """

    def __init__(self, sink: Sink, timeout: float, health: Health, log: FaultLog) -> None:
        self.is_open: bool = False
        self.timeout: float = timeout
        self._sink = sink
        self._health = health
        self._log = log

    async def open(self) -> None:
        """Open the sink; close it if that fails. Raises what the sink raises."""
        try:
            async with asyncio.timeout(self.timeout):
                await self._sink.open()
            raise_if_cancelled()
        except BaseException:
            await self.aclose()
            raise
        self.is_open = True

    async def write(self, events: Sequence[Event]) -> None:
        """Deliver ``events``.

        Raises:
            RetryError, or any other exception of the sink: they are not known to be delivered.
            RejectError: the receiver will never accept some of them.
        """
        try:
            async with asyncio.timeout(self.timeout) as limit:
                await self._sink.write(events)
            raise_if_cancelled()
        except TimeoutError as exc:
            if limit.expired():
                raise RetryError(f"no answer within {self.timeout:g} s") from exc
            raise
        except asyncio.CancelledError as exc:
            if is_cancelled():
                raise
            raise RetryError("the sink raised CancelledError") from exc

    async def aclose(self) -> None:
        """Close the sink, open or not. One that hangs is left to itself."""
        self.is_open = False
        closing = asyncio.get_running_loop().create_task(self._close())
        _, pending = await asyncio.wait({closing}, timeout=CLOSE_TIMEOUT)
        if pending:
            closing.cancel()
            self._log.log(logging.ERROR, "did not close within %g s", CLOSE_TIMEOUT)

    async def _close(self) -> None:
        try:
            await self._sink.aclose()
        except (KeyboardInterrupt, asyncio.CancelledError):
            raise
        except BaseException as exc:  # it is not used any more
            self._health.fault(logging.WARNING, exc, "could not close: %s", text_of(exc))
