"""The accounts above an account: the tree, the cache, and resolvers that misbehave."""

import asyncio
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.consuming import take_ready, ticks
from support.shuffled_loop import run

from edr import AccountTree, Binding, Bus, InvalidEventError
from edr.bus import accounts

UNDER_ROOT = Binding(account_id="root", include_descendants=True)


def emit_to(bus):
    async def emit(n, account_id="shop"):
        return await bus.emit("app", "1", "ok", "info", {"n": n}, account_id=account_id)

    return emit


class Resolver:
    """Answers what it is told to, and counts how often it was asked."""

    def __init__(self, answer):
        self.answer = answer
        self.asked = []

    def ancestors(self, account_id):
        self.asked.append(account_id)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class AsyncResolver(Resolver):
    def __init__(self, answer, delay=0.0):
        super().__init__(answer)
        self.delay = delay

    async def ancestors(self, account_id):
        await asyncio.sleep(self.delay)
        return super().ancestors(account_id)


def test_the_tree_answers_root_first_and_parent_last():
    tree = AccountTree({"shop": "acme", "acme": "root", "root": None})

    assert tree.ancestors("shop") == ("root", "acme")
    assert tree.ancestors("root") == tree.ancestors("unknown") == ()
    tree.add("acme")
    assert tree.ancestors("shop") == ("acme",)


def test_the_tree_refuses_cycles_and_bad_names():
    tree = AccountTree({"b": "a", "c": "b"})
    for child, parent in (("a", "c"), ("a", "a"), ("b", "c")):
        with pytest.raises(ValueError, match="must not be below itself"):
            tree.add(child, parent)
    for child, parent in (("", "a"), ("a", ""), (5, "a")):
        with pytest.raises(ValueError, match="an account id must be a non-empty string"):
            tree.add(child, parent)

    assert tree.ancestors("c") == ("a", "b")


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("abcdef"))))
def test_the_tree_never_holds_a_cycle(links):
    tree = AccountTree()
    for child, parent in links:
        try:
            tree.add(child, parent)
        except ValueError:
            continue

    for account in "abcdef":
        assert account not in tree.ancestors(account)


@pytest.mark.parametrize("kind", [Resolver, AsyncResolver])
async def test_descendants_are_found_and_the_resolver_is_asked_once(kind):
    resolver = kind(["root", "acme"])
    async with Bus(accounts=resolver) as bus:
        emit, above, other = emit_to(bus), bus.subscribe(UNDER_ROOT), bus.subscribe()
        for n in range(3):
            await emit(n)

        assert take_ready(above) == [0, 1, 2]
        assert (await anext(other)).account_tree == ("root", "acme")
        assert resolver.asked == ["shop"]
        other.shutdown()
        await other.aclose()


async def test_an_event_of_no_account_asks_nobody():
    resolver = Resolver(["root"])
    async with Bus(accounts=resolver) as bus:
        await emit_to(bus)(1, account_id=None)

    assert resolver.asked == []


RUBBISH = [None, 5, "abc", b"abc", {"a"}, ["a", ""], ["a", 5], ["a", "a"], ["shop"]]


@pytest.mark.parametrize("answer", [*RUBBISH, OSError("database is away")], ids=repr)
@pytest.mark.parametrize("kind", [Resolver, AsyncResolver])
async def test_a_resolver_that_fails_costs_no_event_and_is_counted(kind, answer, caplog):
    resolver = kind(answer)
    async with Bus(accounts=resolver) as bus:
        emit, everything = emit_to(bus), bus.subscribe()
        assert await emit(1) == 1
        assert await emit(2) == 1
        event = await anext(everything)

        assert event.account_tree == ()
        assert bus.statistics().account_failures == 1
        assert len(resolver.asked) == 1, "a failure is remembered for a while"
        assert "the ancestors of account 'shop' could not be found" in caplog.text
        await everything.aclose()


