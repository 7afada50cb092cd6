"""A link as a sink, with a broker in memory."""

import pytest
from support.memory_link import Broker, MemoryLink

from edr.app.link_sink import LinkSink
from edr.links import LinkRefusedError
from edr.records import EVERY_EVENT
from edr.sinks import RejectError, RetryError


@pytest.fixture
def broker():
    return Broker()


@pytest.fixture
async def sink(broker):
    sink = LinkSink(
        lambda bus: MemoryLink(bus, broker, name="s", receives=False, send=(EVERY_EVENT,))
    )
    yield sink
    await sink.aclose()
    assert broker.connections <= 0


async def test_written_events_are_confirmed(sink, broker, make_event):
    await sink.open()
    await sink.write([make_event(body={"n": n}) for n in range(3)])

    assert broker.taken == [0, 1, 2]


async def test_a_refused_event_is_rejected_with_the_words_of_the_broker(sink, broker, make_event):
    broker.refuses = {1}
    await sink.open()
    with pytest.raises(RejectError, match="the broker does not like it"):
        await sink.write([make_event(body={"n": 1})])
    await sink.write([make_event(body={"n": 2})])

    assert broker.taken == [2]


async def test_a_broker_that_is_away_is_reported(sink, broker):
    broker.is_away = True

    with pytest.raises(RetryError, match="nobody is there"):
        await sink.open()


async def test_a_link_that_is_refused_is_reported(sink, broker):
    broker.refusal = "no such user"

    with pytest.raises(LinkRefusedError, match="no such user"):
        await sink.open()
