"""Join the streams of a bus for a request, and wait for its first events."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from edr.errors import BusClosedError
from edr.journal import JournalError
from edr.streams import Grant, Place, Streams, Taken
from edr.web.refusals import RefusedError
from edr.web.requests import StreamRequest


def join(
    streams: Streams,
    wanted: StreamRequest,
    grant: Grant,
    on_ready: Callable[[], object],
    *,
    is_interest: bool,
) -> Place:
    """Join a client to the streams.

    Args:
        streams: the streams.
        wanted: the events that it requests.
        grant: its grant.
        on_ready: see ``Streams.join``.
        is_interest: whether links request these events while it is there.

    Raises:
        RefusedError: the bus or the journal is closed, 503.
    """
    try:
        return streams.join(
            *wanted.bindings,
            on_ready=on_ready,
            grant=grant,
            after=wanted.after,
            last=wanted.last,
            wanted=is_interest,
        )
    except BusClosedError:
        raise RefusedError("bus_closed", "the bus of the gateway is closed") from None
    except JournalError:
        raise RefusedError("journal_failed", "the journal of the gateway is not open") from None


JOURNAL_TIMEOUT = 5.0
"""Seconds for a journal from which old events are read."""


async def first_take(
    place: Place,
    wait: Callable[[], Awaitable[object]],
    max_bytes: int,
    *,
    is_over: Callable[[], bool] = bool,
) -> Taken:
    """Return the first events of ``place``, or nothing if it is up to date.

    Args:
        place: the client, of which nothing was taken.
        wait: waits until ``on_ready`` was called.
        max_bytes: the most bytes of the events.
        is_over: returns whether to stop waiting.

    Raises:
        RefusedError: the journal did not answer in time, 503.
    """
    try:
        async with asyncio.timeout(JOURNAL_TIMEOUT):
            while True:
                taken = place.take(max_bytes=max_bytes)
                is_complete = taken.records or taken.missed is not None or taken.ended
                if is_complete or place.is_current or is_over():
                    return taken
                await wait()
    except TimeoutError:
        raise RefusedError("journal_failed", "the journal did not answer in time") from None
