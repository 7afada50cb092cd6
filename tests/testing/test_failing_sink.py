import math

import pytest

import edr
from edr.testing import FailingSink


@pytest.fixture(autouse=True)
def _quiet(caplog):
    """Its failures are logged, as those of any callback."""
    caplog.set_level("CRITICAL", logger="edr")


async def test_it_fails_as_often_as_told_and_takes_the_event_then(bus, emit):
    sink = FailingSink(failures=2)
    bus.bind(edr.Binding(), sink, retries=2, backoff=0)
    await emit(1)
    await bus.join()

    assert [event.body["n"] for event in sink.events] == [1]
    assert sink.calls == 3
    assert [info.statistics.retried for info in bus.subscriptions()] == [2]


async def test_a_sink_that_is_down_loses_the_event_and_one_that_is_back_takes_the_next(bus, emit):
    sink = FailingSink(failures=math.inf, error=ConnectionError("gone"))
    failures = []
    bus.bind(edr.Binding(), sink, "payload", on_error=lambda exc, event: failures.append(exc))
    await emit(1)
    await bus.join()
    sink.failures = 0
    await emit(2)
    await bus.join()

    assert [event.body["n"] for event in sink.events] == [2]
    assert failures == [sink.error]
    assert repr(sink) == "<FailingSink: 1 handled in 2 calls>"
