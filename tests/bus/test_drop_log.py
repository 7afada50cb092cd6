"""Every loss is said, once, with a name: the first at once, then summaries."""

import asyncio

import pytest
from support.shuffled_loop import run

import edr
from edr.bus import drop_log

ARGS = ("app", "1", "ok", "info", {"n": 1})


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest"])
def test_the_first_loss_is_said_at_once_then_sums_and_the_rest_when_the_storm_ends(
    caplog, overflow
):
    async def scenario():
        async with edr.Bus() as bus:
            slow = bus.subscribe(name="slow", capacity=2, overflow=overflow)
            for _ in range(1005):
                await bus.emit(*ARGS)
            assert len(caplog.messages) == 1
            await asyncio.sleep(drop_log.INTERVAL + 1)
            assert len(caplog.messages) == 2
            await bus.emit(*ARGS)
            await asyncio.sleep(3 * drop_log.INTERVAL)
            assert len(caplog.messages) == 3
            await bus.emit(*ARGS)
            await slow.aclose()

    run(scenario)
    first, storm, late, after_the_storm = caplog.messages
    assert first.startswith(
        "subscription 'slow' dropped an event (overflow): its queue of 2 is full"
    )
    assert storm == "events were dropped since the last line: 'slow' 1002 (overflow)"
    assert late == "events were dropped since the last line: 'slow' 1 (overflow)"
    assert after_the_storm.startswith("subscription 'slow' dropped an event")


def test_the_rest_of_a_storm_is_said_when_its_subscription_ends(caplog):
    async def scenario():
        async with edr.Bus() as bus:
            slow = bus.subscribe(name="slow", capacity=1, overflow="drop_newest")
            for _ in range(11):
                await bus.emit(*ARGS)
            await slow.aclose()

    run(scenario)
    assert caplog.messages[1:] == ["events were dropped since the last line: 'slow' 9 (overflow)"]


def test_a_fault_of_a_thousand_subscriptions_is_some_lines_and_a_sum(caplog):
    async def scenario():
        async with edr.Bus() as bus:
            held = [
                bus.subscribe(name=f"s{n}", capacity=1, overflow="drop_newest") for n in range(1000)
            ]
            for _ in range(3):
                await bus.emit(*ARGS)
            await asyncio.sleep(drop_log.INTERVAL + 1)
            for subscription in held:
                await subscription.aclose()

    run(scenario)
    assert len(caplog.messages) == drop_log.MAX_FIRST_DROPS + 1
    assert caplog.messages[-1].endswith(f"{1000 - drop_log.MAX_NAMES} other subscriptions 1970")


def test_a_subscriber_that_stalls_is_named_and_what_it_loses_is_summed_up(caplog):
    async def scenario():
        async with edr.Bus(stall_timeout=5) as bus:
            stuck = bus.subscribe(name="stuck", capacity=1)
            for _ in range(5):
                await bus.emit(*ARGS)
            await stuck.aclose()

    run(scenario)
    stalled, lost = caplog.messages
    assert stalled.startswith("subscription 'stuck' is stalled: it took nothing for 5 s")
    assert lost == "events were dropped since the last line: 'stuck' 4 (stalled)"
