"""An event loop for tests: its time is virtual, and its order is shuffled, by a seed.

**Time** does not pass while a callback is ready. Then it jumps to the next timer, so no test
sleeps. If no callback is ready and no timer is left, ``LoopDeadlockError`` is raised at once. Its
message has the tasks that wait.

**Order.** The callbacks that are ready in one iteration of the loop run in an order drawn from
the seed; with ``seed=None`` in the usual order. The other promises of asyncio hold. A callback runs
once and in its loop's thread. A cancelled callback does not run. No timer fires too early. A
callback that is scheduled during an iteration waits for the next one. The loop breaks one promise
only: that callbacks run in the order in which they were scheduled. Code that is correct without it
is correct for every order in which its peers, timers and I/O may become ready.

The class overrides three parts of ``SelectorEventLoop``: its clock, its selector (which waits for
the next timer), and ``_process_events`` (called between waiting and running).

Example::

    import asyncio
    from edr.testing import run

    async def two_workers():
        seen = []
        async def worker(name):
            await asyncio.sleep(3600)
            seen.append(name)
        await asyncio.gather(worker("a"), worker("b"))
        return "".join(seen)

    assert {run(two_workers, seed) for seed in range(20)} == {"ab", "ba"}
"""

from __future__ import annotations

import asyncio
import heapq
import random
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

HORIZON = 7 * 86_400.0
"""Virtual seconds after which a run counts as deadlocked: some timer re-arms itself."""


class LoopDeadlockError(AssertionError):
    """Every task waits, and no timer is left. Raised by ``run``; tasks cannot catch it."""


class _JumpingSelector(selectors.DefaultSelector):
    """Moves the clock of the loop to the next timer instead of waiting for it."""

    loop: ShuffledLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        if events or (timeout is not None and timeout <= 0):
            return events
        if self.loop.threads_at_work:
            return super().select()  # threads are real, and so is the wait for them
        if timeout is None or self.loop.now > HORIZON:
            waiting = sorted(map(repr, asyncio.all_tasks(self.loop)))
            raise LoopDeadlockError(
                "\n  ".join(
                    [
                        f"at {self.loop.now} s these tasks wait for each other or for nothing:",
                        *waiting,
                    ]
                )
            )
        self.loop.now += timeout
        return events


class ShuffledLoop(asyncio.SelectorEventLoop):
    """The loop; ``run`` makes one, and a test framework that takes a loop factory can, too.

    Args:
        seed: draws the order of what is ready; ``None`` for the usual order.
    """

    # Attributes of the base class that its type stubs do not declare.
    _ready: Any
    _scheduled: Any
    _clock_resolution: float

    def __init__(self, seed: int | str | None = None) -> None:
        selector = _JumpingSelector()
        selector.loop = self
        super().__init__(selector)
        self.now: float = 0.0
        """Seconds since the loop was made, as it counts them."""
        self.threads_at_work: int = 0
        self._random = None if seed is None else random.Random(seed)  # noqa: S311 - no secret

    def time(self) -> float:
        """Return ``now``."""
        return self.now

    def _process_events(self, event_list: Any) -> None:
        super()._process_events(event_list)  # type: ignore[misc]  # as above
        if self._random is None:
            return
        # Timers that are due count as ready: the loop would append them, in order, after this.
        while self._scheduled and self._scheduled[0].when() <= self.now + self._clock_resolution:
            timer = heapq.heappop(self._scheduled)
            timer._scheduled = False  # noqa: SLF001 - as the loop does where it takes one out
            self._ready.append(timer)
        self._random.shuffle(self._ready)

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Run ``func`` in a thread, as any loop does. Virtual time stands still until it ends."""
        future = super().run_in_executor(executor, func, *args)
        self.threads_at_work += 1
        future.add_done_callback(self._thread_done)
        return future

    def _thread_done(self, _future: object) -> None:
        self.threads_at_work -= 1

    async def shutdown_default_executor(self, *args: Any) -> None:
        """End the threads, and wait for that."""
        self.threads_at_work += 1  # a thread joins the others
        try:
            await super().shutdown_default_executor(*args)
        finally:
            self.threads_at_work -= 1


def run(
    coro_fn: Callable[[], Coroutine[Any, Any, T]],
    seed: int | str | None = None,
    *,
    debug: bool = False,
) -> T:
    """Run ``coro_fn()`` in a new ``ShuffledLoop``, cancel what it left, and return its result.

    It takes the function, not its coroutine, so that one test can run many seeds:
    ``for seed in range(200): run(scenario, seed)``.

    Raises:
        LoopDeadlockError: everything waits, and nothing can wake it.
    """
    with asyncio.Runner(loop_factory=lambda: ShuffledLoop(seed), debug=debug) as runner:
        return runner.run(coro_fn())
