"""Several places of one connection become one sequence, in the order of positions."""

import asyncio

import pytest
from support.merged_model import MergedModel
from support.shuffled_loop import run
from support.stream_clients import Calls, turns
from support.stream_journal import Rig

from edr import Binding
from edr.streams import Grant, Streams
from edr.web.merging import Gap, Merging

EVERYTHING = (Binding.everything(),)
WARNINGS = (Binding(severity="warning"),)


@pytest.fixture
def streams(bus):
    return Streams(bus, size=20, history=True)


@pytest.fixture
def merging(streams):
    return Merging(streams, Grant.everything(), batch=65_536, on_ready=Calls())


@pytest.fixture
def publish(bus, make_event):
    def publish(*ns, severity="ok"):
        for n in ns:
            bus.publish_nowait(make_event("app", body={"n": n}, severity=severity))

    return publish


def encoded(delivery):
    return f"{delivery.record.event.body['n']}:{'+'.join(delivery.to)}".encode()


def taken(merging, max_bytes=65_536):
    """Take until nothing is left; return the events, and the gaps."""
    found = []
    while (step := merging.take(max_bytes, encoded)) is not None:
        if isinstance(step, Gap):
            found.append((step.id, step.missed.count, step.missed.reason))
        else:
            found += [each.decode() for each in step]
    return found


async def test_an_event_of_two_subscriptions_comes_once(merging, publish):
    merging.subscribe("a", EVERYTHING)
    merging.subscribe("b", WARNINGS)
    publish(1)
    publish(2, severity="warning")
    publish(3)
    assert taken(merging) == ["1:a", "2:a+b", "3:a"]


async def test_ids_are_in_the_order_of_their_subscriptions(merging, publish):
    for name in ("z", "a", "m"):
        merging.subscribe(name, EVERYTHING)
    publish(1)
    assert taken(merging) == ["1:z+a+m"]


async def test_events_are_in_order_when_places_are_read_in_parts(streams, publish):
    merging = Merging(streams, Grant.everything(), batch=800, on_ready=Calls())
    merging.subscribe("a", EVERYTHING)
    merging.subscribe("b", WARNINGS)
    publish(1, 2, 3, 4, 5, 6)
    publish(7, 8, severity="warning")
    assert taken(merging) == [*(f"{n}:a" for n in range(1, 7)), "7:a+b", "8:a+b"]


async def test_events_that_are_not_sent_have_few_bytes(streams, publish):
    merging = Merging(streams, Grant.everything(), batch=8000, on_ready=Calls())
    for name in "abcd":
        merging.subscribe(name, (Binding(app_name=["app", name]),))
    publish(*range(20))
    assert merging.take(1, encoded) == [b"0:a+b+c+d"]
    read = sum(place.sent for place in merging) - 4
    assert 0 < read < 2000 / 200 + 4  # an event has more than 200 bytes


async def test_a_take_returns_at_most_max_bytes(merging, publish):
    merging.subscribe("a", EVERYTHING)
    publish(1, 2, 3)
    assert merging.take(8, encoded) == [b"1:a", b"2:a"]
    assert merging.take(8, encoded) == [b"3:a"]


async def test_a_larger_event_comes_alone(merging, publish):
    merging.subscribe("a", EVERYTHING)
    publish(1, 2)
    assert merging.take(1, encoded) == [b"1:a"]
    assert merging.take(1, encoded) == [b"2:a"]


async def test_a_gap_is_between_the_events_around_it(merging, publish):
    merging.subscribe("a", EVERYTHING)
    merging.subscribe("b", WARNINGS)
    publish(*range(1, 26))
    publish(26, severity="warning")
    assert taken(merging)[:2] == [("a", 6, "slow"), "7:a"]
    assert taken(merging) == []


async def test_an_empty_take_is_followed_by_a_call(merging, streams, publish):
    calls = Calls()
    merging = Merging(streams, Grant.everything(), batch=65_536, on_ready=calls)
    merging.subscribe("a", WARNINGS)
    assert taken(merging) == []
    publish(1)
    await turns()
    assert calls.count == 0
    publish(2, severity="warning")
    await turns()
    assert calls.count == 1


async def test_an_event_that_was_taken_is_not_missed(streams, publish):
    """The window moves on while it waits for another subscription."""
    merging = Merging(streams, Grant.everything(), batch=65_536, on_ready=Calls())
    merging.subscribe("a", EVERYTHING)
    publish(1, 2)
    assert merging.take(1, encoded) == [b"1:a"]
    publish(*range(3, 40))
    assert taken(merging)[0] == "2:a"


async def test_the_past_of_one_subscription_does_not_delay_another(merging, publish):
    publish(1, 2)
    merging.subscribe("a", EVERYTHING)
    merging.subscribe("b", WARNINGS, last=5)
    publish(3)
    assert taken(merging) == ["3:a"]
    await turns()


