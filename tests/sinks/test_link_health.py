"""The health of a link, in virtual time."""

import asyncio

from support.shuffled_loop import run
from support.sinks import RecordedAlerts

from edr.delivery import ConnectionState
from edr.sinks import SinkState
from edr.sinks.link_health import LinkHealth

UP, DOWN = ConnectionState.UP, ConnectionState.CONNECTING
WORKS = {"delivered": 0, "backlog": 0, "last_error": None}
WAITS = {"delivered": 0, "backlog": 5, "last_error": None}


def in_health(scenario):
    """Run ``scenario(health, troubles)`` with the health of a link that has started."""

    async def main():
        alerts = RecordedAlerts()
        health = LinkHealth(alerts)
        health.started()
        return await scenario(health, alerts.troubles)

    return run(main)


def test_a_link_is_starting_until_it_was_up_or_has_failed():
    async def scenario(health, troubles):
        states = [health.state(DOWN, None), health.state(DOWN, "refused")]
        health.look(UP, WORKS, SinkState.RUNNING)
        return [*states, health.state(UP, None), health.state(DOWN, None)]

    assert in_health(scenario) == [
        SinkState.STARTING,
        SinkState.RETRYING,
        SinkState.RUNNING,
        SinkState.RETRYING,
    ]


def test_a_link_that_delivers_nothing_for_60_seconds_is_stuck():
    async def scenario(health, troubles):
        await asyncio.sleep(59)
        health.look(UP, WAITS, SinkState.RUNNING)
        early = health.state(UP, None), list(troubles)
        await asyncio.sleep(2)
        state = health.state(UP, None)
        health.look(UP, WAITS, state)
        return early, state, troubles

    assert in_health(scenario) == (
        (SinkState.RUNNING, []),
        SinkState.STUCK,
        [("critical", "stuck", "no delivery for 60 s")],
    )


def test_each_delivery_starts_the_60_seconds_again():
    async def scenario(health, troubles):
        for delivered in range(1, 10):
            await asyncio.sleep(40)
            health.look(UP, {**WAITS, "delivered": delivered}, SinkState.RUNNING)
        return health.state(UP, None), set(troubles)

    assert in_health(scenario) == (SinkState.RUNNING, {"recovered"})


def test_an_outage_of_60_seconds_is_a_warning_with_the_last_error():
    async def scenario(health, troubles):
        await asyncio.sleep(61)
        health.look(DOWN, {**WORKS, "last_error": "no route"}, SinkState.RETRYING)
        return troubles

    assert in_health(scenario) == [("warning", "retrying", "no route")]
