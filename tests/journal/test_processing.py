"""``Processing`` with a consumer in memory, in virtual time."""

import asyncio
import heapq
from datetime import UTC, datetime

import pytest
from contracts.journal import event, numbers
from support.shuffled_loop import run

import edr
from edr.journal import AttemptsExceededError, Entry, JournalError
from edr.journal.processing import BATCH_TIME, MAX_BACKOFF, MAX_BATCH, MAX_ERRORS, Processing

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class MemoryConsumer:
    """A consumer of numbered events, with acks and delayed repetitions."""

    name = "memory"

    def __init__(self, count=0, *, delivery=1, ends=True):
        self.queue = [Entry(n, NOW, event(n), delivery) for n in range(1, count + 1)]
        self.due = []
        self.ends = ends
        self.limits = []
        self.acked = []
        self.nacked = []
        self.changed = asyncio.Event()

    async def take(self, limit):
        self.limits.append(limit)
        loop = asyncio.get_running_loop()
        while True:
            while self.due and self.due[0][0] <= loop.time():
                self.queue.append(heapq.heappop(self.due)[1])
            if self.queue:
                taken, self.queue = self.queue[:limit], self.queue[limit:]
                return taken
            if self.ends and not self.due:
                return []
            self.changed.clear()
            async with asyncio.timeout_at(self.due[0][0] if self.due else None) as timeout:
                try:
                    await self.changed.wait()
                except asyncio.CancelledError:
                    if not timeout.expired():
                        raise

    def put(self, *items):
        self.queue += items
        self.changed.set()

    def shutdown(self):
        self.ends, self.due = True, []
        self.changed.set()

    def ack(self, *entries):
        self.acked += numbers(entries)

    def nack(self, entry, delay=0.0):
        self.nacked.append((entry.event.body["n"], delay))
        when = asyncio.get_running_loop().time() + delay
        heapq.heappush(self.due, (when, entry._replace(delivery=entry.delivery + 1)))


class Handler:
    """Records the entries, and fails on some."""

    def __init__(self, *failing, seconds=0.0):
        self.failing = set(failing)
        self.seconds = seconds
        self.begun = []
        self.done = []

    async def __call__(self, entry):
        n = entry.event.body["n"]
        self.begun.append(n)
        if self.seconds:
            await asyncio.sleep(self.seconds)
        if n in self.failing:
            raise ValueError(n)
        self.done.append(n)


async def process(consumer, handler, **options):
    await Processing(consumer, handler, **options).run()


@pytest.mark.parametrize("concurrency", [1, 3])
def test_each_entry_is_acked_after_its_handler_returned(concurrency):
    async def main():
        consumer = MemoryConsumer(9)

        async def handler(entry):
            await asyncio.sleep(1)
            assert entry.event.body["n"] not in consumer.acked

        await process(consumer, handler, concurrency=concurrency)
        assert sorted(consumer.acked) == list(range(1, 10))

    run(main)


def test_entries_are_handled_in_order():
    async def main():
        consumer, handler = MemoryConsumer(600), Handler()
        await process(consumer, handler)
        assert handler.done == consumer.acked == list(range(1, 601))

    run(main)


def test_handler_may_be_plain():
    async def main():
        consumer, seen = MemoryConsumer(3), []
        await process(consumer, seen.append)
        assert numbers(seen) == consumer.acked == [1, 2, 3]

    run(main)


@pytest.mark.parametrize("seed", range(5))
def test_handlers_run_at_the_same_time_up_to_the_limit(seed):
    async def main():
        running, peak = 0, 0

        async def handler(_):
            nonlocal running, peak
            running += 1
            peak = max(peak, running)
            await asyncio.sleep(1)
            running -= 1

        loop = asyncio.get_running_loop()
        await process(MemoryConsumer(10), handler, concurrency=4)
        assert peak == 4
        assert loop.time() == pytest.approx(3, abs=0.1)

    run(main, seed)


def test_failed_entry_is_repeated_later_and_others_go_on():
    async def main():
        consumer, handler = MemoryConsumer(3), Handler(1)
        asyncio.get_running_loop().call_later(2.5, handler.failing.clear)
        await process(consumer, handler, backoff=1.0)
        assert consumer.nacked == [(1, 1.0), (1, 2.0)]
        assert consumer.acked == [2, 3, 1]

    run(main)


