"""What a named consumer of the embedded journal is told of losses, and what of it is stored."""

import asyncio
import os
import shutil
import subprocess
import sys
import threading
import time

import pytest
from contracts.journal import event, events, numbers, take

import edr
from edr.journal import JournalFullError, SqliteJournal
from edr.journal import appender as appender_module
from edr.journal.fetching import Fetcher
from edr.journal.selection import Selection
from edr.journal.store import BlockStore

RARE = edr.Binding(app_name="rare")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal"


class Gate:
    """A clock that stops the store's thread, and no other, while it is shut."""

    def __init__(self):
        self.open = threading.Event()
        self.open.set()

    def __call__(self):
        if threading.current_thread() is not threading.main_thread():
            self.open.wait(10)
        return time.time()


async def consume(consumer, seen):
    async for item in consumer:
        seen.append(item)
        if not isinstance(item, edr.Gap):
            consumer.ack(item)


async def caught_up(journal, consumer):
    while not (consumer.caught_up and consumer.position == journal.statistics().last):
        await asyncio.sleep(0)


async def test_caught_up_reader_of_few_entries_misses_nothing(path):
    seen = []
    async with (
        SqliteJournal(path, max_events=1000, sync="process") as journal,
        await journal.consumer("r", RARE) as consumer,
    ):
        consuming = asyncio.ensure_future(consume(consumer, seen))
        for n in range(20):
            await journal.append(*events(*range(250)), event(n, "app" if n % 10 else "rare"))
            await caught_up(journal, consumer)
        await consumer.flush()
        (status,) = await journal.consumers()
        consuming.cancel()

    assert numbers(seen) == [0, 10]
    assert status.missed == 0


async def test_acks_during_a_commit_are_not_missed(path):
    gate = Gate()
    async with (
        SqliteJournal(path, max_events=1024, sync="process", clock=gate) as journal,
        await journal.consumer("r") as consumer,
    ):
        for start in range(0, 1024, 256):
            await journal.append(*events(*range(start, start + 256)))
        consumer.ack(await anext(consumer))
        await consumer.flush()
        gate.open.clear()
        appending = journal.append(*events(*range(1024, 1536)))
        appending = asyncio.ensure_future(appending)
        while journal._appender._batch == []:
            await asyncio.sleep(0)  # the commit is with the store
        for entry in await take(consumer, 299):
            consumer.ack(entry)
        gate.open.set()
        await appending  # the positions up to 512 are gone
        gap, entry = await take(consumer, 2)
        await consumer.flush()
        (status,) = await journal.consumers()

    assert (gap.missed, entry.position, status.missed) == (212, 513, 212)


async def test_entries_passed_during_a_commit_are_not_missed(path):
    gate = Gate()
    async with (
        SqliteJournal(path, max_events=1024, sync="process", clock=gate) as journal,
        await journal.consumer("r", RARE) as consumer,
    ):
        for start in range(0, 1024, 256):
            await journal.append(*events(*range(start, start + 255)), event(0, "rare"))
        consumer.ack(await anext(consumer))
        gate.open.clear()
        appending = asyncio.ensure_future(journal.append(*events(*range(512))))
        while journal._appender._batch == []:
            await asyncio.sleep(0)
        for entry in await take(consumer, 2):
            consumer.ack(entry)  # it stands at 768
        gate.open.set()
        await appending
        rest = await take(consumer, 1)
        await consumer.aclose()
        (status,) = await journal.consumers()

    assert rest[0].position == 1024
    assert status.missed == 0


async def test_closed_reader_keeps_the_corrected_count(path):
    gate = Gate()
    async with SqliteJournal(path, max_events=512, sync="process", clock=gate) as journal:
        consumer = await journal.consumer("r")
        await journal.append(*events(*range(256)))
        await journal.append(*events(*range(256)))
        consumer.ack(await anext(consumer))
        gate.open.clear()
        appending = asyncio.ensure_future(journal.append(*events(*range(256))))
        while journal._appender._batch == []:
            await asyncio.sleep(0)
        for entry in await take(consumer, 255):
            consumer.ack(entry)
        closing = asyncio.ensure_future(consumer.aclose())
        await asyncio.sleep(0)
        gate.open.set()
        await asyncio.gather(appending, closing)
        (status,) = await journal.consumers()

    assert status.missed == 0


