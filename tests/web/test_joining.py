import asyncio

import pytest

import edr
from edr.streams import Grant, Streams
from edr.testing import run
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


def test_journal_that_does_not_answer_is_a_refusal():
    async def main():
        async with edr.Bus() as bus:
            streams = Streams(bus, history=True)
            bus.emit_nowait("app", "1", "ok", "info", {})
            wanted = StreamRequest(last=1)  # needs a turn of the loop
            place = join(streams, wanted, Grant("a"), print, is_interest=False)
            with pytest.raises(RefusedError) as caught:
                await first_take(place, asyncio.Event().wait, 1000)
            return caught.value, asyncio.get_running_loop().time()

    refusal, took = run(main)
    assert (refusal.code, took) == ("journal_failed", pytest.approx(5))
