"""The health of a sink: states, delays, alerts, in virtual time."""

import asyncio
import logging

from support.shuffled_loop import run
from support.sinks import RecordedAlerts

from edr.delivery import FaultLog
from edr.sinks import RefusedError, Retry, RetryError, SinkState
from edr.sinks.health import Health, text_of


def in_health(scenario, retry=None):
    """Run ``scenario(health, troubles)`` in virtual time, of a sink that is running."""

    async def main():
        alerts = RecordedAlerts()
        log = FaultLog("sink 's'", logging.getLogger("edr.sinks"))
        health = Health(retry or Retry(base=5, cap=5), alerts, log)
        health.started()
        health.enter(SinkState.RUNNING)
        try:
            return await scenario(health, alerts.troubles)
        finally:
            health.aclose()

    return run(main)


def test_a_failure_delays_the_next_attempt():
    async def scenario(health, troubles):
        health.failed(RetryError("503", after=30))
        until = health.wait_until
        await asyncio.sleep(29)
        health.waited()
        early = health.must_wait
        await asyncio.sleep(2)
        health.waited()
        return round(until - asyncio.get_running_loop().time()), early, health.must_wait

    assert in_health(scenario) == (-1, True, False)


def test_a_pause_has_no_end_of_its_own():
    async def scenario(health, troubles):
        health.failed(RetryError("503"))
        health.pause()
        paused = health.state, health.must_wait, health.wait_until
        health.resume()
        return paused, health.must_wait

    assert in_health(scenario) == ((SinkState.PAUSED, True, None), False)


def test_health_is_stuck_while_events_are_held_for_60_seconds():
    async def scenario(health, troubles):
        health.progressed(holds_events=True)
        await asyncio.sleep(61)
        stuck = health.state
        health.progressed(holds_events=False)
        return stuck, health.state, troubles

    assert in_health(scenario) == (
        SinkState.STUCK,
        SinkState.RUNNING,
        [("critical", "stuck", "no delivery for 60 s")],
    )


def test_each_progress_starts_the_60_seconds_again():
    async def scenario(health, troubles):
        for _ in range(10):
            health.progressed(holds_events=True)
            await asyncio.sleep(40)
        return health.state, troubles

    assert in_health(scenario) == (SinkState.RUNNING, [])


def test_a_refusal_is_reported_at_once():
    async def scenario(health, troubles):
        health.failed(RefusedError("no such folder"))
        return health.state, troubles

    assert in_health(scenario) == (
        SinkState.REFUSED,
        [("critical", "refused", "no such folder")],
    )


def test_a_stop_is_shown_until_the_end():
    async def scenario(health, troubles):
        health.pause()
        health.is_stopping = True
        stopping = health.state
        health.enter(SinkState.STOPPED)
        return stopping, health.state

    assert in_health(scenario) == (SinkState.STOPPING, SinkState.STOPPED)


def test_a_success_ends_the_count_of_attempts():
    async def scenario(health, troubles):
        for _ in range(3):
            health.failed(OSError("reset"))
        failed = health.attempt
        health.succeeded()
        return failed, health.attempt, health.retried, troubles

    assert in_health(scenario) == (3, 0, 3, ["recovered"])


def test_an_answer_of_the_sink_has_no_type_in_its_text():
    faults = [RetryError("503"), RefusedError("no"), OSError("reset"), ValueError()]

    assert [text_of(each) for each in faults] == ["503", "no", "OSError: reset", "ValueError"]
