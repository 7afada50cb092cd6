"""The rig of the promises: a bus, those who use it, and what should come of it.

``World`` plays a scenario drawn from a seed: emitters, consumers and callbacks (``actors``) that
come and go, are slow, are cancelled, fail. It holds edr to their ledgers (``model``) after every
step. The loop shuffles, by the same seed, what is ready at a time; see ``shuffled_loop``.
"""

import asyncio
import itertools
from collections import Counter, defaultdict
from contextlib import suppress

from edr import Bus, BusClosedError, DeadlockError, Event, Overflow
from promises.actors import BINDINGS, STALL_AFTER, Callback, Consumer, cancelled, ticks


class World:
    """A bus, those who use it, and what should come of it."""

    stall_timeout = STALL_AFTER
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
        self.bus = Bus(node="test", stall_timeout=self.stall_timeout, on_error=self.on_error)
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
                consumer.subscription.shutdown()
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
            accepted = self.bus.emit_nowait(app, "1", "ok", "info", {"n": number})
        except BusClosedError:
            accepted = False
        if not accepted:
            self.refuse(number)

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
        except DeadlockError:
            self.emits_not_waiting += 1
        finally:
            self.emitting.remove(number)
            # At worst, all who emit wait in one line, whose head gets in just before a stall.
            assert loop.time() - began <= self.stall_timeout * self.most_emitting

    def accept(self):
        """Enter the next event into the account of each subscription registered now."""
        number, app = next(self._numbers), self.rng.choice("ab")
        self.emits += 1
        for account in self.accounts:
            if app in account.apps and not account.queue.closed:
                account.accept(number)
        return number, app

    def refuse(self, number):
        """Take it back: the bus was closed already."""
        self.emits -= 1
        for account in self.wanting(number):
            account.accepted.remove(number)

    def wanting(self, number):
        return [account for account in self.accounts if number in account.accepted[-1:]]

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
                    if number in account.accepted
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


def make_event(app, number):
    return Event(
        app_name=app,
        app_version="1",
        severity="ok",
        verbosity="info",
        body={"n": number},
        node="test",
    )
