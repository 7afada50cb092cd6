"""Those who use a bus in the scenarios: consumers, which do all an iterator allows, and callbacks.

Each keeps the ledger of its subscription, and knows what in the scenario may bear upon it.
"""

import asyncio
from collections import Counter
from contextlib import suppress

import pytest

from edr import Binding, Gap, Overflow, SubscriptionOverflowError
from edr.bus.subscription import queue_of
from promises.model import Ledger

STALL_AFTER = 5.0
BINDINGS = [("a",), ("b",), ("a", "b")]
"""Names of apps, of which ``("a", "b")`` stands for all."""


async def ticks(count=3):
    for _ in range(count):
        await asyncio.sleep(0)


async def cancelled(task):
    """Cancel ``task`` and wait for its end, which another outcome than that may be."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


class Account(Ledger):
    """The ledger of one subscription, and what in the scenario may bear upon it."""

    def __init__(self, world, queue, apps, *, gaps=False):
        super().__init__(queue, gaps=gaps)
        self.world = world
        self.apps = apps
        self.closed = self.queue.overflow is Overflow.CLOSE
        """Whether somebody may have closed it."""
        self.discarded = False
        """Whether events may have been dropped as ``closed``."""
        self._stalled = 0
        self._last_take = asyncio.get_running_loop().time()
        self._pause = 0.0

    def receive(self, item):
        super().receive(item)
        if not isinstance(item, Gap):
            self._note_pause()
            self._last_take = asyncio.get_running_loop().time()

    def _note_pause(self):
        """Remember the longest time without a take since the last check."""
        self._pause = max(self._pause, asyncio.get_running_loop().time() - self._last_take)

    def check(self):
        super().check()
        counts = self.statistics
        assert counts.pending <= self.queue.capacity + len(self.world.emitting)
        assert self.closed or self.discarded or self.world.ending or not self.queue.closed
        self._note_pause()
        if counts.dropped.get("stalled", 0) > self._stalled:
            assert self._pause >= self.world.stall_timeout, "stalled too early"
            self._stalled = counts.dropped["stalled"]
        self._pause = 0.0

    def check_reasons(self):
        """Whatever was dropped was dropped for a reason that the scenario gave."""
        dropped = self.statistics.dropped
        if self.queue.overflow is Overflow.BLOCK:
            assert "overflow" not in dropped
            assert dropped.get("cancelled", 0) <= self.world.emits_cancelled
            assert dropped.get("would_block", 0) <= self.world.emits_not_waiting
        else:
            assert dropped.keys() <= {"overflow", "closed"}
        assert self.discarded or "closed" not in dropped


class Consumer(Account):
    """A task that iterates a subscription, as long as it likes to."""

    def __init__(self, world, *, apps, overflow, steps, endings):
        rng = world.rng
        self.subscription = world.bus.subscribe(
            *([] if apps == ("a", "b") and rng.random() < 0.5 else map(binding, apps)),
            capacity=rng.randint(1, 4),
            overflow=overflow,
            gaps=(gaps := rng.random() < 0.5),
        )
        super().__init__(world, queue_of(self.subscription), apps, gaps=gaps)
        self._taking = 0
        self._steps = steps
        self._ending = rng.choice(endings)

    async def run(self):
        rng = self.world.rng
        try:
            for _ in range(rng.randint(2, 12)):
                await getattr(self, rng.choice(self._steps))()
                self.world.check()
            await getattr(self, self._ending)()
        except (StopAsyncIteration, SubscriptionOverflowError) as end:
            await self._ended(end)
        self.world.check()

    @property
    def is_waiting(self):
        return self._taking > 0

    async def _ended(self, end):
        with pytest.raises(type(end)):
            await anext(self.subscription)
        counts = self.statistics
        assert counts.pending == 0
        if self.queue.overflow is Overflow.CLOSE:
            assert getattr(end, "missed", 0) == counts.dropped.get("overflow", 0)
        # The end of the bus may cut off a gap that its reader was too slow for: it is no event,
        # and not undone. (test_a_drain_keeps_the_last_gap_for_its_reader has one in time.)
        was_cut_off = self.discarded or self.world.ending or "closed" in counts.dropped
        if self.gaps and not was_cut_off:
            assert len(self.received) + self.missed == counts.offered

    # Steps

    async def take(self):
        self._taking += 1
        try:
            self.receive(await anext(self.subscription))
        finally:
            self._taking -= 1

    async def take_all(self):
        while self.statistics.pending:
            await self.take()

    async def take_until_timeout(self):
        with suppress(TimeoutError):
            async with asyncio.timeout(self.world.rng.choice([0, 1, 1, 2])):
                await self.take()

    async def take_until_cancelled(self):
        task = asyncio.create_task(self.take())
        await self.world.pause()
        await cancelled(task)

    async def take_in_two_tasks(self):
        async with asyncio.timeout(3):
            ends = await asyncio.gather(self.take(), self.take(), return_exceptions=True)
        for end in filter(None, ends):
            raise end

    async def share(self):
        with suppress(TimeoutError):
            await self.take_in_two_tasks()

    async def rest(self):
        await self.world.pause()

    async def rest_long(self):
        await asyncio.sleep(self.world.rng.choice([3, 4, STALL_AFTER + 1]))

    async def emit(self):
        """As a consumer that also emits; it must not wait for itself."""
        await self.world.emit()

    # Endings

    async def stay(self):
        while True:
            await self.take()

    async def stay_lazily(self):
        while True:
            await self.take()
            await self.world.pause()

    async def close_and_read_on(self):
        self.closed = True
        self.subscription.shutdown()
        await self.stay()

    async def close_and_leave(self):
        self.closed = True
        self.subscription.shutdown()
        await self.drop()

    async def aclose(self):
        self.discarded = True
        await self.subscription.aclose()

    async def leave_context(self):
        async with self.subscription:
            self.discarded = True
            await self.take_until_timeout()

    async def drop(self):
        """Let the last reference go, as ``break`` does."""
        self.discarded = True
        self.subscription = None
        await ticks()
        assert self.queue.closed, "the bus holds a subscription that nobody has"

    async def hold(self):
        """Keep the subscription, and never take again."""
        self.discarded = True


class Callback(Account):
    """A bound callback that does what callbacks do: work, wait, hang, fail."""

    fates = ("work", "work", "work", "wait", "hang", "raise", "exit", "cancel")

    def __init__(self, world, overflow=None):
        rng = world.rng
        apps = rng.choice(BINDINGS)
        self.timeout = rng.choice([2, None])
        self.retries = rng.choice([0, 0, 2])
        self.handle = world.bus.bind(
            list(map(binding, apps)),
            self,
            name=(name := f"callback {len(world.accounts)}"),
            capacity=rng.randint(1, 4),
            overflow=overflow or rng.choice(world.policies),
            concurrency=(concurrency := rng.choice([1, 1, 2])),
            timeout=self.timeout,
            retries=self.retries,
            backoff=0.5,  # as all times here a sum of halves, which floats add exactly
        )
        super().__init__(world, self.handle._runner.queue, apps)
        self.name = name
        self._concurrency = concurrency
        self._tries = Counter()
        self.failed = []
        self.slow = set()

    async def __call__(self, event):
        rng = self.world.rng
        number = event.body["n"]
        if not self._tries[number]:
            self.receive(event)
        self._tries[number] += 1
        self.world.check()
        fate = rng.choice(self.fates)
        if fate in {"wait", "hang"} and self.timeout:
            self.slow.add(number)
        if fate == "wait":
            await self.world.pause()
        elif fate == "hang" and self.timeout:
            await asyncio.Event().wait()
        elif fate == "cancel":
            asyncio.current_task().cancel()
            await ticks(rng.randint(0, 1))
        elif fate in {"raise", "exit"}:
            if self._tries[number] > self.retries:
                self.failed.append(number)
            raise ValueError if fate == "raise" else SystemExit

    @property
    def is_waiting(self):
        workers = len(self.handle._runner.workers())
        return workers == self._concurrency > self.handle.statistics().in_flight

    async def run(self):
        if self.world.rng.random() < 0.3:
            await self.world.pause()
            self.discarded = True
            self.handle.unbind()
            assert self.statistics.pending == 0
            self.world.check()

    def check_errors(self, errors):
        """Each failure was told once, and nothing else."""
        told = [n for n, exc in errors if isinstance(exc, (ValueError, SystemExit))]
        assert told == self.failed
        assert {n for n, exc in errors if isinstance(exc, TimeoutError)} <= self.slow


class Patient(Callback):
    """A bound callback that is always there, and works."""

    fates = ("work",)

    def __init__(self, world):
        super().__init__(world, Overflow.BLOCK)

    async def run(self):
        """Stay."""


def binding(app):
    return Binding(app_name=app)
