"""One emit has one position for all groups, whatever is emitted within it."""

import pytest
from support.stream_clients import Calls, numbers, take_all, turns

from edr import Binding
from edr.streams import Streams

EVERYTHING = Binding.everything()
APP = Binding(app_name="app")


def joined(streams, *bindings):
    return streams.join(*bindings, on_ready=Calls())


def positions(place):
    return [(each.event.body["n"], each.position) for each in place.take().records]


async def test_groups_share_the_position_of_an_emit(bus, publish):
    streams = Streams(bus)
    places = [joined(streams, EVERYTHING), joined(streams, APP), joined(streams, Binding())]
    publish(1, 2)

    assert len({tuple(positions(place)) for place in places}) == 1
    assert streams.statistics().events == 2


async def test_event_object_published_twice_has_two_positions(bus, make_event):
    streams = Streams(bus)
    places = [joined(streams, EVERYTHING), joined(streams, APP)]
    event, other = make_event(body={"n": 1}), make_event(body={"n": 2})
    for each in (event, event, other, event):
        bus.publish_nowait(each)

    first, second = map(positions, places)
    assert first == second
    assert [n for n, _ in first] == [1, 1, 2, 1]
    assert len(dict(map(reversed, first))) == 4


class Reemits:
    """A tap that publishes within an emit."""

    def __init__(self, bus, events):
        self.bus, self.events = bus, events

    def offer(self, event):
        events, self.events = self.events, []
        for each in events:
            self.bus.publish_nowait(each)

    offer_nowait = offer


@pytest.mark.parametrize("same", [False, True], ids=["another event", "the same object"])
async def test_emit_within_an_emit_has_a_position_of_its_own(bus, make_event, same):
    streams = Streams(bus)
    outer = make_event(body={"n": 1})
    inner = outer if same else make_event(body={"n": 2})
    before = joined(streams, EVERYTHING)
    bus.add_tap(Reemits(bus, [inner]))
    after = [joined(streams, APP), joined(streams, Binding())]
    bus.publish_nowait(outer)

    seen = [positions(place) for place in (before, *after)]
    assert seen[0] == seen[1] == seen[2]
    assert len(seen[0]) == 2
    assert streams.statistics().events == 2


async def test_many_emits_within_an_emit_that_leave_the_window(bus, make_event):
    streams = Streams(bus, size=3)
    before = joined(streams, EVERYTHING)
    bus.add_tap(Reemits(bus, [make_event(body={"n": n}) for n in range(2, 8)]))
    after = joined(streams, APP)
    bus.publish_nowait(make_event(body={"n": 1}))

    for place in (before, after):
        (missed, reason), *seen = take_all(place)
        assert reason == "slow"
        assert missed + len(seen) == 7


async def test_group_that_was_added_between_has_only_later_positions(bus, make_event):
    streams = Streams(bus)
    event = make_event(body={"n": 1})
    first = joined(streams, EVERYTHING)
    bus.publish_nowait(event)
    second = joined(streams, APP)
    bus.publish_nowait(event)

    assert positions(first)[1:] == positions(second) != []


async def test_durable_and_excluded_emits_reach_groups(bus, make_event):
    streams = Streams(bus)
    place = joined(streams)
    subscription = bus.subscribe()
    await bus.publish(make_event(body={"n": 1}), exclude=subscription)
    await bus.emit("app", "1", "ok", "info", {"n": 2})

    assert numbers(place.take()) == [1, 2]


async def test_on_ready_is_called_once_after_an_empty_take(bus, publish):
    streams = Streams(bus)
    calls = Calls()
    place = streams.join(on_ready=calls)
    publish(1)
    await turns()
    assert calls.count == 0
    assert take_all(place) == [1]
    publish(2, 3)
    assert calls.count == 0
    await turns()
    publish(4)
    await turns()

    assert calls.count == 1
    assert take_all(place) == [2, 3, 4]


async def test_on_ready_that_raises_does_not_stop_others(bus, publish, caplog):
    streams = Streams(bus)
    calls = Calls()

    def fails():
        raise ValueError("no")

    for on_ready in (fails, calls):
        take_all(streams.join(on_ready=on_ready))
    publish(1)
    await turns()

    assert calls.count == 1
    assert "on_ready of a place in a stream failed: ValueError('no')" in caplog.text


async def test_place_that_leaves_in_a_callback_is_not_called(bus, publish):
    streams = Streams(bus)
    places = []

    def leave_all():
        calls.append(1)
        for place in places:
            streams.leave(place)

    calls = []
    for _ in range(3):
        places.append(streams.join(on_ready=leave_all))
        places[-1].take()
    publish(1)
    await turns()

    assert calls == [1]


async def test_log_of_a_group_ends_where_the_window_ends(bus, publish):
    streams = Streams(bus, size=10)
    place = joined(streams)
    publish(*range(5000))

    assert len(place.group.log.entries) < 300
    assert place.behind == 5000
    assert place.take().missed.count == 4990


async def test_event_that_has_no_json_is_reported_as_missed(bus, make_event, caplog):
    class Strange(type(make_event())):
        extra: object = None

    streams = Streams(bus)
    place = joined(streams)
    fields = make_event(body={"n": 2}).__dict__
    for event in (make_event(body={"n": 1}), Strange(**fields, extra=object())):
        bus.publish_nowait(event)
    bus.publish_nowait(make_event(body={"n": 3}))

    assert take_all(place) == [1, (1, "slow"), 3]
    assert "could not encode" in caplog.text


async def test_log_of_a_group_that_receives_nothing_is_trimmed(bus, publish):
    streams = Streams(bus, size=10)
    places = [
        joined(streams, APP),
        *(joined(streams, Binding(app_name=f"{n}")) for n in range(250)),
    ]
    publish(*range(5))
    publish(*range(5), app_name="7")
    joined(streams, Binding(app_name="other"))
    publish(*range(30), app_name="other")
    await turns()

    assert [len(place.group.log.entries) for place in places] == [0] * 251
    assert [place.behind for place in (places[0], places[8])] == [5, 5]
    assert take_all(places[0]) == [(5, "slow")]
