import json

import pytest
from support.stream_clients import Calls, turns

from edr.streams import Grant, Streams
from edr.web.blackhole.event_frames import EventFrames
from edr.web.blackhole.keys import Key
from edr.web.blackhole.replies import NOT_SUBSCRIBED, RequestError
from edr.web.blackhole.subscriptions import Subscriptions
from edr.web.merging import Gap

ALL, ACDC = Key.of_parts(("ok", "info", "*")), Key.of_parts(("ok", "info", "acdc"))
FATAL = Key.of_parts(("critical", "fatal", "*"))


@pytest.fixture
def make(bus):
    def make(grant=None, *, limit=16, size=1000, batch=65_536):
        return Subscriptions(
            Streams(bus, size=size),
            grant or Grant.everything(),
            EventFrames(),
            limit=limit,
            batch=batch,
            on_ready=Calls(),
        )

    return make


def read(subscriptions):
    return [
        (frame.subscription.text, json.loads(frame.text)["data"]["body"].get("n"))
        for frame in subscriptions.take() or []
    ]


async def test_event_is_sent_once_for_each_matching_subscription(make, emit):
    subscriptions = make()
    for key in (ALL, ACDC, FATAL):
        subscriptions.add("*", key)

    await emit(1, "acdc")

    assert read(subscriptions) == [(str(ALL), 1), (str(ACDC), 1)]
    assert read(subscriptions) == []


async def test_frames_are_in_the_order_of_the_events(make, emit):
    subscriptions = make()
    subscriptions.add("*", FATAL)
    subscriptions.add("*", ACDC)

    await emit(1, "acdc")
    await emit(2, "other", "critical", "fatal")
    await emit(3, "acdc")

    assert [n for _, n in read(subscriptions)] == [1, 2, 3]


async def test_event_outside_the_grant_is_not_taken(make, emit):
    subscriptions = make(Grant("reseller"))
    subscriptions.add("branch", ALL)
    subscriptions.add("other", ALL)

    await emit(1, account_id="branch")
    await emit(2, account_id="other")

    assert [n for _, n in read(subscriptions)] == [1]


async def test_subscription_is_to_one_account_without_those_below(make, emit):
    subscriptions = make(Grant("reseller"))
    subscriptions.add("reseller", ALL)

    await emit(1, account_id="reseller")
    await emit(2, account_id="branch")

    assert [n for _, n in read(subscriptions)] == [1]


async def test_second_equal_subscription_changes_nothing(make, emit):
    subscriptions = make()
    subscriptions.add("branch", FATAL)
    subscriptions.add("branch", FATAL)

    assert len(subscriptions) == 1
    assert [(each.account_id, each.text) for each, _ in subscriptions.places] == [
        ("branch", "edr.critical.fatal.*")
    ]
    subscriptions.remove("branch", FATAL)
    assert subscriptions.keys == []


async def test_removed_subscription_receives_nothing(make, bus, emit):
    changes = []
    bus.watch_interest(lambda _, wanted: changes.append(wanted))
    subscriptions = make()
    subscriptions.add("branch", ALL)
    await emit(1, account_id="branch")

    subscriptions.remove("branch", ALL)
    await emit(2, account_id="branch")

    assert subscriptions.take() is None
    assert changes[-1] is False


async def test_key_is_repeated_for_each_expanded_key(make):
    subscriptions = make()
    subscriptions.add("a", Key.of_parts(("critical", "error", "acdc")))
    subscriptions.add("a", FATAL)

    assert subscriptions.keys == ["edr.critical.error.acdc"] * 2 + ["edr.critical.fatal.*"]


async def test_frames_that_were_taken_become_inactive_with_their_subscription(make, emit):
    subscriptions = make()
    subscriptions.add("*", ALL)
    subscriptions.add("*", ACDC)
    await emit(1, "acdc")

    frames = subscriptions.take()
    subscriptions.remove("*", ALL)

    assert [frame.subscription.is_active for frame in frames] == [False, True]


async def test_only_own_subscriptions_can_be_removed(make):
    mine, theirs = make(), make()
    theirs.add("branch", ALL)

    with pytest.raises(RequestError, match=NOT_SUBSCRIBED):
        mine.remove("branch", ALL)
    assert len(theirs) == 1


async def test_subscriptions_are_limited(make):
    subscriptions = make(limit=2)
    subscriptions.add("a", ALL)
    subscriptions.add("b", ALL)

    with pytest.raises(RequestError, match="at most 2"):
        subscriptions.add("c", ALL)
    subscriptions.add("b", ALL)


async def test_lag_beyond_the_window_is_a_gap(make, emit):
    subscriptions = make(size=3)
    subscriptions.add("*", ALL)
    for n in range(5):
        await emit(n)

    taken = subscriptions.take()

    assert isinstance(taken, Gap)
    assert taken.missed.count == 2


async def test_batch_is_bounded_and_nothing_is_lost(make, emit):
    subscriptions = make(batch=1000)
    subscriptions.add("*", ALL)
    for n in range(20):
        await emit(n)

    batches = []
    while batch := read(subscriptions):
        batches.append(batch)

    assert len(batches) > 5
    assert [n for batch in batches for _, n in batch] == list(range(20))


async def test_subscriptions_end_with_the_bus(make, bus, emit):
    subscriptions = make()
    subscriptions.add("*", ALL)
    await emit(1)

    await bus.aclose()
    await turns()

    assert not subscriptions.has_ended
    assert [n for _, n in read(subscriptions)] == [1]
    assert subscriptions.take() is None
    assert subscriptions.has_ended


async def test_subscriptions_count_as_interest_until_closed(make, bus):
    changes = []
    bus.watch_interest(lambda key, wanted: changes.append((key.app_name, wanted)))
    subscriptions = make()

    subscriptions.add("branch", ACDC)
    assert set(changes) == {("acdc", True)}

    subscriptions.close()
    assert set(changes) == {("acdc", True), ("acdc", False)}
    assert subscriptions.take() is None