async def test_a_subscription_that_reads_the_journal_misses_nothing(tmp_path, make_event):
    """It is older than the window. Another one, which is live, is not delayed."""
    calls, found = Calls(), []
    async with Rig(tmp_path / "journal") as rig:
        merging = Merging(rig.streams, Grant.everything(), batch=2000, on_ready=calls)
        merging.subscribe("a", EVERYTHING)
        for n in range(30):
            rig.bus.publish_nowait(make_event("app", body={"n": n}))
        await rig.settle()
        live = taken(merging)
        merging.subscribe("b", EVERYTHING, after=f"{rig.streams.id}-0")
        rig.bus.publish_nowait(make_event("app", body={"n": 30}))
        await rig.settle()
        async with asyncio.timeout(30):
            while not found or not found[-1].startswith("30:") or "b" not in found[-1]:
                found += taken(merging)
                await asyncio.sleep(0)
        merging.close()
    of = {
        name: [int(each.partition(":")[0]) for each in live + found if name in each]
        for name in "ab"
    }
    assert of == {"a": list(range(31)), "b": list(range(31))}


async def test_rebind_repeats_nothing_and_loses_nothing(merging, publish):
    merging.subscribe("a", WARNINGS)
    publish(1, 2, 3, severity="warning")
    assert merging.take(1, encoded) == [b"1:a"]  # the others are taken, and not sent
    cursor = merging.rebind("a", EVERYTHING)
    assert cursor.endswith("-1")
    publish(4)
    await turns()
    assert taken(merging) == ["2:a", "3:a", "4:a"]


async def test_rebind_keeps_a_gap_that_was_not_sent(merging, publish):
    merging.subscribe("a", EVERYTHING)
    merging.subscribe("b", WARNINGS)
    publish(*range(1, 26))
    step = merging.take(1, encoded)
    assert step.missed.count == 5
    publish(*range(26, 52))
    merging.rebind("a", (Binding(app_name="app"),))
    await turns()
    steps = taken(merging)
    assert steps[0] == ("a", 26, "expired")
    assert len(steps) == 1 + 20


async def test_no_interest_ends_between_two_bindings(bus, merging, publish):
    merging.subscribe("a", WARNINGS)
    publish(1, 2, severity="warning")
    merging.take(1, encoded)
    changes = []
    bus.watch_interest(lambda key, wanted: changes.append(wanted))
    merging.rebind("a", WARNINGS)
    assert set(changes) == {True}


async def test_unsubscribe_discards_events_that_were_taken(merging, publish):
    merging.subscribe("a", EVERYTHING)
    merging.subscribe("b", EVERYTHING)
    publish(1, 2)
    assert merging.take(1, encoded) == [b"1:a+b"]
    merging.unsubscribe("a")
    assert taken(merging) == ["2:b"]


async def test_bindings_are_those_of_each_subscription(merging):
    merging.subscribe("a", WARNINGS)
    merging.rebind("a", EVERYTHING)
    merging.subscribe("b", WARNINGS)
    assert merging.bindings == {"a": EVERYTHING, "b": WARNINGS}


async def test_cursors_leave_out_subscriptions_with_unsent_events(merging, streams, publish):
    merging.subscribe("a", EVERYTHING)
    merging.subscribe("b", WARNINGS)
    publish(1, 2)
    merging.take(1, encoded)
    assert merging.cursors() == {f"{streams.id}-2": ["b"]}
    taken(merging)
    assert merging.cursors() == {f"{streams.id}-2": ["a", "b"]}


async def test_it_ends_with_the_bus_when_everything_is_taken(bus, merging, publish):
    merging.subscribe("a", EVERYTHING)
    publish(1)
    await bus.aclose()
    assert not merging.has_ended
    assert taken(merging) == ["1:a"]
    assert merging.has_ended


async def test_one_without_subscriptions_has_not_ended(bus, merging):
    assert merging.take(1, encoded) is None
    assert not merging.has_ended


@pytest.mark.parametrize("history", [True, False], ids=["history", "no-history"])
@pytest.mark.parametrize("size", [3, 10, 400])
def test_received_and_missed_are_all_matches(size, history):
    """Of overlapping subscriptions that come, change, go and return."""
    shared = []
    for seed in range(4):

        async def scenario(seed=seed):
            model = MergedModel(seed, size=size, history=history)
            await run_model(model, 300)
            shared.append(model.shared)

        run(scenario, seed)
    assert sum(shared) > 10


async def run_model(model, steps):
    names = ["emit"] * 5 + ["subscribe", "unsubscribe", "rebind", "reconnect"] + ["take"] * 8
    for _ in range(steps):
        getattr(model, f"step_{model.random.choice(names)}")()
        if model.random.random() < 0.4:
            await asyncio.sleep(0)
    await turns(8)
    while model.take(2000):
        pass
    for subscription in model.subscriptions.values():
        assert model.expected(subscription, len(model.emits)) == []
    model.merging.close()
    await model.bus.aclose()
