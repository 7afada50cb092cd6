"""What a ``SinkWorker`` does with every sink, on a journal on the disk.

Subclass ``SinkContract`` in a test module, with a fixture ``target``, which has:

``sink()``: a new sink for the receiver of this test, as after a restart of the process;
``received()``: the numbers of the events that the receiver has, in order, doubled ones too;
``fault(kind)``: a context manager in which the receiver fails: ``"away"`` for any write.
"""

import asyncio
from contextlib import asynccontextmanager

import pytest
from support.consuming import until

import edr
from contracts.journal import event
from edr.journal import SqliteJournal
from edr.sinks import (
    Batch,
    DeadLetters,
    JournalIntake,
    RejectError,
    Retry,
    SinkState,
    SinkWorker,
)

QUICK = Retry(base=0.01, cap=0.05)


class Poisoned:
    """A sink that passes events on, and rejects those whose ``poison`` is true."""

    def __init__(self, sink):
        self._sink = sink
        self.open, self.aclose = sink.open, sink.aclose

    async def write(self, batch):
        if any(each.body.get("poison") for each in batch):
            raise RejectError("poison")
        await self._sink.write(batch)


class SinkContract:
    @pytest.fixture
    def process(self, tmp_path, target):
        """Make a bus with a journal and a worker, as one process after the other has them."""

        @asynccontextmanager
        async def process(sink=None, name="s", **options):
            journal = SqliteJournal(tmp_path / "journal", sync="process")
            async with edr.Bus(node="test", journal=journal) as bus:
                intake = JournalIntake(journal, f"sink:{name}", [edr.Binding(app_name="app")])
                worker = SinkWorker(
                    name,
                    sink or target.sink(),
                    intake,
                    batch=options.pop("batch", Batch(events=4)),
                    retry=QUICK,
                    dead_letters=DeadLetters(tmp_path / "dead" / f"{name}.jsonl"),
                    bus=bus,
                    **options,
                )
                await worker.prepare()
                yield bus, worker

        return process

    async def publish(self, bus, *numbers, **fields):
        await bus.publish_all([event(n, **fields) for n in numbers], durable=True)

    async def test_events_arrive_in_order(self, process, target):
        async with process() as (bus, worker):
            await worker.start()
            for n in range(0, 40, 5):
                await self.publish(bus, *range(n, n + 5))
            left = await worker.drain(30)

        assert left == 0
        assert target.received() == list(range(40))

    async def test_events_of_before_the_start_arrive(self, process, target):
        async with process() as (bus, worker):
            await self.publish(bus, 1, 2, 3)
            await worker.start()
            await worker.drain(30)

        assert target.received() == [1, 2, 3]

    async def test_a_restart_of_the_process_continues(self, process, target):
        for n in range(3):
            async with process() as (bus, worker):
                await worker.start()
                await self.publish(bus, n)
                await worker.drain(30)

        assert target.received() == [0, 1, 2]

    async def test_events_of_an_outage_arrive_after_it(self, process, target):
        async with process() as (bus, worker):
            with target.fault():
                await worker.start()
                await self.publish(bus, *range(10))
                await until(lambda: worker.state in (SinkState.RETRYING, SinkState.REFUSED))
            await worker.resume()  # a sink that was refused waits a minute otherwise
            # An attempt that began in the outage may fail after it, and `drain` does not wait then.
            await until(lambda: worker.statistics().backlog == 0)
            await worker.drain(30)

        assert sorted(set(target.received())) == list(range(10))

    async def test_an_outage_does_not_delay_the_end(self, process, target):
        async with process() as (bus, worker):
            with target.fault():
                await worker.start()
                await self.publish(bus, 1)
                await until(lambda: worker.state in (SinkState.RETRYING, SinkState.REFUSED))
                assert await worker.drain(600) >= 1  # the alert in the journal counts too
        async with process() as (bus, worker):
            await worker.start()
            await worker.drain(30)

        assert target.received() == [1]

    @pytest.mark.parametrize("turns", [0, 3, 7, 12, 25, 60])
    async def test_an_end_at_any_moment_loses_nothing(self, process, target, turns):
        async with process() as (bus, worker):
            await worker.start()
            await self.publish(bus, *range(20))
            for _ in range(turns):
                await asyncio.sleep(0)
            await worker.aclose()
        async with process() as (bus, worker):
            await worker.start()
            await worker.drain(30)

        received = target.received()
        assert sorted(set(received)) == list(range(20))
        assert len(received) <= 20 + 4  # at most one batch is doubled

    async def test_a_rejected_event_affects_only_itself(self, process, target, tmp_path):
        async with process(Poisoned(target.sink())) as (bus, worker):
            await self.publish(bus, 1, 2)
            await self.publish(bus, 3, body={"poison": True})
            await self.publish(bus, 4)
            await worker.start()
            await worker.drain(30)
        dead = [each.event.body["n"] for each in DeadLetters(tmp_path / "dead" / "s.jsonl").read()]

        assert target.received() == [1, 2, 4]
        assert dead == [3]

    async def test_a_restarted_sink_continues(self, process, target):
        async with process() as (bus, worker):
            await worker.start()
            for n in range(5):
                await self.publish(bus, n)
                await until(lambda: worker.statistics().backlog == 0)
                await worker.restart()
            await self.publish(bus, 5)
            await worker.drain(30)

        assert target.received() == list(range(6))

    async def test_a_replaced_sink_loses_and_doubles_nothing(self, process, target):
        async with process() as (bus, worker):
            await worker.start()
            for n in range(5):
                await self.publish(bus, *range(4 * n, 4 * n + 4))
                await worker.replace(target.sink())
            await worker.drain(30)

        assert target.received() == list(range(20))

    async def test_a_sink_can_be_opened_after_aclose(self, target):
        sink = target.sink()
        for n in range(3):
            await sink.open()
            await sink.write([event(n)])
            await sink.aclose()
        await sink.aclose()

        assert target.received() == [0, 1, 2]

    async def test_a_sink_that_was_not_opened_can_be_closed(self, target):
        await target.sink().aclose()
