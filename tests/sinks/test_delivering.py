"""The steps of a delivery, and what a cancelled or failed one leaves."""

import asyncio
import logging
import threading
from types import SimpleNamespace

import pytest
from contracts.journal import event
from support.sinks import MemoryIntake, MemoryLog, MemorySink

import edr
from edr.delivery import FaultLog
from edr.sinks import Batch, DeadLetters, RejectError, Retry, RetryError
from edr.sinks.alerts import Alerts
from edr.sinks.collecting import Collector
from edr.sinks.delivering import Delivery, Step
from edr.sinks.guarded_sink import GuardedSink
from edr.sinks.health import Health
from edr.sinks.settling import Settlement

RARE = edr.Binding(app_name="rare")


def parts(sink, letters, batch=1):
    """Return a delivery of the events 1, 2, 3 to ``sink``, and its parts."""
    log = FaultLog("sink 's'", logging.getLogger("edr.sinks"))
    alerts = Alerts(None, "sink", "s", log)
    intake = MemoryIntake(MemoryLog())
    intake.log.put(event(1), event(2, "rare"), event(3))
    settlement = Settlement("s", intake, letters, alerts, log)
    health = Health(Retry(), alerts, log)
    collector = Collector(intake, Batch(events=batch), settlement.missed, alerts.is_own)
    delivery = Delivery(intake, collector, settlement, health, log)
    guarded = GuardedSink(sink, 30.0, health, log)
    return SimpleNamespace(
        advance=lambda: delivery.advance(guarded),
        delivery=delivery,
        intake=intake,
        settlement=settlement,
    )


@pytest.fixture
def letters(tmp_path):
    return DeadLetters(tmp_path / "s.jsonl")


async def deliver(parts):
    """Do steps until the delivery is idle and has no event to wait for."""
    while await parts.advance() is Step.DONE or parts.intake.behind():
        if not parts.delivery.held and parts.intake.behind():
            await parts.delivery.collect()


def test_a_delivery_opens_collects_and_sends(letters):
    async def scenario():
        sink = MemorySink()
        it = parts(sink, letters)
        steps = [await it.advance(), await it.advance()]
        await it.delivery.collect()
        steps.append(await it.advance())
        return steps, sink.opened, sink.delivered

    assert asyncio.run(scenario()) == ([Step.DONE, Step.IDLE, Step.DONE], 1, [1])


def test_a_delivery_ends_with_its_intake(letters):
    async def scenario():
        it = parts(MemorySink(), letters)
        it.intake.end()
        await deliver(it)
        await it.delivery.collect()
        return await it.advance(), it.intake.log.delivered

    assert asyncio.run(scenario()) == (Step.ENDED, [1, 2, 3])


def test_a_failed_batch_is_the_next_thing_to_send(letters):
    async def scenario():
        sink = MemorySink(RetryError("503"))
        it = parts(sink, letters, batch=3)
        await it.advance()
        await it.delivery.collect()
        with pytest.raises(RetryError):
            await it.advance()
        held = it.delivery.held
        await it.advance()
        return held, sink.calls, it.delivery.held

    assert asyncio.run(scenario()) == (3, [[1, 2, 3]] * 2, 0)


def test_refused_entries_are_stored_before_the_next_batch(letters):
    async def scenario():
        sink = MemorySink(RejectError("bad"))
        it = parts(sink, letters)
        await deliver(it)
        return sink.delivered, [each.position for each in letters.read()], it.intake.log.acked

    assert asyncio.run(scenario()) == ([2, 3], [1], [1, 2, 3])


def test_entries_that_no_binding_matches_are_acknowledged(letters):
    async def scenario():
        sink = MemorySink()
        it = parts(sink, letters, batch=3)
        await it.advance()
        await it.delivery.collect()
        await it.intake.rebind(RARE)
        it.delivery.rebound()
        it.delivery.drop_unmatched()
        dropped = list(it.intake.log.acked)
        await it.advance()
        return dropped, sink.delivered

    assert asyncio.run(scenario()) == ([1, 3], [2])


def test_letters_are_repeated_once(letters):
    async def scenario():
        sink = MemorySink(RejectError("bad"))
        it = parts(sink, letters)
        await deliver(it)
        counts = [it.delivery.repeat(letters.read()) for _ in range(2)]
        await deliver(it)
        return counts, sink.delivered, list(letters.read())

    assert asyncio.run(scenario()) == ([1, 0], [2, 3, 1], [])


def test_a_step_that_is_cancelled_after_its_delivery_loses_no_batch(letters):
    """Its batch is settled and empty, and must not stay the present one."""

    class SlowLetters(DeadLetters):
        may_end = threading.Event()

        def remove(self, is_removed):
            self.may_end.wait(10)
            return super().remove(is_removed)

    async def scenario():
        sink = MemorySink(RejectError("bad"))
        it = parts(sink, SlowLetters(letters.path))
        await deliver(it)
        it.delivery.repeat(letters.read())
        sending = asyncio.ensure_future(it.advance())
        while len(sink.delivered) < 3:
            await asyncio.sleep(0)
        sending.cancel()
        SlowLetters.may_end.set()
        await asyncio.wait({sending})
        it.intake.log.put(event(4))
        await it.delivery.collect()
        await deliver(it)
        return sending.cancelled(), sink.delivered

    assert asyncio.run(scenario()) == (True, [2, 3, 1, 4])
