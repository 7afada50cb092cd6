"""What a named reader of the embedded journal is told of losses, and what of it is stored."""

import asyncio
import os
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


async def consume(reader, seen):
    async for item in reader:
        seen.append(item)
        if not isinstance(item, edr.Gap):
            reader.ack(item)


async def caught_up(journal, reader):
    while not (reader.caught_up and reader.position == journal.statistics().last):
        await asyncio.sleep(0)


async def test_caught_up_reader_of_few_entries_misses_nothing(path):
    seen = []
    async with (
        SqliteJournal(path, max_events=1000, sync="process") as journal,
        await journal.reader("r", RARE) as reader,
    ):
        consuming = asyncio.ensure_future(consume(reader, seen))
        for n in range(20):
            await journal.append(*events(*range(250)), event(n, "app" if n % 10 else "rare"))
            await caught_up(journal, reader)
        await reader.flush()
        (status,) = await journal.readers()
        consuming.cancel()

    assert numbers(seen) == [0, 10]
    assert status.missed == 0


async def test_acks_during_a_commit_are_not_missed(path):
    gate = Gate()
    async with (
        SqliteJournal(path, max_events=1024, sync="process", clock=gate) as journal,
        await journal.reader("r") as reader,
    ):
        for start in range(0, 1024, 256):
            await journal.append(*events(*range(start, start + 256)))
        reader.ack(await anext(reader))
        await reader.flush()
        gate.open.clear()
        appending = journal.append(*events(*range(1024, 1536)))
        appending = asyncio.ensure_future(appending)
        while journal._appender._batch == []:
            await asyncio.sleep(0)  # the commit is with the store
        for entry in await take(reader, 299):
            reader.ack(entry)
        gate.open.set()
        await appending  # the positions up to 512 are gone
        gap, entry = await take(reader, 2)
        await reader.flush()
        (status,) = await journal.readers()

    assert (gap.missed, entry.position, status.missed) == (212, 513, 212)


async def test_entries_passed_during_a_commit_are_not_missed(path):
    gate = Gate()
    async with (
        SqliteJournal(path, max_events=1024, sync="process", clock=gate) as journal,
        await journal.reader("r", RARE) as reader,
    ):
        for start in range(0, 1024, 256):
            await journal.append(*events(*range(start, start + 255)), event(0, "rare"))
        reader.ack(await anext(reader))
        gate.open.clear()
        appending = asyncio.ensure_future(journal.append(*events(*range(512))))
        while journal._appender._batch == []:
            await asyncio.sleep(0)
        for entry in await take(reader, 2):
            reader.ack(entry)  # it stands at 768
        gate.open.set()
        await appending
        rest = await take(reader, 1)
        await reader.aclose()
        (status,) = await journal.readers()

    assert rest[0].position == 1024
    assert status.missed == 0


async def test_closed_reader_keeps_the_corrected_count(path):
    gate = Gate()
    async with SqliteJournal(path, max_events=512, sync="process", clock=gate) as journal:
        reader = await journal.reader("r")
        await journal.append(*events(*range(256)))
        await journal.append(*events(*range(256)))
        reader.ack(await anext(reader))
        gate.open.clear()
        appending = asyncio.ensure_future(journal.append(*events(*range(256))))
        while journal._appender._batch == []:
            await asyncio.sleep(0)
        for entry in await take(reader, 255):
            reader.ack(entry)
        closing = asyncio.ensure_future(reader.aclose())
        await asyncio.sleep(0)
        gate.open.set()
        await asyncio.gather(appending, closing)
        (status,) = await journal.readers()

    assert status.missed == 0


async def test_gap_comes_before_the_entries_after_it(path, monkeypatch):
    fetch, fetched, go = Fetcher.fetch, threading.Event(), threading.Event()

    def slow(*args):
        result = fetch(*args)
        fetched.set()
        go.wait(10)
        return result

    async with (
        SqliteJournal(path, max_events=4096, sync="process") as journal,
        await journal.reader("r") as reader,
    ):
        for start in range(0, 4096, 256):
            await journal.append(*events(*range(start, start + 256)))
        monkeypatch.setattr(Fetcher, "fetch", slow)
        pulling = asyncio.ensure_future(anext(reader))
        await asyncio.sleep(0)
        assert fetched.wait(10)  # the reader's entries were read, and are then removed
        appending = asyncio.ensure_future(journal.append(*events(*range(4096, 4608))))
        while journal._appender._batch == []:
            await asyncio.sleep(0)
        done = threading.Event()
        journal._worker.submit(done.set)
        go.set()
        assert done.wait(10)  # the loop receives the results of both at once
        await appending
        first, second = await pulling, await anext(reader)

    assert (first, second.position) == (edr.Gap(512), 513)


async def test_reader_of_few_entries_keeps_no_room_from_others(path, monkeypatch):
    monkeypatch.setattr(appender_module, "NO_ROOM_PAUSE", 1000.0)
    seen = []
    async with (
        SqliteJournal(path, max_bytes=1 << 16, keep_unread=True, sync="process") as journal,
        await journal.reader("r", RARE) as reader,
    ):
        consuming = asyncio.ensure_future(consume(reader, seen))
        async with asyncio.timeout(60):
            for n in range(60):
                pad = {"pad": [f"{n * i:x}" for i in range(500)]}
                await journal.append(event(n, body=pad))
                await caught_up(journal, reader)
        consuming.cancel()

        assert journal.statistics().lost > 0
        assert (await journal.readers())[0].missed == 0


