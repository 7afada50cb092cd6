"""The promises that edr makes, under many orders of events: each seed is one scenario.

``World`` plays a scenario drawn from a seed: emitters, consumers and callbacks that come and go,
are slow, are cancelled, fail. It keeps its own naive account (plain lists) of what each
subscription should have, and holds edr to it after every step. The loop shuffles, by the same
seed, what is ready at a time; see ``shuffled_loop``.

A failing seed is named in the report, with the line that replays it alone.
"""

import asyncio
import gc
import itertools
import logging
import math
import os
import random
from collections import Counter, defaultdict
from contextlib import suppress
from functools import partial

import pytest
from support.shuffled_loop import run

from edr import (
    Binding,
    Bus,
    BusClosedError,
    Event,
    Gap,
    Overflow,
    SubscriptionOverflow,
    WouldDeadlock,
)
from edr.bus.subscription import statistics_of

STALL_AFTER = 5.0
BINDINGS = [("a",), ("b",), ("a", "b")]
"""Names of apps, of which ``("a", "b")`` stands for all."""


@pytest.fixture(autouse=True)
def quiet():
    """Stalls and failures are what the scenarios are made of."""
    logging.getLogger("edr").setLevel(logging.CRITICAL)
    yield
    logging.getLogger("edr").setLevel(logging.NOTSET)


def over_seeds(count, scenario):
    """Run ``scenario(rng)`` for the seeds below ``count``, or for that of EDR_SEED alone."""
    chosen = os.environ.get("EDR_SEED")
    for seed in [int(chosen)] if chosen else range(count):
        # Not the numbers that the loop draws: the two would choose in step.
        rng = random.Random(f"scenario {seed}")
        try:
            # Debug mode costs thrice the time, so not every seed has it.
            run(partial(scenario, rng), seed, debug=seed % 16 == 1)
        except Exception as exc:
            test = os.environ["PYTEST_CURRENT_TEST"].removesuffix(" (call)")
            exc.add_note(f"seed {seed} failed; to replay it: EDR_SEED={seed} pytest {test}")
            raise


async def ticks(count=3):
    for _ in range(count):
        await asyncio.sleep(0)