def test_backoff_is_doubled_up_to_a_maximum():
    async def main():
        consumer = MemoryConsumer(1, delivery=5)
        handler = Handler(1)
        asyncio.get_running_loop().call_later(200, handler.failing.clear)
        await process(consumer, handler, backoff=2.0)
        assert [delay for _, delay in consumer.nacked][:3] == [32.0, MAX_BACKOFF, MAX_BACKOFF]

    run(main)


def test_entry_goes_to_the_dead_letters_after_its_last_attempt():
    async def main():
        consumer, handler, dead = MemoryConsumer(2), Handler(1), []

        async def dead_letters(entry, error):
            await asyncio.sleep(1)
            assert 1 not in consumer.acked
            dead.append((entry.event.body["n"], entry.delivery, repr(error)))

        await process(consumer, handler, attempts=3, dead_letters=dead_letters)
        assert dead == [(1, 3, "ValueError(1)")]
        assert handler.begun == [1, 2, 1, 1]
        assert consumer.acked == [2, 1]

    run(main)


def test_attempts_before_a_restart_count():
    async def main():
        consumer, handler, dead = MemoryConsumer(1, delivery=4), Handler(1), []
        await process(consumer, handler, attempts=4, dead_letters=lambda *args: dead.append(args))
        assert len(dead) == len(handler.begun) == 1
        assert consumer.acked == [1]

    run(main)


def test_entry_that_ended_the_process_goes_to_the_dead_letters_unhandled():
    async def main():
        consumer, handler, dead = MemoryConsumer(1, delivery=6), Handler(), []
        await process(consumer, handler, dead_letters=lambda _, error: dead.append(error))
        (error,) = dead
        assert isinstance(error, AttemptsExceededError)
        assert (error.position, error.deliveries) == (1, 5)
        assert "delivered 5 times" in str(error)
        assert handler.begun == []
        assert consumer.acked == [1]

    run(main)


def test_dead_letter_that_is_not_accepted_is_given_again():
    async def main():
        consumer, handler, given = MemoryConsumer(1), Handler(1), []

        async def dead_letters(_, error):
            given.append(repr(error))
            if len(given) < 3:
                raise OSError("the disk is full")

        await process(consumer, handler, attempts=1, dead_letters=dead_letters)
        assert given == ["ValueError(1)"] * 3
        assert handler.begun == [1]
        assert consumer.acked == [1]

    run(main)


def test_errors_of_dead_letters_are_bounded():
    async def main():
        count = MAX_ERRORS + 1
        consumer, refused, accepted = MemoryConsumer(count), set(), []

        async def dead_letters(entry, error):
            if entry.position in refused:
                accepted.append(type(error))
            else:
                refused.add(entry.position)
                raise OSError

        failing = Handler(*range(1, count + 1))
        await process(consumer, failing, attempts=1, dead_letters=dead_letters)
        assert accepted.count(ValueError) == MAX_ERRORS
        assert accepted.count(AttemptsExceededError) == 1

    run(main)


def test_without_dead_letters_an_entry_is_repeated_until_it_is_handled():
    async def main():
        consumer, handler = MemoryConsumer(1), Handler(1)
        asyncio.get_running_loop().call_later(100, handler.failing.clear)
        await process(consumer, handler, attempts=1)
        assert len(handler.begun) > 5
        assert consumer.acked == [1]

    run(main)


@pytest.mark.parametrize("concurrency", [1, 3])
def test_shutdown_waits_for_running_handlers(concurrency):
    async def main():
        consumer, handler = MemoryConsumer(3, ends=False), Handler(seconds=10)
        processing = asyncio.ensure_future(process(consumer, handler, concurrency=concurrency))
        await asyncio.sleep(1)
        consumer.queue.clear()
        consumer.shutdown()
        await processing
        assert sorted(handler.begun) == sorted(handler.done)
        assert sorted(consumer.acked) == list(range(1, concurrency + 1))

    run(main)


