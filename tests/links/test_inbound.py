"""``Inbound``: each received event is published once, or counted with a reason."""

from datetime import UTC, datetime, timedelta

import pytest
from support.consuming import take_ready

from edr.delivery import FaultLog
from edr.links.inbound import Inbound
from edr.links.log import logger


@pytest.fixture
def log():
    return FaultLog("link 'x'", logger)


@pytest.fixture
def inbound(bus, log):
    return Inbound(bus, log)


async def test_inbound_refuses_an_event_above_max_body(bus, inbound, log, make_event):
    subscription = bus.subscribe()

    assert inbound.publish(make_event(body={"n": "x" * 300_000})) == "too_large"
    assert inbound.publish(make_event(body={"n": 2})) is None
    assert take_ready(subscription) == [2]
    assert inbound.refused == {"too_large": 1}
    assert "too_large: event" in log.last_error


async def test_inbound_publishes_a_repeated_event_once(bus, inbound, make_event):
    subscription = bus.subscribe()
    event = make_event(body={"n": 1})

    assert (inbound.publish(event), inbound.publish(event)) == (None, None)
    assert take_ready(subscription) == [1]
    assert (inbound.delivered, inbound.duplicates) == (1, 1)


async def test_inbound_does_not_publish_on_the_own_subscription(bus, inbound, make_event):
    own, other = bus.subscribe(), bus.subscribe()
    inbound.exclude = own
    inbound.publish(make_event(body={"n": 1}))

    assert (take_ready(own), take_ready(other)) == ([], [1])


async def test_inbound_measures_a_clock_that_is_ahead(inbound, make_event):
    now, minute = datetime.now(UTC), timedelta(seconds=60)
    inbound.publish(make_event(timestamp=now - minute))
    assert inbound.skew == 0.0

    inbound.publish(make_event(timestamp=now + minute))
    inbound.publish(make_event(timestamp=now))
    assert inbound.skew == pytest.approx(60, abs=5)


async def test_inbound_of_a_closed_bus_counts_closed(bus, inbound, make_event):
    await bus.aclose()

    assert inbound.publish(make_event()) == "closed"
    assert (inbound.delivered, inbound.refused) == (0, {"closed": 1})
