"""``Sink``: the three methods that the author of a sink writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from edr.records import Event


class Sink(Protocol):
    """A receiver of events outside the process. A ``SinkWorker`` calls it, one call at a time.

    The worker keeps the events, collects batches, limits the time of each call, repeats what
    failed, and writes dead letters. Cancellation: a call that is cancelled must end soon; the
    worker sends the batch again.
    """

    async def open(self) -> None:
        """Prepare for the first ``write``, such as open a file. Called again after ``aclose``.

        Raises:
            RefusedError: the sink cannot work with its configuration.
            RetryError, or any other exception: not now; it is called again later.
        """
        ...

    async def write(self, batch: Sequence[Event]) -> None:
        """Deliver ``batch``, at least one event, in order. To return means that all are delivered.

        Raises:
            RetryError, or any other exception: the batch was not delivered, or it is not known.
            RejectError: the receiver will never accept some of the events.
        """
        ...

    async def aclose(self) -> None:
        """Release everything. Idempotent; also called if ``open`` has failed."""
        ...
