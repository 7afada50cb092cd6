"""Batches: events, bytes, linger."""

import asyncio

from contracts.journal import event, numbers
from support.shuffled_loop import run
from support.sinks import MemoryIntake, MemoryLog

import edr
from edr.sinks import Batch
from edr.sinks.collecting import Collector


def collector(log, batch, gaps=None, is_skipped=lambda event: False):
    return Collector(MemoryIntake(log), batch, ([] if gaps is None else gaps).append, is_skipped)


def test_a_batch_has_at_most_so_many_events():
    async def scenario():
        log = MemoryLog()
        log.put(*map(event, range(5)))
        batches = collector(log, Batch(events=2))
        return [numbers(await batches.next()) for _ in range(3)]

    assert run(scenario) == [[0, 1], [2, 3], [4]]


def test_a_batch_has_at_most_so_many_bytes():
    async def scenario():
        log = MemoryLog()
        for n, size in enumerate([100, 100, 5000, 100, 100]):
            log.put(event(n, body={"pad": "x" * size}))
        batches = collector(log, Batch(events=10, bytes=1200))
        return [numbers(await batches.next()) for _ in range(3)]

    assert run(scenario) == [[0, 1], [2], [3, 4]]


def test_a_batch_waits_for_further_events():
    async def scenario():
        log = MemoryLog()
        batches = collector(log, Batch(events=3, linger=1.0))
        taking = asyncio.ensure_future(batches.next())
        for n in range(3):
            log.put(event(n))
            await asyncio.sleep(0.4)
        first = numbers(await taking), asyncio.get_running_loop().time()
        log.put(event(3))
        return first, numbers(await batches.next()), asyncio.get_running_loop().time()

    first, second, ended = run(scenario)

    assert first[0] == [0, 1, 2]
    assert second == [3]
    assert ended >= first[1] + 1.0


def test_a_cancelled_call_keeps_its_events_for_the_next():
    async def scenario():
        log = MemoryLog()
        batches = collector(log, Batch(events=3, linger=10.0))
        log.put(event(1))
        taking = asyncio.ensure_future(batches.next())
        await asyncio.sleep(1)
        taking.cancel()
        await asyncio.wait({taking})
        log.put(event(2))
        return numbers(await batches.next()), asyncio.get_running_loop().time()

    assert run(scenario) == ([1, 2], 10.0)


def test_lost_entries_are_reported():
    async def scenario():
        log, gaps = MemoryLog(), []
        log.put(edr.Gap(7), event(1))
        batches = collector(log, Batch(events=5), gaps)
        return numbers(await batches.next()), [gap.missed for gap in gaps]

    assert run(scenario) == ([1], [7])


def test_skipped_events_are_acknowledged():
    async def scenario():
        log = MemoryLog()
        log.put(event(1), event(2))
        batches = collector(log, Batch(), is_skipped=lambda event: event.body["n"] == 1)
        return numbers(await batches.next()), log.delivered, batches.offered

    assert run(scenario) == ([2], [1], 1)


def test_a_journal_is_read_ahead_and_a_queue_is_not():
    async def scenario():
        log, taken = MemoryLog(), []
        log.put(*map(event, range(10)))
        for is_durable in (True, False):
            intake = MemoryIntake(log, is_durable=is_durable)
            batches = Collector(intake, Batch(), [].append, lambda event: False)
            taken.append((numbers(await batches.next()), intake.position))
        return taken

    assert run(scenario) == [([0], 10), ([0], 1)]


def test_a_complete_batch_needs_no_wait():
    async def scenario():
        log = MemoryLog()
        batches = collector(log, Batch(events=2, linger=5.0))
        log.put(*map(event, range(5)))
        first = await batches.next()
        return numbers(first), *[numbers(batches.next_nowait()) for _ in range(2)]

    assert run(scenario) == ([0, 1], [2, 3], [])
