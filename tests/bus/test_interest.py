from support.consuming import take_ready

import edr
from edr.bus import parts_of
from edr.records import TrieKey


def wants(changes):
    return [(spot.app_name, spot.account_id, wanted) for spot, wanted in changes]


async def test_interest_is_told_as_subscriptions_come_and_go(bus):
    changes = []
    first = bus.subscribe(edr.Binding(app_name="a"))
    watch = bus.watch_interest(lambda spot, wanted: changes.append((spot, wanted)))
    second = bus.subscribe(edr.Binding(app_name=["a", "b"], account_id="x"))
    first.shutdown()
    watch.close()
    second.shutdown()

    assert wants(changes) == [
        ("a", None, True),
        ("a", "x", True),
        ("b", "x", True),
        ("a", None, False),
    ]


async def test_two_that_want_the_same_are_one_interest_whatever_their_body_patterns(bus):
    changes = []
    watch = bus.watch_interest(lambda *change: changes.append(change))
    plain = bus.subscribe(edr.Binding(app_name="a"))
    paused = bus.subscribe(edr.Binding(app_name="a", body={"status": ["paused"]}))
    plain.shutdown()

    assert wants(changes) == [("a", None, True)]
    assert [type(spot) for spot in watch.keys] == [TrieKey]
    paused.shutdown()
    assert watch.keys == ()


async def test_the_wants_of_the_one_who_asks_do_not_count(bus):
    own = bus.subscribe(edr.Binding(app_name="a"))
    watch = bus.watch_interest(lambda *_: None, exclude=own)

    assert watch.keys == ()
    own.rebind(edr.Binding(app_name="b"))
    assert watch.keys == ()


async def test_rebinding_tells_what_is_new_before_what_is_gone(bus):
    changes = []
    subscription = bus.subscribe(edr.Binding(app_name="a"))
    bus.watch_interest(lambda *change: changes.append(change))
    subscription.rebind(edr.Binding(app_name="b"))

    assert wants(changes) == [("a", None, True), ("b", None, True), ("a", None, False)]


async def test_what_comes_from_a_subscriptions_owner_does_not_go_back_to_it(bus, make_event):
    link, other = bus.subscribe(), bus.subscribe()
    taken = await bus.publish(make_event(body={"n": 1}), exclude=link)
    taken += bus.publish_nowait(make_event(body={"n": 2}), exclude=link)

    assert taken == 2
    assert (take_ready(link), take_ready(other)) == ([], [1, 2])


async def test_what_is_published_soon_waits_for_the_slow_one_without_its_publisher(bus, make_event):
    slow, quick = bus.subscribe(capacity=1), bus.subscribe()
    waits = [parts_of(bus).publisher.publish_soon(make_event(body={"n": n})) for n in range(3)]

    assert [wait is None for wait in waits] == [True, False, False]
    assert take_ready(quick) == [0, 1, 2]
    assert [(await anext(slow)).body["n"] for _ in range(3)] == [0, 1, 2]
    assert [await wait for wait in waits[1:]] == [1, 1]


async def test_what_is_published_soon_does_not_go_back_where_it_came_from(bus, make_event):
    link, other = bus.subscribe(), bus.subscribe()
    parts_of(bus).publisher.publish_soon(make_event(body={"n": 1}), link)

    assert (take_ready(link), take_ready(other)) == ([], [1])


async def test_closing_the_bus_gives_up_what_is_still_waited_for(bus, make_event):
    held = bus.subscribe(capacity=1)
    parts_of(bus).publisher.publish_soon(make_event())
    wait = parts_of(bus).publisher.publish_soon(make_event())
    await bus.aclose()

    assert wait.done()
    assert held.statistics().dropped == {"closed": 2}