def test_a_resolver_that_hangs_holds_up_an_emit_for_the_timeout_once():
    async def scenario():
        loop = asyncio.get_running_loop()
        async with Bus(accounts=AsyncResolver(["root"], delay=1e6), accounts_timeout=2) as bus:
            emit, everything = emit_to(bus), bus.subscribe()
            await asyncio.gather(emit(1), emit(2))
            assert loop.time() == pytest.approx(2, abs=0.1)
            await emit(3)
            assert loop.time() == pytest.approx(2, abs=0.1)
            assert sorted(take_ready(everything)) == [1, 2, 3]
            assert bus.statistics().account_failures == 1

    run(scenario)


def test_a_resolver_that_swallows_its_cancellation_holds_up_nobody():
    class Stubborn:
        release = None

        async def ancestors(self, account_id):
            self.release = asyncio.Event()
            while not self.release.is_set():
                try:
                    await self.release.wait()
                except asyncio.CancelledError:
                    continue
            return ["root"]

    async def scenario():
        resolver = Stubborn()
        async with Bus(accounts=resolver, accounts_timeout=1) as bus:
            everything = bus.subscribe()
            assert await emit_to(bus)(1) == 1
            assert take_ready(everything) == [1]
            resolver.release.set()
            await ticks()

    run(scenario)


async def test_emits_that_wait_for_one_account_share_one_look_up():
    resolver = AsyncResolver(["root"])
    async with Bus(accounts=resolver) as bus:
        above = bus.subscribe(UNDER_ROOT)
        await asyncio.gather(*(emit_to(bus)(n) for n in range(5)))

        assert sorted(take_ready(above)) == [0, 1, 2, 3, 4]
        assert resolver.asked == ["shop"]


async def test_a_subscription_that_comes_during_the_look_up_does_not_see_the_event():
    async with Bus(accounts=AsyncResolver(["root"])) as bus:
        early = bus.subscribe()
        emitting = asyncio.create_task(emit_to(bus)(1))
        await asyncio.sleep(0)
        late = bus.subscribe()

        assert await emitting == 1
        assert take_ready(early) == [1]
        assert take_ready(late) == []


async def test_cancelling_an_emit_in_its_look_up_does_not_disturb_the_others():
    async with Bus(accounts=AsyncResolver(["root"])) as bus:
        above = bus.subscribe(UNDER_ROOT)
        first, second = (asyncio.create_task(emit_to(bus)(n)) for n in (1, 2))
        await asyncio.sleep(0)
        first.cancel()

        assert await second == 1
        assert take_ready(above) == [2]


async def test_the_event_is_stamped_and_copied_before_the_look_up():
    async with Bus(accounts=AsyncResolver(["root"])) as bus:
        everything, body = bus.subscribe(), {"n": 1}
        emitting = asyncio.create_task(bus.emit("app", "1", "ok", "info", body, account_id="shop"))
        await asyncio.sleep(0)
        body["n"] = 2
        await emitting

        assert take_ready(everything) == [1]


async def test_emit_nowait_does_not_wait_for_a_look_up_and_counts_that():
    async with Bus(accounts=AsyncResolver(["root"])) as bus:
        above, everything = bus.subscribe(UNDER_ROOT), bus.subscribe()
        bus.emit_nowait("app", "1", "ok", "info", {"n": 1}, "shop")
        await ticks()
        bus.emit_nowait("app", "1", "ok", "info", {"n": 2}, "shop")

        assert take_ready(everything) == [1, 2]
        assert take_ready(above) == [2], "the look-up that the first began served the second"
        assert bus.statistics().account_failures == 1


