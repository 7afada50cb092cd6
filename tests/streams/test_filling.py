"""The log of a new group gets the events of the window, without a hole or a duplicate."""

import asyncio
from operator import is_

import pytest
from support.stream_clients import Calls, numbers, take_all, turns

from edr import Binding
from edr.streams import Streams, filling
from edr.streams.window import Window

APP = Binding(app_name="app")


async def test_past_is_available_after_some_turns(bus, publish):
    streams = Streams(bus, history=True)
    publish(*range(1200))
    calls = Calls()
    place = streams.join(APP, on_ready=calls, last=2000)
    assert place.filling
    assert place.take() == (None, [], False)
    await turns()

    assert not place.filling
    assert calls.count == 1
    assert take_all(place) == [*range(1200)]


async def test_events_are_tested_in_slices(bus, publish, monkeypatch):
    monkeypatch.setattr(filling, "SLICE", 10)
    streams = Streams(bus, history=True)
    publish(*range(100))
    places = [streams.join(APP, on_ready=print, last=5) for _ in range(2)]
    places.append(streams.join(Binding(), on_ready=print, last=5))
    await turns(8)
    assert [place.filling for place in places] == [True, True, True]
    await turns(6)
    assert [place.filling for place in places] == [False, False, True]
    await turns(10)

    assert [numbers(place.take()) for place in places] == [[*range(95, 100)]] * 3


async def test_events_during_filling_follow_the_past(bus, publish, monkeypatch):
    monkeypatch.setattr(filling, "SLICE", 3)
    streams = Streams(bus, history=True)
    publish(*range(10))
    place = streams.join(APP, on_ready=print, last=100)
    for n in range(10, 20):
        publish(n)
        await asyncio.sleep(0)

    assert take_all(place) == [*range(20)]


@pytest.mark.parametrize("size", [5, 10, 12])
async def test_events_that_leave_the_window_during_filling_are_counted(
    bus, publish, monkeypatch, size
):
    monkeypatch.setattr(filling, "SLICE", 2)
    streams = Streams(bus, size=size, history=True)
    publish(*range(5), app_name="other")
    publish(*range(5))
    place = streams.join(APP, on_ready=print, last=100)
    for n in range(5, 15):
        publish(n)
        await asyncio.sleep(0)

    gap, *seen = take_all(place)
    assert gap == (15 - size, "slow")
    assert seen == [*range(15 - size, 15)]


async def test_call_back_without_a_past(bus, publish):
    streams = Streams(bus, history=True)
    publish(1)
    calls = Calls()
    place = streams.join(Binding(app_name="never"), on_ready=calls, last=5)
    place.take()
    await turns()

    assert calls.count == 1
    assert place.take() == (None, [], False)


async def test_close_during_filling_still_gives_the_past(bus, publish):
    streams = Streams(bus, history=True)
    publish(1)
    place = streams.join(APP, on_ready=print, last=5)
    streams.close()
    await turns()

    assert numbers(place.take()) == [1]
    assert place.take().ended


async def test_group_without_clients_is_not_filled(bus, publish, monkeypatch):
    monkeypatch.setattr(filling, "SLICE", 2)
    streams = Streams(bus, history=True)
    publish(*range(1000))
    for n in range(50):
        streams.leave(streams.join(Binding(app_name=f"app{n}"), on_ready=print, last=5))
    place = streams.join(APP, on_ready=print, last=5)
    streams.leave(place)
    await turns(60)  # 1,000 events of 51 groups would take 25,500
    place = streams.join(APP, on_ready=print, last=5)
    monkeypatch.setattr(filling, "SLICE", 2000)
    await turns(2)

    assert take_all(place) == [*range(995, 1000)]


def test_groups_share_the_events_that_are_held(make_event):
    window = Window(1000, 2**20)
    held = filling._Held()  # shared memory has no other sign
    for _ in range(300):
        window.append(make_event())
    first = held.blocks(window)
    for _ in range(1000):
        window.append(make_event())
        second = held.blocks(window)

    assert first[0] is not second[0]
    assert all(map(is_, second, held.blocks(window)))
    assert [slot for block in second for slot, _ in block][-1000:] == list(window)
    assert sum(map(len, second)) < 1000 + filling.BLOCK


def test_held_events_end_with_those_of_the_window(make_event):
    window = Window(10, 2**20)
    held = filling._Held()
    window.append(make_event())
    held.blocks(window)
    window.clear(1_000_000)
    assert held.blocks(window) == []
    window.append(make_event())

    assert [len(block) for block in held.blocks(window)] == [1]
