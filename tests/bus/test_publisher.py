"""The cold pipeline of a bus: check, look up, match, create, put, wait."""

import asyncio

import pytest

import edr
from edr.bus import parts_of
from edr.bus.publisher import YIELD_EVERY, checked_event

KEY = ("app", "1", "ok", "info")


def test_pending_event_has_a_snapshot_of_the_body():
    body = {"n": [1]}
    pending = parts_of(edr.Bus()).publisher.pending(KEY, body, "acme")
    body["n"].append(2)

    assert (pending.body, pending.account_id, pending.key) == ({"n": [1]}, "acme", KEY)


@pytest.mark.parametrize(
    ("key", "body", "account", "path"),
    [
        (("", "1", "ok", "info"), {}, None, "app_name"),
        (("app", "1", "bad", "info"), {}, None, "severity"),
        (KEY, [], None, "body"),
        (KEY, {"n": {1}}, None, "body.n"),
        (KEY, {}, "", "account_id"),
    ],
)
def test_pending_refuses_a_value_with_its_path(key, body, account, path):
    with pytest.raises(edr.InvalidEventError) as caught:
        parts_of(edr.Bus()).publisher.pending(key, body, account)

    assert caught.value.path == path


def test_checked_event_refuses_other_values_and_large_bodies(make_event):
    event = make_event(body={"text": "x" * 100})

    assert checked_event(event, 200) is event
    with pytest.raises(edr.BodyTooLargeError):
        checked_event(event, 50)
    with pytest.raises(edr.InvalidEventError):
        checked_event({"app_name": "app"}, 200)


async def test_publish_waits_for_space_and_counts_the_queue(bus, make_event):
    events = bus.subscribe(capacity=1)
    await bus.publish(make_event(body={"n": 1}))
    publishing = asyncio.create_task(parts_of(bus).publisher.publish(make_event(body={"n": 2})))
    await asyncio.sleep(0)

    assert not publishing.done()
    events.take()
    assert await publishing == 1


async def test_publish_soon_returns_a_task_only_for_full_queues(bus, make_event):
    events = bus.subscribe(capacity=1)
    publisher = parts_of(bus).publisher

    assert publisher.publish_soon(make_event()) is None
    waiting = publisher.publish_soon(make_event())
    events.take()
    assert await waiting == 1


# publish_all, and publish with resolve


def numbered(make_event, *numbers, **fields):
    return [make_event(body={"n": n}, **fields) for n in numbers]


class Accounts:
    """Answers after a turn of the loop, and records which accounts were looked up."""

    def __init__(self):
        self.asked = []

    async def ancestors(self, account_id):
        self.asked.append(account_id)
        await asyncio.sleep(0)
        return ["root"]


async def test_publish_all_keeps_the_order_and_returns_the_sum(bus, make_event):
    one, other = bus.subscribe(), bus.subscribe(app_name="a")
    events = [*numbered(make_event, 1, 2), *numbered(make_event, 3, 4, app_name="a")]

    assert await bus.publish_all(iter(events)) == 6
    assert one.take() == events
    assert other.take() == events[2:]
    assert await bus.publish_all([]) == 0


async def test_publish_all_waits_for_space_and_loses_nothing_for_a_live_consumer(bus, make_event):
    for overflow in ("block", "drop_oldest"):
        async with bus.subscribe(capacity=2, overflow=overflow) as events:
            publishing = asyncio.create_task(bus.publish_all(numbered(make_event, *range(20))))

            assert [(await anext(events)).body["n"] for _ in range(20)] == list(range(20))
            assert await publishing == 20


async def test_publish_all_publishes_nothing_if_an_event_is_not_valid(make_event):
    async with edr.Bus(max_body=100) as bus, bus.subscribe() as events:
        with pytest.raises(edr.InvalidEventError) as wrong:
            await bus.publish_all([make_event(), {"app_name": "app"}])
        with pytest.raises(edr.BodyTooLargeError) as large:
            await bus.publish_all([make_event(), make_event(body={"text": "x" * 100})])

        assert (wrong.value.path, large.value.path) == ("[1]", "[1].body")
        assert events.take() == []
        assert bus.statistics().emits == 0


async def test_publish_all_excludes_a_subscription(bus, make_event):
    one, other = bus.subscribe(), bus.subscribe()

    assert await bus.publish_all(numbered(make_event, 1, 2), exclude=one) == 2
    assert (len(one.take()), len(other.take())) == (0, 2)