async def test_full_journal_names_the_reader_that_holds_it(path, monkeypatch, caplog):
    monkeypatch.setattr(appender_module, "NO_ROOM_PAUSE", 0.01)
    async with (
        SqliteJournal(path, max_bytes=1 << 16, keep_unread=True, sync="process") as journal,
        await journal.reader("mailer", max_unacked=1000) as reader,
    ):

        async def fill():
            for n in range(60):
                await journal.append(event(n, body={"pad": [f"{n * i:x}" for i in range(500)]}))

        filling = asyncio.ensure_future(fill())
        while not caplog.records:
            await asyncio.sleep(0)
        assert not filling.done()
        consuming = asyncio.ensure_future(consume(reader, []))
        await filling
        consuming.cancel()

    first, *rest = [each.getMessage() for each in caplog.records]
    assert first.startswith("the journal is full; reader 'mailer' has not acknowledged")
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
        "        reader = await journal.reader('r')\n"
        "        for n in range(int(sys.argv[2]) + 1):\n"
        "            entry = await anext(reader)\n"
        "            print(entry.event.body['n'], entry.delivery, flush=True)\n"
        "            if n < int(sys.argv[2]): reader.ack(entry)\n"
        "        if int(sys.argv[2]): await reader.flush()\n"
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
    async with SqliteJournal(path) as journal, await journal.reader("r") as reader:
        entries = await take(reader, 5)

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
        async with await journal.reader("r") as reader:
            await anext(reader)
        async with await journal.reader("r") as reader:
            again = await take(reader, 2)
            assert [entry.delivery for entry in again] == [2, 1]
    async with SqliteJournal(path) as journal, await journal.reader("r") as reader:
        assert [entry.delivery for entry in await take(reader, 3)] == [3, 2, 1]


async def test_repetition_is_stored_before_it_is_given(path):
    async with SqliteJournal(path) as journal, await journal.reader("r") as reader:
        await journal.append(event(1))
        entry = await anext(reader)
        for delivery in range(2, 5):
            reader.nack(entry)
            entry = await anext(reader)
            assert entry.delivery == delivery
            assert journal._store.readers["r"].unacked == ((1, delivery),)


@pytest.mark.parametrize("turns", range(8))
async def test_cancelled_repetition_comes_with_the_same_count(path, turns):
    async with SqliteJournal(path) as journal, await journal.reader("r") as reader:
        await journal.append(event(1))
        reader.nack(await anext(reader))
        waiting = asyncio.ensure_future(anext(reader))
        for _ in range(turns):
            await asyncio.sleep(0)
        if waiting.cancel():
            await asyncio.wait([waiting])
            entry = await anext(reader)
        else:
            entry = waiting.result()

        assert entry.delivery == 2


async def test_repetitions_are_given_when_nothing_can_be_stored(path, monkeypatch):
    async with SqliteJournal(path) as journal, await journal.reader("r") as reader:
        await journal.append(*events(1, 2))
        reader.nack(await anext(reader))

        def full(_store, _updates, *, synced):
            raise JournalFullError("the disk is full")

        monkeypatch.setattr(BlockStore, "store_readers", full)
        entries = await take(reader, 2)
        monkeypatch.undo()

    assert [(entry.event.body["n"], entry.delivery) for entry in entries] == [(1, 2), (2, 1)]


async def test_lag_leaves_out_what_was_acknowledged(path):
    async with SqliteJournal(path) as journal:
        await journal.append(*events(*range(101)))
        reader = await journal.reader("r")
        entries = await take(reader, 101)
        for entry in entries[1:]:
            reader.ack(entry)
        (status,) = await journal.readers()
        assert (status.position, status.lag, status.unacked) == (0, 1, 1)
        await reader.aclose()
        (status,) = await journal.readers()
        assert (status.position, status.lag, status.unacked) == (0, 1, 1)


async def test_entry_acked_while_its_repetition_is_stored_ends(path):
    async with SqliteJournal(path) as journal:
        await journal.append(*events(0))
        reader = await journal.reader("r")
        (entry,) = await take(reader, 1)
        reader.nack(entry)
        following = asyncio.ensure_future(anext(reader))
        await asyncio.sleep(0)  # the repetition is being stored
        reader.ack(entry)
        await journal.append(*events(1))

        assert (await following).event.body["n"] == 1


async def test_nacked_entry_that_is_acked_leaves_the_memory(path):
    async with SqliteJournal(path) as journal:
        await journal.append(*events(*range(2000)))
        reader = await journal.reader("r", max_unacked=2000)
        entries = await take(reader, 2000)
        for entry in entries:
            reader.nack(entry, delay=3600.0)
        for count, entry in enumerate(entries, 1):
            reader.ack(entry)
            assert len(reader._due) <= 2 * (2000 - count)