async def test_gap_comes_before_the_entries_after_it(path, monkeypatch):
    monkeypatch.setattr("edr.journal.recent.MAX_RECENT_ENTRIES", 0)  # it reads from the disk
    fetch, fetched, go = Fetcher.fetch, threading.Event(), threading.Event()

    def slow(*args):
        result = fetch(*args)
        fetched.set()
        go.wait(10)
        return result

    async with (
        SqliteJournal(path, max_events=4096, sync="process") as journal,
        await journal.consumer("r") as consumer,
    ):
        for start in range(0, 4096, 256):
            await journal.append(*events(*range(start, start + 256)))
        monkeypatch.setattr(Fetcher, "fetch", slow)
        pulling = asyncio.ensure_future(anext(consumer))
        await asyncio.sleep(0)
        assert fetched.wait(10)  # the consumer's entries were read, and are then removed
        appending = asyncio.ensure_future(journal.append(*events(*range(4096, 4608))))
        while journal._appender._batch == []:
            await asyncio.sleep(0)
        done = threading.Event()
        journal._worker.submit(done.set)
        go.set()
        assert done.wait(10)  # the loop receives the results of both at once
        await appending
        first, second = await pulling, await anext(consumer)

    assert (first, second.position) == (edr.Gap(512), 513)


async def test_reader_of_few_entries_keeps_no_room_from_others(path, monkeypatch):
    monkeypatch.setattr(appender_module, "NO_ROOM_PAUSE", 1000.0)
    seen = []
    async with (
        SqliteJournal(path, max_bytes=1 << 16, keep_unread=True, sync="process") as journal,
        await journal.consumer("r", RARE) as consumer,
    ):
        consuming = asyncio.ensure_future(consume(consumer, seen))
        async with asyncio.timeout(60):
            for n in range(60):
                pad = {"pad": [f"{n * i:x}" for i in range(500)]}
                await journal.append(event(n, body=pad))
                await caught_up(journal, consumer)
        consuming.cancel()

        assert journal.statistics().lost > 0
        assert (await journal.consumers())[0].missed == 0


async def test_full_journal_names_the_reader_that_holds_it(path, monkeypatch, caplog):
    monkeypatch.setattr(appender_module, "NO_ROOM_PAUSE", 0.01)
    async with (
        SqliteJournal(path, max_bytes=1 << 16, keep_unread=True, sync="process") as journal,
        await journal.consumer("mailer", max_unacked=1000) as consumer,
    ):

        async def fill():
            for n in range(60):
                await journal.append(event(n, body={"pad": [f"{n * i:x}" for i in range(500)]}))

        filling = asyncio.ensure_future(fill())
        while not caplog.records:
            await asyncio.sleep(0)
        assert not filling.done()
        consuming = asyncio.ensure_future(consume(consumer, []))
        await filling
        consuming.cancel()

    first, *rest = [each.getMessage() for each in caplog.records]
    assert first.startswith("the journal is full; consumer 'mailer' has not acknowledged")
    assert rest[0] == "the journal has room again"


# Deliveries


def killed(path, handled=0):
    """Read in a process that acks so many entries, and is killed when it is given the next one.

    Returns:
        Number and delivery of each entry that it was given.
    """
    program = (
        "import asyncio, os, sys; from edr.journal import *\n"
        "async def main():\n"
        "    async with SqliteJournal(sys.argv[1]) as journal:\n"
        "        consumer = await journal.consumer('r')\n"
        "        for n in range(int(sys.argv[2]) + 1):\n"
        "            entry = await anext(consumer)\n"
        "            print(entry.event.body['n'], entry.delivery, flush=True)\n"
        "            if n < int(sys.argv[2]): consumer.ack(entry)\n"
        "        if int(sys.argv[2]): await consumer.flush()\n"
        "        os.kill(os.getpid(), 9)\n"
        "asyncio.run(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, path, str(handled)],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    return [tuple(map(int, line.split())) for line in done.stdout.splitlines()]


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="kills a process")
async def test_entry_that_kills_the_process_counts_its_deliveries(path):
    async with SqliteJournal(path) as journal:
        await journal.append(*events(*range(5)))

    assert [await asyncio.to_thread(killed, path) for _ in range(4)] == [
        [(0, 1)],
        [(0, 2)],
        [(0, 3)],
        [(0, 4)],
    ]
    async with SqliteJournal(path) as journal, await journal.consumer("r") as consumer:
        entries = await take(consumer, 5)

    # The others were near it: they may have been given once, and were not given again.
    assert [entry.delivery for entry in entries] == [5, 2, 2, 2, 2]


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="kills a process")
async def test_entry_behind_a_handled_one_counts_its_deliveries(path):
    async with SqliteJournal(path) as journal:
        await journal.append(*events(*range(5)))

    assert await asyncio.to_thread(killed, path, 2) == [(0, 1), (1, 1), (2, 1)]
    assert await asyncio.to_thread(killed, path) == [(2, 2)]
    assert await asyncio.to_thread(killed, path) == [(2, 3)]


