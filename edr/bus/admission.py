"""``Admission``: decides who may emit, subscribe and bind, and counts refused events.

An open bus accepts everything. A bus that drains accepts only what follows from its queued events:
calls from its callbacks, and from the consumers of its subscriptions. After ``drain_grace`` it
accepts no event at all, so that the drain ends. A closed bus accepts nothing.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from typing import Any

from edr._util.log import RateLimitedLog
from edr.bus.bounded_queue import BoundedQueue
from edr.bus.loop_guard import LoopGuard, is_loop_running
from edr.bus.registry import Registry
from edr.bus.runner import is_inside
from edr.bus.shutdown import count_unprocessed
from edr.errors import BusClosedError

_SEALED = "it drains for longer than its drain_grace"


class State(Enum):
    """The state of the intake of a bus. Whether it is closed is in ``LoopGuard.closed``."""

    OPEN = "open"
    DRAINING = "draining"
    SEALED = "sealed"
    """Draining for longer than ``drain_grace``."""


class Admission:
    """Decides who may emit, subscribe and bind.

    Args:
        guard: rejects other loops, and every use of a closed bus.
        registry: its consumers may emit while the bus drains.
        log: where refused events are logged.
        describe: returns the text that names the bus in errors.
    """

    def __init__(
        self,
        guard: LoopGuard,
        registry: Registry,
        log: RateLimitedLog,
        describe: Callable[[], str],
    ) -> None:
        self.state: State = State.OPEN
        self.refused: int = 0
        """Number of refused events."""
        self._guard = guard
        self._registry = registry
        self._log = log
        self._describe = describe
        # The tasks that took events when a drain first checked for consumers. Later ones are
        # looked up in the registry.
        self._consumers: weakref.WeakSet[asyncio.Task[Any]] | None = None

    # States

    def begin_drain(self) -> None:
        """Accept only what callbacks and consumers emit."""
        self.state = State.DRAINING
        self._guard.check_each_use()

    def seal(self) -> None:
        """Accept no further event in this drain."""
        self.state = State.SEALED

    def reopen(self) -> None:
        """Accept everything again: the drain was cancelled."""
        self.state = State.OPEN
        self._consumers = None
        self._guard.trust_thread()

    # Checks

    def check_emit(self) -> None:
        """Raise unless an event is accepted from this task of the loop."""
        self._guard.enter()
        self._check_event()

    def check_hand_over(self) -> None:
        """Raise unless an event is accepted from this thread."""
        self._guard.check_open()
        self._check_event()

    def check_subscribe(self) -> None:
        """Raise unless a subscription or a callback is accepted here."""
        self._guard.check_usable()
        self.check_inflow()

    def check_inflow(self) -> None:
        """Raise if the bus is closed, or drains and this is not one of its parts."""
        self._guard.check_open()
        if self.state is not State.OPEN and not self._is_part():
            raise BusClosedError(
                f"{self._describe()} drains, and accepts events only from callbacks that run, and "
                "from the consumers of its subscriptions"
            )

    def _check_event(self) -> None:
        if self.state is State.SEALED and not self._guard.closed:
            self.refuse()
            raise BusClosedError(f"{self._describe()} refused an event: {_SEALED}")
        self.check_inflow()

    def accepts(self) -> bool:
        """Return whether an event is accepted from here, by a call that does not wait."""
        if self._guard.closed or self.state is State.SEALED:
            return False
        return self.state is State.OPEN or self._is_part()

    def refuse(self, why: str = "") -> bool:
        """Count and log an event that was not accepted; return False.

        Args:
            why: the reason, if it is not the state of the bus.
        """
        if not why:
            why = "it is over"
            if self.state is State.SEALED and not self._guard.closed:
                why = _SEALED
                count_unprocessed(self._guard.loop, 1)
        self.refused += 1
        self._log.log(
            logging.WARNING, f"refused {why}", "%s refused an event: %s", self._describe(), why
        )
        return False

    def _is_part(self) -> bool:
        """Return whether a callback or a consumer of the bus called this."""
        return is_inside(self._guard) or self._is_consumer()

    def _is_consumer(self) -> bool:
        """Return whether this task takes from a subscription; then its events follow from those."""
        task = asyncio.current_task() if is_loop_running() else None
        if task is None:
            return False
        if self._consumers is None:
            self._consumers = weakref.WeakSet(_consumers_of([*self._registry]))
        return task in self._consumers or task in _consumers_of(self._registry.holding())


def _consumers_of(queues: Iterable[BoundedQueue]) -> Iterator[asyncio.Task[Any]]:
    for queue in queues:
        task = queue.consumer
        if task is not None:
            yield task