async def test_subscription_made_during_publish_all_does_not_receive_its_events(bus, make_event):
    full = bus.subscribe(capacity=1)
    publishing = asyncio.create_task(bus.publish_all(numbered(make_event, 1, 2, 3)))
    await asyncio.sleep(0)
    late = bus.subscribe()
    assert len([await anext(full) for _ in range(3)]) == await publishing == 3

    assert late.take() == []


@pytest.mark.parametrize("turns", range(1, 4))
async def test_cancelled_publish_all_has_published_the_first_events(bus, make_event, turns):
    events = bus.subscribe(capacity=2)
    publishing = asyncio.create_task(bus.publish_all(numbered(make_event, *range(5))))
    for _ in range(turns):
        await asyncio.sleep(0)
    publishing.cancel()
    await asyncio.wait({publishing})
    counts = events.statistics()

    assert [event.body["n"] for event in events.take()] == [0, 1]
    assert counts.offered == counts.pending + sum(counts.dropped.values())


async def test_publish_all_yields_to_the_loop(bus, make_event):
    turns = 0

    async def others():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(others())
    await bus.publish_all([make_event()] * (4 * YIELD_EVERY))
    other.cancel()

    assert turns >= 4


async def test_publish_all_on_a_closed_bus_raises(bus, make_event):
    await bus.aclose()
    with pytest.raises(edr.BusClosedError):
        await bus.publish_all([make_event()])


async def test_resolve_sets_an_empty_tree_with_one_look_up_for_each_account(make_event):
    accounts = Accounts()
    async with edr.Bus(accounts=accounts, accounts_cache=0) as bus, bus.subscribe() as events:
        given = [make_event(account_id=account) for account in ("a", "b", "a", None, "b")]
        given.append(make_event(account_id="c", account_tree=["other"]))
        await bus.publish_all(given, resolve=True)
        trees = [event.account_tree for event in events.take()]

    assert trees == [("root",), ("root",), ("root",), (), ("root",), ("other",)]
    assert accounts.asked == ["a", "b"]


async def test_resolved_event_matches_bindings_of_its_ancestors(make_event):
    tree = edr.AccountTree({"shop": "acme"})
    async with edr.Bus(accounts=tree) as bus:
        async with bus.subscribe(account_id="acme", include_descendants=True) as events:
            event = make_event(account_id="shop", traceparent=f"00-{'1' * 32}-{'2' * 16}-01")
            assert await bus.publish(event) == 0
            assert await bus.publish(event, resolve=True) == 1
            (received,) = events.take()

        assert received == event.model_copy(update={"account_tree": ("acme",)})


async def test_resolve_without_accounts_changes_nothing(bus, make_event):
    events, event = bus.subscribe(), make_event(account_id="shop")
    await bus.publish(event, resolve=True)

    assert events.take()[0] is event


async def test_drain_waits_for_a_publish_in_its_look_up(make_event):
    bus = edr.Bus(accounts=Accounts())
    seen = []
    bus.bind(edr.Binding(), seen.append)
    publishing = asyncio.create_task(bus.publish(make_event(account_id="a"), resolve=True))
    await asyncio.sleep(0)
    await bus.drain()

    assert await publishing == 1
    assert [event.account_tree for event in seen] == [("root",)]


async def test_publish_raises_when_the_bus_closes_during_the_look_up(make_event):
    bus = edr.Bus(accounts=Accounts())
    publishing = asyncio.create_task(bus.publish(make_event(account_id="a"), resolve=True))
    await asyncio.sleep(0)
    await bus.aclose()

    with pytest.raises(edr.BusClosedError):
        await publishing


async def test_subscription_made_during_the_look_up_does_not_receive_the_event(make_event):
    async with edr.Bus(accounts=Accounts()) as bus, bus.subscribe() as early:
        publishing = asyncio.create_task(bus.publish(make_event(account_id="a"), resolve=True))
        await asyncio.sleep(0)
        async with bus.subscribe() as late:
            assert await publishing == 1
            assert (len(early.take()), len(late.take())) == (1, 0)


async def test_publish_all_of_the_module_uses_the_default_bus(make_event):
    async with edr.subscribe() as events:
        assert await edr.publish_all([make_event()]) == await edr.publish(make_event()) == 1
        assert len(events.take()) == 2
    await edr.default_bus().aclose()