def test_answers_are_asked_for_again_after_their_time():
    resolver = Resolver(["root"])
    clock = [0.0]

    async def scenario():
        async with Bus(accounts=resolver, accounts_ttl=60) as bus:
            bus._accounts._clock = lambda: clock[0]
            everything = bus.subscribe()
            await emit_to(bus)(1)
            clock[0] = 59.0
            await emit_to(bus)(2)
            resolver.answer = ["other"]
            clock[0] = 60.0
            await emit_to(bus)(3)
            trees = [(await anext(everything)).account_tree for _ in range(3)]
            assert trees == [("root",), ("root",), ("other",)]

    run(scenario)
    assert len(resolver.asked) == 2


async def test_the_cache_is_bounded():
    async with Bus(accounts=Resolver(["root"]), accounts_cache=10) as bus:
        for n in range(50):
            await emit_to(bus)(n, account_id=f"account{n}")

        assert len(bus._accounts._known) == 10


@pytest.mark.parametrize("account_id", ["", 5, ["shop"], {}])
async def test_a_wrong_account_is_refused_before_the_resolver_is_asked(account_id):
    resolver = AsyncResolver(["root"])
    async with Bus(accounts=resolver) as bus:
        for emit in (bus.emit, bus.emit_nowait, bus.emit_threadsafe):
            with pytest.raises(InvalidEventError) as caught:
                outcome = emit("app", "1", "ok", "info", {}, account_id)
                if asyncio.iscoroutine(outcome):
                    await outcome
            assert caught.value.path == "account_id"

    assert resolver.asked == []


class Remembers:
    """Answers each look-up after some turns of the loop, or as told."""

    def __init__(self, answer):
        self.answer = answer
        self.at_once = self.most_at_once = 0

    async def ancestors(self, account_id):
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await ticks(3)
            return await self.answer(account_id)
        finally:
            self.at_once -= 1


async def root(account_id):
    return ["root"]


@pytest.mark.parametrize("size", [0, 1, 10])
async def test_who_waited_has_the_answer_whatever_the_cache_can_hold(size):
    async with Bus(accounts=Remembers(root), accounts_cache=size) as bus:
        above = bus.subscribe(UNDER_ROOT)
        await asyncio.gather(*(emit_to(bus)(n, account_id=f"a{n}") for n in range(20)))

        assert sorted(take_ready(above)) == list(range(20))
        assert bus.statistics().account_failures == 0


async def test_a_resolver_that_cancels_itself_is_counted():
    async def cancels(account_id):
        raise asyncio.CancelledError

    async with Bus(accounts=Remembers(cancels)) as bus:
        everything = bus.subscribe()
        assert await emit_to(bus)(1) == 1

        assert take_ready(everything) == [1]
        assert bus.statistics().account_failures == 1


async def test_emits_that_cannot_wait_begin_a_bounded_number_of_look_ups(monkeypatch):
    monkeypatch.setattr(accounts, "MAX_LOOKUPS", 10)
    resolver = Remembers(lambda account_id: asyncio.Event().wait())
    bus = Bus(accounts=resolver)
    for n in range(100):
        bus.emit_nowait("app", "1", "ok", "info", {"n": n}, f"a{n}")
    await ticks()

    assert resolver.at_once == 10
    assert bus.statistics().account_failures == 100
    await bus.aclose()


def test_a_look_up_that_nobody_waits_for_ends_too():
    async def scenario():
        resolver = Remembers(lambda account_id: asyncio.Event().wait())
        async with Bus(accounts=resolver, accounts_timeout=1) as bus:
            bus.emit_nowait("app", "1", "ok", "info", {}, "shop")
            await asyncio.sleep(2)
            assert resolver.at_once == 0
            assert bus.statistics().account_failures == 2

    run(scenario)


def test_a_loop_that_is_busy_is_not_taken_for_a_resolver_that_is_silent():
    async def scenario():
        loop = asyncio.get_running_loop()

        async def busy(account_id):
            for _ in range(4):
                await asyncio.sleep(0)
                loop.now += 0.9  # as if other tasks had held the loop for so long
            return ["root"]

        async with Bus(accounts=Remembers(busy), accounts_timeout=1) as bus:
            above = bus.subscribe(UNDER_ROOT)
            await emit_to(bus)(1)
            assert take_ready(above) == [1]
            assert bus.statistics().account_failures == 0

    run(scenario)


