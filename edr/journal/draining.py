"""``settle``: ends the consumers of a journal in good order, before the journal closes.

A handler that runs when the journal closes could not acknowledge its entry any more, and it would
be delivered again. So consumers first return no further entries, and the running handlers finish.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from math import inf
from typing import Protocol

PATIENCE = 5.0
"""Seconds without an ack or nack after which an iteration counts as abandoned, as in the drain of a
bus. ``process`` is not abandoned: only the timeout ends the wait for its handlers."""

POLL_INTERVAL = 0.01
"""Seconds between two checks. Acks are not announced, as that would slow down each of them."""


class Settling(Protocol):
    """An open consumer."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def unsettled(self) -> int:
        """Number of entries that it returned and that were neither acked nor nacked."""
        ...

    @property
    def is_processing(self) -> bool:
        """Whether ``process`` runs."""
        ...

    async def shutdown(self) -> None:
        """Return no further entries."""
        ...


async def settle(
    consumers: Callable[[], Sequence[Settling]], timeout: float | None
) -> dict[str, int]:
    """Shut the consumers down, and wait until their handlers have finished.

    Args:
        consumers: returns the consumers that are open now.
        timeout: seconds to wait, at most; ``None`` for no limit.

    Returns:
        The number of unsettled entries of each consumer that has any. They are delivered again.
    """
    loop = asyncio.get_running_loop()
    end = inf if timeout is None else loop.time() + timeout
    patient_until, known = 0.0, {"": 0}
    for consumer in consumers():
        await consumer.shutdown()
    while True:
        left = {each.name: each.unsettled for each in consumers() if each.unsettled}
        is_processing = any(each.is_processing for each in consumers())
        if left != known or is_processing:
            patient_until, known = loop.time() + PATIENCE, left
        if not (left or is_processing) or loop.time() >= min(patient_until, end):
            return left
        await asyncio.sleep(POLL_INTERVAL)
