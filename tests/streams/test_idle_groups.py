"""A group stays for a while after its last client."""

import asyncio

from support.shuffled_loop import run
from support.stream_clients import take_all, turns

from edr import Binding, Bus, Event
from edr.streams import Streams

APP = Binding(app_name="app")


def publish(bus, n, app_name="app"):
    bus.publish_nowait(
        Event(app_name=app_name, app_version="1", severity="ok", verbosity="info", body={"n": n})
    )


def returning_after(seconds, **options):
    async def scenario():
        bus = Bus()
        streams = Streams(bus, **options)
        place = streams.join(APP, on_ready=print)
        cursor = place.cursor
        streams.leave(place)
        await asyncio.sleep(seconds)
        publish(bus, 1)
        place = streams.join(APP, on_ready=print, after=cursor)
        await turns()
        seen = take_all(place)
        await bus.aclose()
        return seen

    return run(scenario)


def test_client_that_returns_soon_misses_nothing():
    assert returning_after(59) == [1]


def test_client_that_returns_late_is_told_so():
    assert returning_after(61) == [(None, "expired")]


def test_client_that_returns_late_misses_nothing_with_history():
    assert returning_after(61, history=True) == [1]


def test_group_whose_client_returned_does_not_expire():
    async def scenario():
        bus = Bus()
        streams = Streams(bus)
        streams.leave(streams.join(APP, on_ready=print))
        await asyncio.sleep(30)
        place = streams.join(APP, on_ready=print)
        await asyncio.sleep(50)
        publish(bus, 1)
        seen, groups = take_all(place), streams.statistics().groups
        streams.leave(place)
        await asyncio.sleep(59)
        assert streams.statistics().idle_groups == 1
        await asyncio.sleep(2)
        assert streams.statistics().groups == 0
        await bus.aclose()
        return seen, groups

    assert run(scenario) == ([1], 1)


async def test_only_the_newest_idle_groups_stay(bus):
    streams = Streams(bus)
    for n in range(600):
        streams.leave(streams.join(Binding(app_name=f"app {n}"), on_ready=print))

    assert streams.statistics().groups == streams.statistics().idle_groups == 64
    place = streams.join(Binding(app_name="app 599"), on_ready=print)
    assert streams.statistics().idle_groups == 63
    assert place.cursor


async def test_groups_that_left_have_no_tap(bus):
    streams = Streams(bus)
    for n in range(65):
        streams.leave(streams.join(Binding(app_name=f"app {n}"), on_ready=print))
    publish(bus, 1, "app 0")
    publish(bus, 2, "app 64")

    assert streams.statistics().events == 1
