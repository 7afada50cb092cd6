"""Clients of a bus: they do not disturb it, and they end with it."""

import pytest
from support.stream_clients import Calls, numbers, take_all, turns

from edr import Binding, Bus, BusClosedError, InvalidBindingError
from edr.streams import Grant, Streams

APP = Binding(app_name="app")


async def test_clients_are_not_subscriptions(bus, emit):
    streams = Streams(bus, history=True)
    place = streams.join(on_ready=print)

    assert await emit(1) == 0
    assert bus.subscriptions() == ()
    assert await bus.join() == {}
    assert numbers(place.take()) == [1]


async def test_drain_does_not_wait_for_clients(make_event):
    bus = Bus()
    place = Streams(bus).join(on_ready=print)
    bus.publish_nowait(make_event(body={"n": 1}))

    assert await bus.drain() == {}
    assert numbers(place.take()) == [1]
    assert place.take() == (None, [], True)


def interest(bus):
    keys = []
    bus.watch_interest(lambda key, wanted: keys.append((key.app_name, wanted)))
    return keys


async def test_clients_do_not_count_as_interest(bus):
    keys = interest(bus)
    streams = Streams(bus, history=True)
    streams.leave(streams.join(APP, on_ready=print))

    assert keys == []


async def test_wanted_counts_as_interest_until_the_last_client_leaves(bus, publish):
    keys = interest(bus)
    streams = Streams(bus)
    places = [streams.join(APP, on_ready=print, wanted=wanted) for wanted in (False, True, True)]
    assert keys == [("app", True)]
    streams.leave(places[1])
    assert keys == [("app", True)]
    streams.leave(places[2])
    assert keys == [("app", True), ("app", False)]
    publish(1)

    assert numbers(places[0].take()) == [1]


async def test_interest_is_narrowed_to_the_grant(bus):
    keys = []
    bus.watch_interest(lambda key, _: keys.append((key.account_id, key.include_descendants)))
    Streams(bus).join(APP, on_ready=print, grant=Grant("a"), wanted=True)

    assert keys == [("a", True)]


async def test_history_holds_events_without_a_client(bus, publish, read):
    streams = Streams(bus, history=True)
    publish(1, 2, verbosity="trace")

    assert streams.history
    assert (await read(streams, last=5))[1] == [1, 2]


async def test_clients_with_the_same_bindings_share_a_group(bus):
    streams = Streams(bus)
    for grant in (None, Grant.everything(), Grant("a"), Grant("a", expires="soon")):
        streams.join(APP, Binding(), on_ready=print, grant=grant)
        streams.join(Binding(), APP, on_ready=print, grant=grant)

    assert (streams.statistics().places, streams.statistics().groups) == (8, 2)


async def test_withheld_events_are_counted(bus, publish):
    streams = Streams(bus)
    place = streams.join(Binding(account_id="x"), on_ready=print, grant=Grant("a"))
    publish(1, account_id="x")
    publish(2, account_id="x", account_tree=("a",))

    assert numbers(place.take()) == [2]
    assert streams.statistics().withheld == 1


@pytest.mark.parametrize("end", ["aclose", "drain", "close"])
async def test_streams_end_with_the_bus(make_event, end):
    bus = Bus()
    streams = Streams(bus)
    calls = Calls()
    idle, behind = streams.join(on_ready=calls), streams.join(on_ready=calls)
    assert idle.take() == (None, [], False)
    bus.publish_nowait(make_event(body={"n": 1}))
    assert take_all(idle) == [1]
    await turns()
    calls.count = 0
    streams.close() if end == "close" else await getattr(bus, end)()
    await turns()

    assert calls.count == 1
    assert idle.take() == (None, [], True)
    assert numbers(behind.take()) == [1]
    assert behind.take() == (None, [], True)
    assert streams.closed
    with pytest.raises(BusClosedError):
        streams.join(on_ready=print)
    streams.leave(idle)
    streams.close()
    await bus.aclose()


async def test_closed_streams_leave_nothing_in_the_bus(bus, emit):
    keys = interest(bus)
    streams = Streams(bus, history=True)
    place = streams.join(APP, on_ready=print, wanted=True)
    streams.close()
    streams.leave(place)
    await emit(1)

    assert bus.services == ()
    assert streams.statistics().position == 0
    assert keys == [("app", True), ("app", False)]


async def test_left_place_has_ended(bus, publish):
    streams = Streams(bus)
    calls = Calls()
    place = streams.join(on_ready=calls)
    place.take()
    publish(1)
    streams.leave(place)
    streams.leave(place)
    await turns()

    assert calls.count == 0
    assert place.take() == (None, [], True)
    assert place.cursor


