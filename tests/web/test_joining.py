import pytest

import edr
from edr.streams import Grant, Streams
from edr.web.joining import first_take, join
from edr.web.refusals import RefusedError
from edr.web.requests import StreamRequest


async def fail():
    raise AssertionError("there was nothing to wait for")


async def test_closed_bus_is_a_refusal():
    bus = edr.Bus()
    streams = Streams(bus)
    await bus.aclose()
    with pytest.raises(RefusedError) as caught:
        join(streams, StreamRequest(), Grant("a"), print, is_interest=False)

    assert caught.value.status == 503


async def test_first_take_of_a_client_that_is_up_to_date_is_empty(bus):
    place = join(Streams(bus), StreamRequest(), Grant("a"), print, is_interest=False)

    assert (await first_take(place, fail, 1000)).records == []
