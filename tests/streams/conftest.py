import pytest
from support.stream_clients import Calls, take_all, turns


@pytest.fixture
def publish(bus, make_event):
    """Publish events with these numbers, of one app."""

    def publish(*ns, app_name="app", **fields):
        for n in ns:
            bus.publish_nowait(make_event(app_name, body={"n": n}, **fields))

    return publish


@pytest.fixture
def read():
    """Join, wait for the past, and take all."""

    async def read(streams, *bindings, **options):
        place = streams.join(*bindings, on_ready=Calls(), **options)
        await turns()
        return place, take_all(place)

    return read