@pytest.mark.parametrize("concurrency", [1, 3])
@pytest.mark.parametrize("seconds", [0.0, 0.5, 1.0, 1.5])
def test_cancelled_handlers_do_not_ack(concurrency, seconds):
    async def main():
        consumer, handler = MemoryConsumer(6), Handler(seconds=1)
        processing = asyncio.ensure_future(process(consumer, handler, concurrency=concurrency))
        await asyncio.sleep(seconds)
        processing.cancel()
        await asyncio.wait([processing])
        assert processing.cancelled()
        assert set(consumer.acked) == set(handler.done)
        assert consumer.nacked == []

    run(main)


def test_handler_that_raises_a_cancellation_has_failed():
    async def main():
        consumer, calls = MemoryConsumer(1), []

        async def handler(_):
            calls.append(1)
            if len(calls) == 1:
                raise asyncio.CancelledError

        await process(consumer, handler)
        assert (len(calls), consumer.acked) == (2, [1])

    run(main)


def test_failures_are_logged_at_a_limited_rate(caplog):
    async def main():
        await process(MemoryConsumer(20), Handler(*range(21)), attempts=1, dead_letters=print)

    run(main)
    failed = [each for each in caplog.messages if "could not handle" in each]
    assert len(failed) == 1
    assert failed[0] == (
        "consumer 'memory' could not handle the entry at position 1, delivery 1: ValueError(1)"
    )


def test_gap_is_logged_and_given_to_on_gap(caplog):
    async def main():
        consumer, gaps = MemoryConsumer(1), []
        consumer.queue.insert(0, edr.Gap(7))

        async def on_gap(gap):
            gaps.append(gap.missed)
            raise ValueError("on_gap failed")

        await process(consumer, Handler(), on_gap=on_gap)
        assert (gaps, consumer.acked) == ([7], [1])

    run(main)
    assert "missed 7 entries" in caplog.text


def test_journal_that_cannot_be_read_is_read_again(caplog):
    async def main():
        consumer, take, faults = MemoryConsumer(2), MemoryConsumer.take, [1, 2, 3]

        async def failing(limit):
            if faults.pop() > 1:
                raise JournalError("a disk error")
            faults.append(1)
            return await take(consumer, limit)

        consumer.take = failing
        await process(consumer, Handler())
        assert consumer.acked == [1, 2]

    run(main)
    assert "cannot be read now: a disk error" in caplog.text


def test_delays_of_reading_begin_again_after_a_success():
    async def main():
        consumer, loop = MemoryConsumer(1), asyncio.get_running_loop()
        results, times = [JournalError, JournalError, None, JournalError, None], []

        async def take(limit):
            times.append(loop.time())
            if results and (error := results.pop(0)):
                raise error("a disk error")
            return await MemoryConsumer.take(consumer, limit)

        consumer.take = take
        consumer.ends = False
        loop.call_later(1.0, consumer.put, consumer.queue.pop())
        loop.call_later(2.0, consumer.put, Entry(2, NOW, event(2)))
        loop.call_later(3.0, consumer.shutdown)
        await process(consumer, Handler())
        assert consumer.acked == [1, 2]
        assert times[:5] == pytest.approx([0, 0.05, 0.15, 1.0, 1.05], abs=0.01)

    run(main)


def test_ack_of_a_closed_consumer_does_not_raise(caplog):
    async def main():
        consumer = MemoryConsumer(2)

        def ack(*_):
            raise JournalError("consumer 'memory' is closed")

        consumer.ack = ack
        await process(consumer, Handler())

    run(main)
    assert "is closed" in caplog.text


def test_batches_grow_while_handlers_are_fast():
    async def main():
        consumer = MemoryConsumer(2000)
        await process(consumer, Handler())
        assert consumer.limits[:4] == [1, 2, 4, 8]
        assert max(consumer.limits) == MAX_BATCH

    run(main)


def test_slow_handlers_take_no_entry_in_advance():
    async def main():
        consumer = MemoryConsumer(20)
        await process(consumer, Handler(seconds=BATCH_TIME), concurrency=2)
        assert set(consumer.limits) == {1}

    run(main)


@pytest.mark.parametrize(
    "options", [{"concurrency": 0}, {"attempts": 0}, {"backoff": -1.0}, {"backoff": "1"}]
)
def test_options_are_checked(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Processing(None, None, **options)