async def test_entry_that_was_not_given_is_a_first_delivery_after_a_close(path):
    async with SqliteJournal(path) as journal:
        await journal.append(*events(*range(3)))
        async with await journal.consumer("r") as consumer:
            await anext(consumer)
        async with await journal.consumer("r") as consumer:
            again = await take(consumer, 2)
            assert [entry.delivery for entry in again] == [2, 1]
    async with SqliteJournal(path) as journal, await journal.consumer("r") as consumer:
        assert [entry.delivery for entry in await take(consumer, 3)] == [3, 2, 1]


async def test_repetition_is_stored_before_it_is_given(path):
    async with SqliteJournal(path) as journal, await journal.consumer("r") as consumer:
        await journal.append(event(1))
        entry = await anext(consumer)
        for delivery in range(2, 5):
            consumer.nack(entry)
            entry = await anext(consumer)
            assert entry.delivery == delivery
            assert journal._store.consumers["r"].unacked == ((1, delivery),)


@pytest.mark.parametrize("turns", range(8))
async def test_cancelled_repetition_comes_with_the_same_count(path, turns):
    async with SqliteJournal(path) as journal, await journal.consumer("r") as consumer:
        await journal.append(event(1))
        consumer.nack(await anext(consumer))
        waiting = asyncio.ensure_future(anext(consumer))
        for _ in range(turns):
            await asyncio.sleep(0)
        if waiting.cancel():
            await asyncio.wait([waiting])
            entry = await anext(consumer)
        else:
            entry = waiting.result()

        assert entry.delivery == 2


async def test_repetitions_are_given_when_nothing_can_be_stored(path, monkeypatch):
    async with SqliteJournal(path) as journal, await journal.consumer("r") as consumer:
        await journal.append(*events(1, 2))
        consumer.nack(await anext(consumer))

        def full(_store, _updates, *, synced):
            raise JournalFullError("the disk is full")

        monkeypatch.setattr(BlockStore, "store_consumers", full)
        entries = await take(consumer, 2)
        monkeypatch.undo()

    assert [(entry.event.body["n"], entry.delivery) for entry in entries] == [(1, 2), (2, 1)]


async def test_lag_leaves_out_what_was_acknowledged(path):
    async with SqliteJournal(path) as journal:
        await journal.append(*events(*range(101)))
        consumer = await journal.consumer("r")
        entries = await take(consumer, 101)
        for entry in entries[1:]:
            consumer.ack(entry)
        (status,) = await journal.consumers()
        assert (status.position, status.lag, status.unacked) == (0, 1, 1)
        await consumer.aclose()
        (status,) = await journal.consumers()
        assert (status.position, status.lag, status.unacked) == (0, 1, 1)


async def test_entry_acked_while_its_repetition_is_stored_ends(path):
    async with SqliteJournal(path) as journal:
        await journal.append(*events(0))
        consumer = await journal.consumer("r")
        (entry,) = await take(consumer, 1)
        consumer.nack(entry)
        following = asyncio.ensure_future(anext(consumer))
        await asyncio.sleep(0)  # the repetition is being stored
        consumer.ack(entry)
        await journal.append(*events(1))

        assert (await following).event.body["n"] == 1


async def test_nacked_entry_that_is_acked_leaves_the_memory(path):
    async with SqliteJournal(path) as journal:
        await journal.append(*events(*range(2000)))
        consumer = await journal.consumer("r", max_unacked=2000)
        entries = await take(consumer, 2000)
        for entry in entries:
            consumer.nack(entry, delay=3600.0)
        for count, entry in enumerate(entries, 1):
            consumer.ack(entry)
            assert len(consumer._due) <= 2 * (2000 - count)


# Rebinding