async def test_statistics_count_records_and_gaps(bus, publish):
    streams = Streams(bus, size=2)
    place = streams.join(on_ready=print)
    publish(1, 2, 3)
    place.take()
    counts = streams.statistics()

    assert (counts.sent, counts.missed, counts.gaps, counts.events) == (2, 1, 1, 2)
    assert (counts.position, counts.places, counts.idle_groups) == (3, 1, 0)
    assert 0 < counts.bytes < 1000


@pytest.mark.parametrize("options", [{"size": 0}, {"size": True}, {"bytes": -1}, {"bytes": 1.5}])
async def test_wrong_options_are_refused(bus, options):
    with pytest.raises((TypeError, ValueError), match="must be"):
        Streams(bus, **options)


async def test_wrong_arguments_of_join_change_nothing(bus):
    streams = Streams(bus)
    with pytest.raises(InvalidBindingError):
        streams.join("app", on_ready=print)
    with pytest.raises(ValueError, match="last must be at least 0"):
        streams.join(on_ready=print, last=-1)

    assert streams.statistics().groups == 0
    assert bus.services == ()


async def test_start_and_drain_are_those_of_a_service(bus):
    streams = Streams(bus)
    await streams.start()

    assert await streams.drain() == 0
    await streams.aclose()
    assert streams.closed


async def test_rebind_of_a_current_client_has_no_gap(bus, publish):
    streams = Streams(bus)
    place = streams.join(APP, on_ready=print)
    publish(1)
    publish(2, app_name="other")
    assert numbers(place.take()) == [1]
    streams.rebind(place, Binding(app_name="other"))
    publish(3)
    publish(4, app_name="other")

    assert take_all(place) == [4]
    assert place.bindings == (Binding(app_name="other"),)
    assert (streams.statistics().places, streams.statistics().idle_groups) == (1, 1)


async def test_rebind_of_a_client_that_lags_continues_at_its_cursor(bus, publish):
    streams = Streams(bus, history=True)
    place = streams.join(APP, on_ready=print)
    publish(1, 2)
    publish(3, app_name="other")
    assert numbers(place.take(1)) == [1]
    streams.rebind(place)
    await turns()

    assert take_all(place) == [2, 3]


async def test_rebind_keeps_interest_without_a_break(bus):
    keys = interest(bus)
    streams = Streams(bus)
    place = streams.join(APP, on_ready=print, wanted=True)
    streams.rebind(place, APP, Binding(app_name="b"))
    streams.leave(place)

    assert keys == [("app", True), ("b", True), ("app", False), ("b", False)]


async def test_rebind_to_the_same_bindings_changes_nothing(bus, publish):
    streams = Streams(bus)
    place = streams.join(APP, on_ready=print)
    publish(1)
    streams.rebind(place, APP)

    assert take_all(place) == [1]


async def test_rebind_after_leave_is_refused(bus):
    streams = Streams(bus)
    place = streams.join(APP, on_ready=print)
    streams.leave(place)

    with pytest.raises(ValueError, match="must not have left"):
        streams.rebind(place)


async def test_rebind_of_a_waiting_client_still_calls_it(bus, publish):
    streams = Streams(bus, history=True)
    publish(1, app_name="b")
    calls = Calls()
    place = streams.join(APP, on_ready=calls)
    place.take()
    streams.rebind(place, Binding(app_name="b"))
    await turns()
    assert calls.count == 0
    publish(2, app_name="b")
    await turns()

    assert calls.count == 1
    assert take_all(place) == [2]


@pytest.mark.parametrize("history", [True, False])
async def test_bindings_of_the_streams_limit_each_client(bus, publish, read, history):
    streams = Streams(bus, Binding(app_name="shown"), history=history)
    place, _ = await read(streams)
    publish(1)
    publish(2, app_name="shown")

    assert take_all(place) == [2]


async def test_find_returns_the_event_of_a_cursor(bus, make_event):
    streams = Streams(bus, size=2, history=True)
    events = [make_event("app") for _ in range(3)]
    for event in events:
        bus.publish_nowait(event)
    found = [streams.find(f"{streams.id}-{n}") for n in range(5)]
    assert found == [None, None, *events[1:], None]
    assert streams.find("other-2") is None


async def test_find_returns_the_event_as_the_client_may_see_it(bus, make_event):
    streams = Streams(bus, history=True)
    bus.publish_nowait(make_event("app", account_id="leaf", account_tree=["root", "branch"]))
    cursor = f"{streams.id}-1"
    assert streams.find(cursor, grant=Grant("branch")).account_tree == ("branch",)
    assert streams.find(cursor, grant=Grant("other")) is None