async def test_look_ups_for_events_of_threads_go_on_at_once():
    resolver = Remembers(root)
    async with Bus(accounts=resolver) as bus:
        bus.enter()
        above = bus.subscribe(UNDER_ROOT)
        for n in range(20):
            bus.emit_threadsafe("app", "1", "ok", "info", {"n": n}, f"a{n}")
        await ticks(30)

        assert resolver.most_at_once == 20
        assert take_ready(above) == list(range(20))


def test_an_answer_without_a_wait_serves_under_eager_tasks():
    async def scenario():
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        async with Bus(accounts=AsyncResolver(["root"]), accounts_ttl=1e-9) as bus:
            above = bus.subscribe(UNDER_ROOT)
            for n in range(3):
                await emit_to(bus)(n)
            assert take_ready(above) == [0, 1, 2]

    if sys.version_info < (3, 12):
        pytest.skip("eager tasks are 3.12's")
    asyncio.run(scenario())


async def test_a_lone_surrogate_in_an_answer_is_a_failure():
    async with Bus(accounts=Resolver(["ro\ud800ot"])) as bus:
        everything = bus.subscribe()
        await emit_to(bus)(1)

        assert take_ready(everything) == [1]
        assert bus.statistics().account_failures == 1


def test_shared_future_of_a_resolver_is_not_cancelled_by_a_timeout():
    async def main():
        answer = asyncio.get_running_loop().create_future()

        class Shares:
            def ancestors(self, account_id):
                return answer

        bus = Bus(accounts=Shares(), accounts_timeout=1, accounts_ttl=60)
        events = bus.subscribe()
        await bus.emit("app", "1", "ok", "info", {}, "early")
        assert not answer.cancelled()
        late = asyncio.create_task(bus.emit("app", "1", "ok", "info", {}, "late"))
        await asyncio.sleep(0)
        answer.set_result(["root"])
        await late
        assert [event.account_tree for event in events.take()] == [(), ("root",)]
        assert bus.statistics().account_failures == 1
        await bus.aclose()

    run(main)


async def test_ancestors_of_many_accounts_are_looked_up_some_at_a_time(monkeypatch, bus):
    monkeypatch.setattr(accounts, "CONCURRENT_LOOKUPS", 3)
    running, most = 0, 0

    class Counting:
        async def ancestors(self, account_id):
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            running -= 1
            return [f"above {account_id}"]

    bus.enter()
    options = {"timeout": 1.0, "ttl": 60.0, "size": 0, "on_failure": print}
    cache = accounts.AccountCache(Counting(), spawn=asyncio.ensure_future, **options)
    trees = await cache.ancestors_of(["a", "b", *"abcdefgh"])

    assert trees == {name: (f"above {name}",) for name in "abcdefgh"}
    assert most == 3


async def test_ancestors_of_a_bus_are_those_of_its_accounts():
    resolver = AsyncResolver(("root",))
    async with Bus(accounts=resolver) as bus:
        assert await bus.ancestors("a", "b", "a") == {"a": ("root",), "b": ("root",)}
        assert await bus.ancestors("a") == {"a": ("root",)}

        assert resolver.asked == ["a", "b"]


async def test_ancestors_of_a_bus_without_accounts_are_empty(bus):
    assert await bus.ancestors("a") == {"a": ()}
    assert await bus.ancestors() == {}
    with pytest.raises(InvalidEventError):
        await bus.ancestors("")


async def test_ancestors_of_a_failed_look_up_are_empty():
    async with Bus(accounts=Resolver(OSError("down"))) as bus:
        assert await bus.ancestors("a") == {"a": ()}
        assert bus.statistics().account_failures == 1