async def test_new_bindings_that_cannot_be_stored_apply_and_are_stored_later(path, monkeypatch):
    async with SqliteJournal(path) as journal, await journal.consumer("r") as consumer:
        await journal.append(event(1), event(2, "rare"))

        def full(_store, _updates, *, synced):
            raise JournalFullError("the disk is full")

        monkeypatch.setattr(BlockStore, "store_consumers", full)
        with pytest.raises(JournalFullError):
            await consumer.rebind(RARE)
        monkeypatch.undo()
        assert numbers(await consumer.take(10)) == [2]
        await consumer.flush()

        assert journal._store.consumers["r"].bindings == Selection((RARE,)).text


@pytest.mark.parametrize("is_stored", [False, True])
async def test_crash_during_rebind_leaves_all_the_old_or_all_the_new_state(
    path, tmp_path, monkeypatch, is_stored
):
    copy, store_consumers = tmp_path / "crashed", BlockStore.store_consumers

    def crash(store, updates, *, synced):
        if is_stored:
            store_consumers(store, updates, synced=synced)
        shutil.copytree(path, copy)

    async with SqliteJournal(path) as journal, await journal.consumer("r") as consumer:
        await journal.append(event(1), event(2, "rare"))
        await consumer.take(10)
        await consumer.flush()
        monkeypatch.setattr(BlockStore, "store_consumers", crash)
        await consumer.rebind(RARE)
        monkeypatch.undo()

    bindings, expected = ((RARE,), [2]) if is_stored else ((), [1, 2])
    async with SqliteJournal(copy) as journal, await journal.consumer("r", *bindings) as consumer:
        assert numbers(await consumer.take(10)) == expected


async def test_cancelled_rebind_is_stored(path):
    async with SqliteJournal(path) as journal, await journal.consumer("r") as consumer:
        rebinding = asyncio.ensure_future(consumer.rebind(RARE))
        await asyncio.sleep(0)
        rebinding.cancel()
        await asyncio.wait([rebinding])
        await consumer.flush()

        assert journal._store.consumers["r"].bindings == Selection((RARE,)).text


async def test_rebind_widens_after_the_position(path):
    async with SqliteJournal(path) as journal, await journal.consumer("r", RARE) as consumer:
        await journal.append(event(1), event(2, "rare"), event(3), event(4, "rare"))
        assert (await anext(consumer)).event.body["n"] == 2
        await consumer.rebind()

        assert numbers(await consumer.take(10)) == [3, 4]


async def test_pending_entries_that_were_not_returned_keep_their_count(path, monkeypatch):
    async with SqliteJournal(path) as journal:
        await journal.append(*events(1, 2))
        async with await journal.consumer("r") as consumer:
            for entry in await consumer.take(2):
                consumer.nack(entry)
            taking = asyncio.ensure_future(consumer.take(2))
            await asyncio.sleep(0)  # their counts are being stored
            taking.cancel()
            await asyncio.wait([taking])
        async with await journal.consumer("r") as consumer:
            assert [entry.delivery for entry in await consumer.take(2)] == [2, 2]


async def test_position_does_not_include_entries_that_were_not_returned_yet(path):
    async with SqliteJournal(path) as journal, await journal.consumer("r") as consumer:
        await journal.append(*events(1, 2, 3))
        taking = asyncio.ensure_future(consumer.take(3))
        positions = set()
        while not taking.done():
            positions.add(consumer.position)
            assert not consumer.caught_up
            await asyncio.sleep(0)
        assert positions == {0}
        assert (consumer.position, consumer.caught_up) == (3, True)


async def pending_take(consumer):
    """Return a take of two repeated entries whose counts are being stored."""
    for entry in await consumer.take(2):
        consumer.nack(entry)
    taking = asyncio.ensure_future(consumer.take(2))
    await asyncio.sleep(0)
    return taking


async def test_rebind_drops_entries_whose_counts_are_being_stored(path):
    async with SqliteJournal(path) as journal, await journal.consumer("r") as consumer:
        await journal.append(event(1), event(2, "rare"))
        taking = await pending_take(consumer)
        await consumer.rebind(RARE)

        assert numbers(await taking) == [2]


async def test_shutdown_ends_a_take_whose_counts_are_being_stored(path):
    async with SqliteJournal(path) as journal, await journal.consumer("r") as consumer:
        await journal.append(*events(1, 2))
        taking = await pending_take(consumer)
        await consumer.shutdown()

        assert await taking == []
        assert consumer.unsettled == 0