async def cancelled(task):
    """Cancel ``task`` and wait for its end, which another outcome than that may be."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


class Account:
    """What one subscription should have, and what it got, in plain lists."""

    def __init__(self, world, queue, apps, *, gaps=False):
        self.world = world
        self.queue = queue  # the subscription may be gone, and its counts must still be true
        self.apps = apps
        self.gaps = gaps
        self.expected = []
        """The events accepted while it was registered, in that order."""
        self.received = []
        self.missed = 0
        self.closed = queue.overflow is Overflow.CLOSE
        """Whether somebody may have closed it."""
        self.discarded = False
        """Whether events may have been dropped as ``closed``."""
        self._position = 0
        self._stalled = 0
        self._last_take = asyncio.get_running_loop().time()
        self._pause = 0.0

    @property
    def statistics(self):
        return statistics_of(self.queue)

    def receive(self, item):
        if isinstance(item, Gap):
            assert self.gaps
            assert item.missed > 0
            self.missed += item.missed
            return
        self._note_pause()
        self._last_take = asyncio.get_running_loop().time()
        number = item.body["n"]
        rest = self.expected[self._position :]
        assert number in rest, f"{number} came twice, late, or unasked; wanted one of {rest}"
        self._position += rest.index(number) + 1
        self.received.append(number)
        if self.gaps:
            assert len(self.received) + self.missed == self._position, "a gap in the wrong place"

    def _note_pause(self):
        """Remember the longest time without a take since the last check."""
        self._pause = max(self._pause, asyncio.get_running_loop().time() - self._last_take)

    def check(self):
        counts = self.statistics
        assert counts.offered == counts.delivered + sum(counts.dropped.values()) + counts.pending
        assert counts.offered == len(self.expected)
        assert counts.delivered == len(self.received)
        assert counts.pending <= counts.peak_pending <= counts.offered
        assert counts.pending <= self.queue.capacity + len(self.world.emitting)
        assert min(counts.dropped.values(), default=1) > 0
        assert self.closed or self.discarded or self.world.ending or not self.queue.closed
        self._note_pause()
        if counts.dropped.get("stalled", 0) > self._stalled:
            assert self._pause >= self.world.stall_after, "stalled too early"
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
        super().__init__(world, self.subscription._queue, apps, gaps=gaps)
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
        except (StopAsyncIteration, SubscriptionOverflow) as end:
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
        self.subscription.close()
        await self.stay()

    async def close_and_leave(self):
        self.closed = True
        self.subscription.close()
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
        return (
            len(self.handle._runner.workers()) == self._concurrency > self.handle._runner.in_flight
        )

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


class World:
    """A bus, those who use it, and what should come of it."""

    stall_after = STALL_AFTER
    consumers = 3
    callbacks = 1
    newcomers = 2
    emitters = 3
    policies = tuple(Overflow)
    apps = BINDINGS
    ways = ("emit", "emit", "publish", "emit_nowait", "emit_cancelled", "emit_twice")
    steps = (
        *("take", "take", "take_all", "take_until_timeout", "take_until_cancelled"),
        *("share", "rest", "rest", "rest_long", "emit"),
    )
    endings = (
        *("stay", "stay", "stay_lazily", "close_and_read_on", "close_and_leave"),
        *("aclose", "leave_context", "drop", "hold"),
    )
    closers = 1
    ends = ("drain", "drain", "drain_some", "aclose", "aclose_early", "drain_early")

    def __init__(self, rng, **options):
        self.rng = rng
        for name, value in options.items():
            assert hasattr(World, name)
            setattr(self, name, value)
        self.bus = Bus(node="test", stall_after=self.stall_after, on_error=self.on_error)
        self.accounts = []
        self.ending = self.over = False
        self.emitting = set()
        self.most_emitting = 0
        self.emits = self.emits_cancelled = self.emits_not_waiting = 0
        self.errors = defaultdict(list)
        self._numbers = itertools.count()

    async def play(self):
        self.bus.enter()
        for _ in range(self.callbacks):
            self.accounts.append(Callback(self))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.check_when_idle())
            for account in self.accounts:
                tasks.create_task(account.run())
            for _ in range(self.consumers):
                self.add_consumer(tasks)
            emitters = [tasks.create_task(self.emit_some()) for _ in range(self.emitters)]
            emitters.append(tasks.create_task(self.let_in_newcomers(tasks)))
            for _ in range(self.closers):
                tasks.create_task(self.close_one())
            end = self.rng.choice(self.ends)
            if end.endswith("_early"):
                await asyncio.sleep(self.rng.randint(0, 4))
            else:
                await asyncio.wait(emitters)
            await self.end(end.removesuffix("_early"))
            self.over = True
        self.let_go()
        await ticks()
        self.check_end()
        return self

    def add_consumer(self, tasks):
        consumer = Consumer(
            self,
            apps=self.rng.choice(self.apps),
            overflow=self.rng.choice(self.policies),
            steps=self.steps,
            endings=self.endings,
        )
        self.accounts.append(consumer)
        tasks.create_task(consumer.run())

    async def let_in_newcomers(self, tasks):
        for _ in range(self.newcomers):
            await self.pause()
            with suppress(BusClosedError):
                self.add_consumer(tasks)
            self.check()

    async def close_one(self):
        """Close somebody else's subscription, wherever its consumer is."""
        await self.pause()
        consumer = self.rng.choice(self.accounts)
        if self.rng.random() < 0.5 and isinstance(consumer, Consumer) and consumer.subscription:
            if self.rng.random() < 0.5:
                consumer.closed = True
                consumer.subscription.close()
            else:
                await consumer.aclose()
            self.check()

    async def pause(self):
        if self.rng.random() < 0.6:
            await ticks(self.rng.randint(0, 4))
        else:
            await asyncio.sleep(self.rng.choice([0.5, 1, 1, 2]))

    # Emit

    async def emit_some(self):
        for _ in range(self.rng.randint(2, 10)):
            await getattr(self, self.rng.choice(self.ways))()
            self.check()
            await self.pause()

    async def emit(self):
        number, app = self.accept()
        await self.offered(number, self.bus.emit(app, "1", "ok", "info", {"n": number}))

    async def publish(self):
        number, app = self.accept()
        await self.offered(number, self.bus.publish(make_event(app, number)))

    async def emit_nowait(self):
        self.emits_not_waiting += 1
        number, app = self.accept()
        try:
            taken = self.bus.emit_nowait(app, "1", "ok", "info", {"n": number})
        except BusClosedError:
            self.refuse(number)
        else:
            assert 0 <= taken <= len(self.wanting(number))

    async def emit_twice(self):
        await self.emit()
        self.check()
        await self.emit()

    async def emit_cancelled(self):
        task = asyncio.create_task(self.emit())
        await self.pause()
        self.emits_cancelled += not task.done()
        await cancelled(task)

    async def offered(self, number, emit):
        """Await ``emit``; what it does before it waits happens here and now."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        wanting = len(self.wanting(number))
        self.emitting.add(number)
        self.most_emitting = max(self.most_emitting, len(self.emitting))
        try:
            assert 0 <= await emit <= wanting
        except BusClosedError:
            self.refuse(number)
        except WouldDeadlock:
            self.emits_not_waiting += 1
        finally:
            self.emitting.remove(number)
            # At worst, all who emit wait in one line, whose head gets in just before a stall.
            assert loop.time() - began <= self.stall_after * self.most_emitting

    def accept(self):
        """Enter the next event into the account of each subscription registered now."""
        number, app = next(self._numbers), self.rng.choice("ab")
        self.emits += 1
        for account in self.accounts:
            if app in account.apps and not account.queue.closed:
                account.expected.append(number)
        return number, app

    def refuse(self, number):
        """Take it back: the bus was closed already."""
        self.emits -= 1
        for account in self.wanting(number):
            account.expected.remove(number)

    def wanting(self, number):
        return [account for account in self.accounts if number in account.expected[-1:]]

    def on_error(self, exc, event):
        name = asyncio.current_task().get_name().split(":")[1]
        self.errors[name].append((event.body["n"], exc))

    # The end

    async def end(self, how):
        self.check()
        self.ending = True
        before = {account: account.statistics.dropped.get("closed", 0) for account in self.accounts}
        accounts = [account for account in self.accounts if not account.discarded]
        if how == "aclose":
            for account in accounts:
                account.discarded = True
            await self.bus.aclose()
            return
        undone = await self.bus.drain(timeout=2 if how == "drain_some" else None)
        for account in accounts:
            if isinstance(account, Consumer) and not account.discarded:
                closed = account.statistics.dropped.get("closed", 0) - before[account]
                assert closed == undone.get(account.queue.name, 0)
        for account in self.accounts:
            account.discarded |= account.queue.name in undone

    def let_go(self):
        for account in self.accounts:
            if isinstance(account, Consumer):
                account.subscription = None

    def check(self):
        bus = self.bus.statistics()
        dropped = Counter()
        for account in self.accounts:
            account.check()
            dropped.update(account.statistics.dropped)
        each = [account.statistics for account in self.accounts]
        assert bus.emits == self.emits
        assert bus.offered == sum(counts.offered for counts in each)
        assert bus.delivered == sum(counts.delivered for counts in each)
        assert bus.pending == sum(counts.pending for counts in each)
        assert bus.dropped == dropped
        assert bus.callback_errors == sum(map(len, self.errors.values()))
        assert bus.subscriptions == sum(not account.queue.closed for account in self.accounts)

    async def check_when_idle(self):
        """Nobody waits who need not, when everything that is ready has run.

        Everything has at a quarter past, for all else happens at halves of a second.
        """
        await asyncio.sleep(0.25)
        while not self.over:
            for account in self.accounts:
                assert not (account.is_waiting and account.queue.items)
            for number in self.emitting:
                assert any(
                    account.statistics.pending > account.queue.capacity
                    for account in self.accounts
                    if number in account.expected
                )
            await asyncio.sleep(0.5)

    def check_end(self):
        self.check()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert self.bus.statistics().subscriptions == self.bus.statistics().pending == 0
        for account in self.accounts:
            account.check_reasons()
            if isinstance(account, Callback):
                account.check_errors(self.errors[account.name])
        for one, other in itertools.combinations(self.accounts, 2):
            both = set(one.received) & set(other.received)
            assert list(filter(both.__contains__, one.received)) == list(
                filter(both.__contains__, other.received)
            )


def binding(app):
    return Binding(app_name=app)


def make_event(app, number):
    return Event(
        app_name=app,
        app_version="1",
        severity="ok",
        verbosity="info",
        body={"n": number},
        node="test",
    )


@pytest.mark.slow
def test_all_promises_hold_whatever_happens_in_whatever_order():
    async def scenario(rng):
        await World(rng).play()

    over_seeds(1200, scenario)


PATIENT = {
    "policies": (Overflow.BLOCK,),
    "ways": ("emit", "publish", "emit_twice"),
    "callbacks": 0,
    "closers": 0,
    "ends": ("drain",),
    "stall_after": math.inf,  # a consumer may rest several times in a row
}
"""Nobody gives a reason to drop anything."""


def test_a_cancelled_consumer_loses_no_event():
    async def scenario(rng):
        steps = ("take_until_cancelled", "take_until_timeout", "share", "rest")
        world = await World(rng, **PATIENT, steps=steps, endings=("stay", "stay_lazily")).play()

        assert world.emits > 0
        for account in world.accounts:
            assert account.received == account.expected

    over_seeds(100, scenario)


def test_a_wake_up_that_a_cancelled_consumer_did_not_use_goes_to_another():
    async def scenario(rng):
        bus = Bus(node="test")
        subscription = bus.subscribe()
        first, second = (asyncio.create_task(anext(subscription)) for _ in range(2))
        await ticks()
        bus.emit_nowait("a", "1", "ok", "info", {"n": 1})
        for task in rng.sample([first, second], 1):
            await cancelled(task)
        taken = await next(task for task in (first, second) if not task.cancelled())

        assert taken.body["n"] == 1
        await bus.aclose()

    over_seeds(20, scenario)


def test_waiting_again_and_again_leaves_nothing_behind():
    async def scenario(rng):
        bus = Bus(node="test")
        subscription = bus.subscribe()
        for _ in range(20):
            with suppress(TimeoutError):
                async with asyncio.timeout(rng.choice([0, 1])):
                    await anext(subscription)

        assert not subscription._queue._idle
        await bus.aclose()

    over_seeds(5, scenario)


def test_a_cancelled_emit_leaves_the_counts_true():
    async def scenario(rng):
        options = PATIENT | {"ways": ("emit_cancelled",), "endings": ("stay_lazily",)}
        world = await World(rng, **options, steps=("take", "rest")).play()

        for account in world.accounts:
            counts = account.statistics
            assert counts.offered == counts.delivered + counts.dropped.get("cancelled", 0)

    over_seeds(50, scenario)


def test_the_emits_of_one_task_stay_in_order_among_those_of_others():
    async def scenario(rng):
        bus = Bus(node="test")
        subscription = bus.subscribe(capacity=rng.randint(1, 4))
        received = []

        async def emit_some(task):
            for number in range(10):
                await bus.emit(task, "1", "ok", "info", {"n": number})
                await ticks(rng.randint(0, 2))

        async def consume():
            async for event in subscription:
                received.append((event.app_name, event.body["n"]))
                await ticks(rng.randint(0, 2))

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(consume())
            async with asyncio.TaskGroup() as emitters:
                for task in "abc":
                    emitters.create_task(emit_some(task))
            await bus.drain()
        for task in "abc":
            assert [number for app, number in received if app == task] == list(range(10))

    over_seeds(50, scenario)


def test_the_events_of_a_thread_stay_in_order():
    async def scenario(rng):
        bus = Bus(node="test", accounts=SlowAccounts(rng))
        received = []
        bus.bind(Binding(), lambda event: received.append(event.body["n"]), capacity=2)
        results = [
            bus.emit_threadsafe("a", "1", "ok", "info", {"n": number}, rng.choice(["x", "y", None]))
            for number in range(10)
        ]
        await bus.drain()

        assert received == list(range(10))
        assert [result.result(timeout=0) for result in results] == [1] * 10

    over_seeds(50, scenario)


class SlowAccounts:
    def __init__(self, rng):
        self._rng = rng

    async def ancestors(self, account_id):
        await ticks(self._rng.randint(0, 5))
        return ["top"]


def test_one_who_subscribes_while_an_emit_waits_does_not_get_its_event():
    async def scenario(rng):
        bus = Bus(node="test", accounts=SlowAccounts(rng))
        early = [bus.subscribe(capacity=1) for _ in range(2)]
        await bus.emit("a", "1", "ok", "info", {})
        emit = asyncio.create_task(bus.emit("a", "1", "ok", "info", {}, "x"))
        await ticks(2)
        late = bus.subscribe()
        await ticks(10)
        for subscription in early:
            await anext(subscription)

        assert await emit == 2
        assert late.statistics().offered == 0
        await bus.aclose()

    over_seeds(50, scenario)


def test_no_subscriber_reaches_another_or_an_emitter():
    """However the others behave, a patient one gets all, and emits end in bounded time."""

    async def scenario(rng):
        world = World(rng, ends=("drain",))
        patient = Patient(world)
        world.accounts.append(patient)
        await world.play()

        dropped = patient.statistics.dropped
        assert dropped.keys() <= {"would_block", "cancelled"}
        assert len(patient.received) == len(patient.expected) - sum(dropped.values())

    over_seeds(50, scenario)


def test_a_tight_loop_of_emits_does_not_starve_a_live_consumer():
    async def scenario(rng, overflow=Overflow.DROP_OLDEST):
        bus = Bus(node="test")
        received = []

        async def consume(subscription):
            async for event in subscription:
                received.append(event.body["n"])

        consumer = asyncio.create_task(consume(bus.subscribe(capacity=4, overflow=overflow)))
        await ticks()
        for number in range(100):
            await bus.emit("a", "1", "ok", "info", {"n": number})
        await bus.drain()
        await consumer
        return received

    async def shuffled(rng):
        # It may run after the emitter each time, but it runs at each yield.
        assert len(await scenario(rng, rng.choice(["drop_oldest", "drop_newest"]))) >= 50

    over_seeds(50, shuffled)
    for overflow in Overflow:
        assert run(partial(scenario, None, overflow)) == list(range(100))


def test_a_subscriber_is_stalled_only_after_that_long_without_a_take():
    async def scenario(rng):
        """Two emits come to wait at once, long after the last one that waited."""
        bus = Bus(node="test", stall_after=STALL_AFTER)
        slow = bus.subscribe(capacity=1)
        samples = bus.subscribe(capacity=1, overflow="drop_newest")
        emit = partial(bus.emit, "a", "1", "ok", "info", {})
        await emit()
        waiting = asyncio.create_task(emit())
        await asyncio.sleep(1)
        await anext(slow)
        await waiting
        await asyncio.sleep(STALL_AFTER - 1.5)
        await anext(slow)
        await emit()
        both = [asyncio.create_task(emit()) for _ in range(2)]
        await asyncio.sleep(STALL_AFTER - 1)
        assert not slow.statistics().stalled

        await asyncio.sleep(2)
        assert slow.statistics().stalled
        assert samples.statistics().stalled is False
        await asyncio.gather(*both)
        await bus.aclose()

    over_seeds(10, scenario)


def test_the_bus_holds_nothing_of_a_consumer_that_died():
    async def scenario(rng):
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        bus = Bus(node="test")

        async def die():
            subscription = bus.subscribe()
            async for _ in subscription:
                raise ValueError

        consumer = asyncio.create_task(die())
        await ticks()
        await bus.emit("a", "1", "ok", "info", {})
        await asyncio.wait({consumer})
        del consumer
        gc.collect()
        await ticks()

        assert bus.statistics().subscriptions == 0
        await bus.aclose()

    over_seeds(5, scenario)


def test_the_bus_holds_nothing_of_a_subscription_that_was_dropped_before_the_loop_ran():
    bus = Bus(node="test")
    bus.subscribe(capacity=1)

    async def scenario():
        assert await bus.emit("a", "1", "ok", "info", {}) == 0
        await bus.aclose()

    run(scenario)


def test_a_drain_keeps_the_last_gap_for_its_reader():
    async def scenario(rng):
        bus = Bus(node="test")
        subscription = bus.subscribe(capacity=1, overflow="drop_newest", gaps=True)
        for number in range(3):
            await bus.emit("a", "1", "ok", "info", {"n": number})

        async def consume():
            await ticks(rng.randint(0, 3))
            items = []
            async for item in subscription:
                items.append(item)
                await ticks(rng.randint(0, 9))
            return items[1:]

        consumer = asyncio.create_task(consume())
        await bus.drain()

        assert await consumer == [Gap(2)]

    over_seeds(20, scenario)


def test_a_callback_that_cancels_itself_gets_the_next_event():
    async def scenario(rng):
        bus = Bus(node="test")
        received = []

        def cancel_itself(event):
            received.append(event.body["n"])
            asyncio.current_task().cancel()
            if rng.random() < 0.5:
                raise ValueError

        bus.bind(Binding(), cancel_itself, capacity=2)
        for number in range(5):
            await bus.emit("a", "1", "ok", "info", {"n": number})
        await bus.drain()

        assert received == list(range(5))
        assert bus.statistics().callback_errors == 5

    over_seeds(20, scenario)
