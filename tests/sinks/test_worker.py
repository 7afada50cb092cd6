"""The worker of a sink: batches, retries, refusals, commands, the end."""

import asyncio

from support.sinks import FailingSink, MemorySink

from edr.sinks import (
    Batch,
    RefusedError,
    RejectError,
    Retry,
    RetryError,
    SinkState,
)


async def until(condition, turns=100_000):
    """Wait for a condition in virtual time, an hour at most."""
    for _ in range(turns):
        if condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not happen")


def test_events_are_delivered_in_order(in_rig):
    async def scenario(rig):
        sink = MemorySink()
        worker = rig.worker(sink)
        await worker.start()
        rig.emit(*range(10))
        await until(lambda: len(sink.delivered) == 10)
        return sink.calls

    assert in_rig(scenario) == [[n] for n in range(10)]


def test_a_failed_batch_is_sent_again_whole(in_rig):
    async def scenario(rig):
        sink = MemorySink(RetryError("away"), OSError("reset"), None)
        worker = rig.worker(sink, batch=Batch(events=10))
        await worker.prepare()
        rig.emit(1, 2, 3)
        await worker.start()
        await until(lambda: sink.delivered == [1, 2, 3])
        return sink.calls

    assert in_rig(scenario) == [[1, 2, 3]] * 3


def test_an_event_is_not_acknowledged_before_it_is_delivered(in_rig):
    async def scenario(rig):
        sink = MemorySink()
        sink.hold()
        worker = rig.worker(sink, batch=Batch(events=10))
        await worker.start()
        rig.emit(1, 2)
        await sink.is_writing.wait()
        acked = list(rig.log.acked)
        await worker.aclose()
        return acked, rig.log.acked, sink.cancelled

    assert in_rig(scenario) == ([], [], 1)


def test_a_refused_batch_is_sent_one_by_one_once(in_rig):
    def refuse(batch):
        return RejectError("bad") if any(event.body["n"] == 2 for event in batch) else None

    async def scenario(rig):
        sink = MemorySink(*[refuse] * 10)
        worker = rig.worker(sink, batch=Batch(events=10))
        await worker.prepare()
        rig.emit(1, 2, 3)
        await worker.start()
        await until(lambda: sink.delivered == [1, 3])
        return sink.calls, rig.dead()

    assert in_rig(scenario) == ([[1, 2, 3], [1], [2], [3]], [(2, "bad")])


def test_a_refusing_sink_is_opened_again_every_60_seconds(in_rig):
    async def scenario(rig):
        sink = MemorySink(open_faults=[RefusedError("no such folder")] * 2)
        worker = rig.worker(sink)
        await worker.start()
        rig.emit(1)
        await asyncio.sleep(59)
        seen = [worker.state, sink.opened]
        await asyncio.sleep(62)
        return [*seen, worker.state, sink.opened, sink.delivered]

    assert in_rig(scenario) == [SinkState.REFUSED, 1, SinkState.RUNNING, 3, [1]]


def test_a_hanging_write_is_sent_again_after_the_timeout(in_rig):
    async def scenario(rig):
        sink = MemorySink()
        sink.hold()
        worker = rig.worker(sink, timeout=30)
        await worker.start()
        rig.emit(1)
        await sink.is_writing.wait()
        await asyncio.sleep(31)
        sink.release()
        await until(lambda: sink.delivered)
        return sink.cancelled, sink.calls, worker.statistics().error

    assert in_rig(scenario) == (1, [[1], [1]], "no answer within 30 s")


def test_a_drain_delivers_what_was_emitted_before(in_rig):
    async def scenario(rig):
        sink = MemorySink()
        worker = rig.worker(sink)
        await worker.start()
        rig.emit(*range(20))
        left = await worker.drain(10)
        return left, sink.delivered, sink.closed, worker.state

    assert in_rig(scenario) == (0, list(range(20)), 1, SinkState.STOPPED)


def test_a_drain_does_not_wait_for_a_durable_sink_that_is_away(in_rig):
    async def scenario(rig):
        worker = rig.worker(FailingSink(RetryError("away")), retry=Retry(base=60))
        await worker.start()
        rig.emit(1, 2)
        await until(lambda: worker.state is SinkState.RETRYING)
        before = asyncio.get_running_loop().time()
        left = await worker.drain(100)
        return left, asyncio.get_running_loop().time() - before < 1

    assert in_rig(scenario) == (2, True)
