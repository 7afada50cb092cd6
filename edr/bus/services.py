"""``Services``: what is attached to a bus, such as links. It ends after the bus has drained.

The problem: callbacks emit while a bus drains, and a link that has ended by then does not send
these events. So the bus ends what is attached to it, in one order:

1. The bus drains: it processes the queued events, and the events that follow from them.
2. The bus closes. It stops its callbacks and accepts no further event.
3. The services drain, all at the same time: a link sends the events in its outbox.
4. The services close.
5. The journal of the bus closes. A service may still read it in step 3.

``aclose`` skips the first and the third step.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Protocol

from edr._util.log import RateLimitedLog
from edr.bus.bounded_queue import BoundedQueue

DRAIN_GRACE = 1.0
"""Seconds that services have to drain if the drain of their bus used up its timeout. A connected
link needs milliseconds to send its last events."""


class Service(Protocol):
    """A component that a bus ends after it has drained: a link, a sink, a gateway.

    An application starts and ends all of its components by these four methods.
    """

    async def start(self) -> None:
        """Start. Idempotent."""
        ...

    async def drain(self, timeout: float | None = None) -> int:
        """Process the pending events, close, and return the number that was not processed."""
        ...

    async def aclose(self) -> None:
        """Close now. Idempotent."""
        ...

    def statistics(self) -> object:
        """Return the counts of this moment, as a frozen snapshot."""
        ...


class Services:
    """The services of one bus, in the order in which they were added.

    Args:
        spawn: runs a coroutine in a task of the bus.
        log: says which of them failed.
    """

    def __init__(
        self,
        spawn: Callable[[Coroutine[Any, Any, Any]], asyncio.Task[Any]],
        log: RateLimitedLog,
    ) -> None:
        self._spawn = spawn
        self._log = log
        self._services: dict[Service, tuple[str, BoundedQueue | None]] = {}
        self._closings: set[asyncio.Task[None]] = set()

    def __iter__(self) -> Iterator[Service]:
        return iter(list(self._services))

    @property
    def outboxes(self) -> set[BoundedQueue]:
        """The queues from which services take. They are emptied after the bus has drained."""
        return {queue for _, queue in self._services.values() if queue is not None}

    def add(self, service: Service, name: str, outbox: BoundedQueue | None) -> None:
        """Add a service, or replace the name and the outbox of one that was added."""
        self._services[service] = (name, outbox)

    def remove(self, service: Service) -> None:
        """Remove a service; one that was not added changes nothing."""
        self._services.pop(service, None)

    async def drain(self, timeout: float | None) -> Counter[str]:
        """Drain all, and return the events that were not processed by name, of those with any.

        Args:
            timeout: seconds for all of them; ``None`` for the limit of each.
        """
        drains = [
            (name, self._spawn(self._drained(service, name, timeout)))
            for service, (name, _) in list(self._services.items())  # an eager task may remove it
        ]
        if drains:
            await asyncio.wait([task for _, task in drains])
        left: Counter[str] = Counter()
        for name, task in drains:
            left[name] += 0 if task.cancelled() else task.result()
        return +left

    async def _drained(self, service: Service, name: str, timeout: float | None) -> int:
        try:
            return await service.drain(timeout)
        except (KeyboardInterrupt, asyncio.CancelledError):
            raise
        except BaseException as exc:  # one that fails must not keep the others from their end
            self._failed(name, exc)
            return 0

    async def aclose(self) -> None:
        """Close all. Cancellation: they go on closing."""
        for service, (name, _) in list(self._services.items()):
            # Not a task of the bus, all of which are cancelled when the bus is closed.
            closing = asyncio.get_running_loop().create_task(self._closed(service, name))
            self._closings.add(closing)
            closing.add_done_callback(self._closings.discard)
        self._services.clear()
        await self.closed()

    async def closed(self) -> None:
        """Wait until all that ``aclose`` began to close have closed."""
        if self._closings:
            await asyncio.wait(self._closings)

    async def _closed(self, service: Service, name: str) -> None:
        try:
            await service.aclose()
        except (KeyboardInterrupt, asyncio.CancelledError):
            raise
        except BaseException as exc:  # one that fails must not keep the others from their end
            self._failed(name, exc)

    def _failed(self, name: str, exc: BaseException) -> None:
        self._log.log(logging.ERROR, f"end of {name}", "%s failed to end: %r", name, exc, exc=exc)
