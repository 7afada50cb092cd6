"""What the cursors and consumers of every journal do with batches, new bindings and a shutdown.

Subclass ``ConsumerContract`` in a test module, with the fixture ``make_journal`` of
``contracts.journal``.
"""

import asyncio

import pytest

import edr
from contracts.journal import event, events, numbers
from edr.journal import Entry, JournalError

RARE = edr.Binding(app_name="rare")


async def take_all(source, count, limit=100):
    """Take batches until there are ``count`` entries."""
    entries = []
    while len(entries) < count:
        entries += await source.take(limit)
    return entries


class ConsumerContract:
    # Batches

    async def test_take_returns_at_most_limit_entries_in_order(self, make_journal):
        async with make_journal() as journal, await journal.consumer("r") as consumer:
            await journal.append(*events(*range(10)))
            batches = []
            while sum(map(len, batches)) < 10:
                batches.append(await consumer.take(4))

        assert all(1 <= len(batch) <= 4 for batch in batches)
        assert numbers([e for batch in batches for e in batch]) == list(range(10))

    async def test_take_returns_the_entries_at_hand(self, make_journal):
        async with make_journal() as journal, await journal.consumer("r") as consumer:
            await journal.append(*events(*range(50)))
            batches = [await consumer.take(1)]
            while sum(map(len, batches)) < 50:
                batches.append(await consumer.take(100))

        assert numbers([e for batch in batches for e in batch]) == list(range(50))
        assert len(batches) < 25  # a busy server sends some of them alone, but not each

    async def test_take_waits_for_the_first_entry_only(self, make_journal):
        async with make_journal() as journal, await journal.consumer("r") as consumer:
            taking = asyncio.ensure_future(consumer.take(100))
            await asyncio.sleep(0)
            assert not taking.done()
            await journal.append(event(1))

            assert numbers(await taking) == [1]

    async def test_take_of_a_cursor_agrees_with_its_iteration(self, make_journal):
        async with make_journal() as journal:
            for n in range(0, 700, 7):
                await journal.append(*events(*range(n, n + 6)), event(n + 6, "rare"))
            for bindings, count in ([(), 700], [(RARE,), 100]):
                one_by_one = [e async for e in journal.cursor(*bindings, after=0, live=False)]
                cursor = journal.cursor(*bindings, after=0, live=False)
                batches = []
                while batch := await cursor.take(33):
                    batches += batch

                assert batches == one_by_one
                assert len(batches) == count

    async def test_take_returns_an_empty_list_at_the_end(self, make_journal):
        async with make_journal() as journal:
            await journal.append(*events(1, 2))
            cursor = journal.cursor(after=0, live=False)
            assert numbers(await take_all(cursor, 2)) == [1, 2]

            assert await cursor.take(5) == []
            assert await cursor.take(5) == []

    async def test_take_reports_lost_entries_in_their_place(self, make_journal):
        async with (
            make_journal(max_events=300) as journal,
            await journal.consumer("r") as consumer,
        ):
            for n in range(0, 2000, 50):
                await journal.append(*events(*range(n, n + 50)))
            items = []
            while not items or isinstance(items[-1], edr.Gap) or numbers(items[-1:]) != [1999]:
                taken = await consumer.take(64)
                consumer.ack(*[item for item in taken if isinstance(item, Entry)])
                items += taken

        gap, *entries = items
        assert isinstance(gap, edr.Gap)
        assert numbers(entries) == list(range(gap.missed, 2000))

    @pytest.mark.parametrize("limit", [0, -1, True, "1", None])
    async def test_limit_of_take_is_checked(self, make_journal, limit):
        async with make_journal() as journal, await journal.consumer("r") as consumer:
            for source in (consumer, journal.cursor(after=0)):
                with pytest.raises(ValueError, match="limit"):
                    await source.take(limit)

    async def test_cancelled_take_loses_nothing(self, make_journal):
        async with make_journal() as journal, await journal.consumer("r") as consumer:
            got = []
            for n in range(20):
                taking = asyncio.ensure_future(consumer.take(3))
                for _ in range(n % 4):
                    await asyncio.sleep(0)
                appending = asyncio.ensure_future(journal.append(event(n)))
                for _ in range(n % 7):
                    await asyncio.sleep(0)
                if not taking.cancel():
                    got += taking.result()
                await appending
            got += await take_all(consumer, 20 - len(got))

        assert numbers(got) == list(range(20))

    @pytest.mark.parametrize("turns", range(8))
    async def test_cancelled_take_of_repetitions_loses_nothing(self, make_journal, turns):
        async with make_journal() as journal, await journal.consumer("r") as consumer:
            await journal.append(*events(1, 2, 3))
            for entry in await take_all(consumer, 3):
                consumer.nack(entry)
            taking = asyncio.ensure_future(consumer.take(3))
            for _ in range(turns):
                await asyncio.sleep(0)
            taking.cancel()
            await asyncio.wait([taking])
            again = [] if taking.cancelled() else taking.result()
            again += await take_all(consumer, 3 - len(again), limit=1)

        assert sorted((e.event.body["n"], e.delivery) for e in again) == [(1, 2), (2, 2), (3, 2)]

    async def test_two_tasks_cannot_take_at_once(self, make_journal):
        async with make_journal() as journal, await journal.consumer("r") as consumer:
            taking = asyncio.ensure_future(consumer.take(2))
            await asyncio.sleep(0)
            for second in (consumer.take(2), anext(consumer)):
                with pytest.raises(JournalError):
                    await second
            await journal.append(event(1))
            await taking

    async def test_take_returns_no_more_than_max_unacked(self, make_journal):
        async with (
            make_journal() as journal,
            await journal.consumer("r", max_unacked=3) as consumer,
        ):
            await journal.append(*events(*range(5)))
            held = await take_all(consumer, 3)
            taking = asyncio.ensure_future(consumer.take(100))
            for _ in range(20):
                await asyncio.sleep(0)
            assert not taking.done()
            consumer.ack(*held)

            assert numbers(held) == [0, 1, 2]
            assert numbers([*await taking, *await take_all(consumer, 0)])[0] == 3

    async def test_batches_wait_for_more_entries(self, make_journal):
        async with make_journal() as journal, await journal.consumer("r") as consumer:
            batches = consumer.batches(3, max_wait=60)
            await journal.append(*events(1, 2))
            waiting = asyncio.ensure_future(anext(batches))
            while consumer.position < 2:
                await asyncio.sleep(0)
            await journal.append(*events(3, 4))

            assert numbers(await waiting) == [1, 2, 3]
            assert numbers(await anext(consumer.batches(3, max_wait=0.01))) == [4]

    async def test_cancelled_batch_is_continued(self, make_journal):
        async with make_journal() as journal, await journal.consumer("r") as consumer:
            batches = consumer.batches(2, max_wait=60)
            await journal.append(event(1))
            waiting = asyncio.ensure_future(anext(batches))
            while consumer.position < 1:
                await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
            await journal.append(event(2))

            assert numbers(await anext(batches)) == [1, 2]

    # Acks

    async def test_ack_takes_any_number_of_entries(self, make_journal):
        async with make_journal() as journal:
            await journal.append(*events(*range(10)))
            async with await journal.consumer("r") as consumer:
                entries = await take_all(consumer, 10)
                consumer.ack()
                consumer.ack(*entries[:7], entries[0])
            async with await journal.consumer("r") as consumer:
                assert numbers(await take_all(consumer, 3)) == [7, 8, 9]

    async def test_ack_with_a_wrong_entry_acknowledges_none(self, make_journal):
        async with make_journal() as journal, await journal.consumer("r") as consumer:
            await journal.append(*events(1, 2))
            first, second = await take_all(consumer, 2)
            wrong = Entry(second.position, second.recorded_at, event(3))
            with pytest.raises(JournalError):
                consumer.ack(first, wrong)
            with pytest.raises(TypeError):
                consumer.ack(first, edr.Gap(1))

            assert (await journal.consumers())[0].unacked == 2

    # Bindings

    async def test_status_has_the_bindings(self, make_journal):
        bindings = (RARE, edr.Binding(body={"n": [{"numeric": [">", 5]}]}))
        async with make_journal() as journal:
            async with (
                await journal.consumer("a", *bindings),
                await journal.consumer("b"),
            ):
                live = await journal.consumers()
            stored = await journal.consumers()

        for a, b in (live, stored):
            assert set(a.bindings) == set(bindings)
            assert b.bindings == ()

    async def test_rebound_consumer_continues_with_the_new_bindings(self, make_journal):
        async with make_journal() as journal, await journal.consumer("r", RARE) as consumer:
            await journal.append(event(1), event(2, "rare"))
            assert numbers(await consumer.take(10)) == [2]
            await consumer.rebind()
            await journal.append(event(3), event(4, "rare"))
            assert numbers(await take_all(consumer, 2)) == [3, 4]
            await consumer.rebind(RARE)
            await journal.append(event(5), event(6, "rare"))

            assert numbers(await take_all(consumer, 1)) == [6]
            assert (await journal.consumers())[0].bindings == (RARE,)

    async def test_waiting_take_gets_entries_of_the_new_bindings(self, make_journal):
        async with make_journal() as journal, await journal.consumer("r", RARE) as consumer:
            await journal.append(event(1, "rare"))
            consumer.ack(await anext(consumer))
            taking = asyncio.ensure_future(consumer.take(10))
            for _ in range(5):
                await asyncio.sleep(0)
            await consumer.rebind(edr.Binding(app_name="other"))
            await journal.append(event(2), event(3, "rare"), event(4, "other"))

            assert numbers(await taking) == [4]

    async def test_entry_that_no_longer_matches_is_not_returned_again(self, make_journal):
        async with make_journal() as journal:
            await journal.append(event(1), event(2, "rare"), event(3))
            async with await journal.consumer("r") as consumer:
                first, second, third = await take_all(consumer, 3)
                consumer.nack(first)
                consumer.nack(second)
                await consumer.rebind(RARE)
                assert numbers(await consumer.take(10)) == [2]
                assert (await journal.consumers())[0].unacked == 1
                consumer.ack(first, third)
                consumer.nack(third)
            async with await journal.consumer("r", RARE) as consumer:
                await journal.append(event(4, "rare"))
                assert numbers(await take_all(consumer, 2)) == [2, 4]

    async def test_bindings_replaced_at_opening_apply_to_unacked_entries(self, make_journal):
        async with make_journal() as journal:
            await journal.append(event(1), event(2, "rare"), event(3))
            async with await journal.consumer("r") as consumer:
                await take_all(consumer, 3)
            async with await journal.consumer("r", RARE, rebind=True) as consumer:
                await journal.append(event(4, "rare"))
                assert numbers(await take_all(consumer, 2)) == [2, 4]
            (status,) = await journal.consumers()

        assert (status.unacked, status.missed) == (2, 0)

    async def test_new_bindings_are_stored(self, make_journal):
        async with make_journal() as journal:
            await journal.append(event(1), event(2, "rare"))
            async with await journal.consumer("r") as consumer:
                consumer.ack(await anext(consumer))
                await consumer.rebind(RARE)
        async with make_journal() as journal:
            with pytest.raises(JournalError, match="other bindings"):
                await journal.consumer("r")
            async with await journal.consumer("r", RARE) as consumer:
                assert numbers(await take_all(consumer, 1)) == [2]

    async def test_wrong_binding_changes_nothing(self, make_journal):
        async with make_journal() as journal, await journal.consumer("r", RARE) as consumer:
            with pytest.raises(edr.InvalidBindingError):
                await consumer.rebind(edr.Binding(app_name="other"), {"app_name": "rare"})
            await journal.append(event(1, "other"), event(2, "rare"))

            assert numbers(await take_all(consumer, 1)) == [2]

    async def test_closed_consumer_cannot_be_rebound(self, make_journal):
        async with make_journal() as journal:
            async with await journal.consumer("r") as consumer:
                pass
            with pytest.raises(JournalError, match="closed"):
                await consumer.rebind(RARE)

    # Shutdown

    async def test_shutdown_ends_a_waiting_take(self, make_journal):
        async with make_journal() as journal, await journal.consumer("r") as consumer:
            taking = asyncio.ensure_future(consumer.take(5))
            for _ in range(3):
                await asyncio.sleep(0)
            await consumer.shutdown()
            await journal.append(event(1))

            assert await taking == []
            assert await consumer.take(5) == []
            assert [each async for each in consumer] == []

    async def test_entries_can_be_acked_after_shutdown(self, make_journal):
        async with make_journal() as journal:
            await journal.append(*events(1, 2, 3))
            async with await journal.consumer("r") as consumer:
                first, second, third = await take_all(consumer, 3)
                await consumer.shutdown()
                await consumer.shutdown()
                consumer.ack(first)
                consumer.nack(second)
                await consumer.flush()
                consumer.ack(third)
                assert await consumer.take(5) == []
            async with await journal.consumer("r") as consumer:
                assert numbers(await take_all(consumer, 1)) == [2]

    # Processing

    async def test_process_passes_each_entry_to_the_handler(self, make_journal):
        seen = []
        async with make_journal() as journal, await journal.consumer("r") as consumer:
            await journal.append(*events(*range(700)))

            async def handler(entry):
                seen.append(entry)
                if len(seen) == 700:
                    await consumer.shutdown()

            await consumer.process(handler)
            await consumer.flush()
            (status,) = await journal.consumers()

        assert numbers(seen) == list(range(700))
        assert (status.unacked, status.lag) == (0, 0)

    async def test_attempts_of_process_are_counted_across_openings(self, make_journal):
        attempts, dead = [], []

        async def process(consumer):
            async def fail(entry):
                attempts.append(entry.delivery)
                await consumer.shutdown()
                raise ValueError(entry.delivery)

            await consumer.process(
                fail, attempts=3, backoff=0.0, dead_letters=lambda *args: dead.append(args)
            )

        async with make_journal() as journal:
            await journal.append(event(1))
            for _ in range(3):
                async with await journal.consumer("r") as consumer:
                    await process(consumer)
            (status,) = await journal.consumers()

        ((entry, error),) = dead
        assert (attempts, numbers([entry]), error.args) == ([1, 2, 3], [1], (3,))
        assert status.unacked == 0

    async def test_cancelled_process_leaves_entries_unacknowledged(self, make_journal):
        async with make_journal() as journal:
            await journal.append(event(1))
            async with await journal.consumer("r") as consumer:
                begun = asyncio.Event()

                async def hang(_):
                    begun.set()
                    await asyncio.Event().wait()

                processing = asyncio.ensure_future(consumer.process(hang, concurrency=2))
                await begun.wait()
                processing.cancel()
                await asyncio.wait([processing])
            async with await journal.consumer("r") as consumer:
                assert numbers(await consumer.take(1)) == [1]

    # The end of the journal

    async def test_last_entry_is_acked_when_the_journal_drains(self, make_journal):
        journal = make_journal()
        await journal.append(*events(1, 2))
        consumer = await journal.consumer("r")
        draining = None

        async def handle():
            nonlocal draining
            async for entry in consumer:
                draining = draining or asyncio.ensure_future(journal.drain())
                await asyncio.wait([draining], timeout=0.05)  # it waits for this entry
                consumer.ack(entry)

        await handle()
        assert await draining == 0
        async with make_journal() as journal:
            (status,) = await journal.consumers()
        assert (status.unacked, status.lag) == (0, 1)

    async def test_process_finishes_when_its_bus_drains(self, make_journal):
        journal, begun, handled = make_journal(), asyncio.Event(), []

        async def handle(entry):
            begun.set()
            await asyncio.wait([asyncio.ensure_future(bus.wait_closed())], timeout=0.05)
            handled.append(entry)

        async with edr.Bus(journal=journal) as bus:
            await bus.emit("app", "1", "ok", "info", {"n": 1}, durable=True)
            consumer = await journal.consumer("r")
            processing = asyncio.ensure_future(consumer.process(handle))
            await begun.wait()
        await processing
        async with make_journal() as journal:
            (status,) = await journal.consumers()

        assert len(handled) == 1
        assert (status.unacked, status.lag) == (0, 0)
