"""Each end of a journal stores what was accepted, closes the files, and releases the lock."""

import asyncio
import os
import subprocess
import sys
import threading

import pytest
from contracts.journal import all_of, event, events, numbers
from journal.conftest import everything

import edr
from edr.journal import JournalError, SqliteJournal, batch
from edr.journal.batch import RejectedError
from edr.journal.closing import Commit, Remainder
from edr.journal.store import BlockStore

COUNT = 300


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal"


def accept(journal, count=COUNT):
    for each in events(*range(count)):
        assert journal.append_nowait(each)


async def stored_in(path):
    async with SqliteJournal(path) as journal:
        entries = await all_of(journal)
        if entries:  # no position was skipped, so the journal was closed cleanly
            assert journal.statistics().last == entries[-1].position
        return numbers(entries)


async def cancel_others():
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others)


@pytest.mark.parametrize("turns", range(12))
async def test_close_that_is_cancelled_closes_all_the_same(path, turns):
    journal = SqliteJournal(path)
    accept(journal)
    closing = asyncio.ensure_future(journal.aclose())
    for _ in range(turns):
        await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait([closing])
    await journal.aclose()

    assert await stored_in(path) == list(range(COUNT))
    assert journal.statistics().appended == COUNT


@pytest.mark.parametrize("turns", range(12))
async def test_close_ends_when_all_tasks_are_cancelled(path, turns):
    journal = SqliteJournal(path)
    accept(journal)
    asyncio.ensure_future(journal.aclose())  # noqa: RUF006 - held by the loop while it is needed
    for _ in range(turns):
        await asyncio.sleep(0)
    await cancel_others()
    await journal.aclose()

    assert await stored_in(path) == list(range(COUNT))
    assert (journal.statistics().appended, journal.statistics().waiting) == (COUNT, 0)


@pytest.mark.parametrize("turns", range(8))
async def test_append_gets_its_result_when_the_close_is_cancelled(path, turns):
    journal = SqliteJournal(path)
    accept(journal)
    appending = journal.submit(event(COUNT))
    closing = asyncio.ensure_future(journal.aclose())
    for _ in range(turns):
        await asyncio.sleep(0)
    await cancel_others()
    await asyncio.wait([closing])

    assert await appending == COUNT + 1
    await journal.aclose()


@pytest.mark.parametrize("turns", range(6))
def test_close_cut_off_by_the_end_of_the_loop_stores_all(path, turns):
    async def main():
        journal = SqliteJournal(path)
        accept(journal)
        asyncio.ensure_future(journal.aclose())  # noqa: RUF006 - to be cut off
        for _ in range(turns):
            await asyncio.sleep(0)
        return journal  # so that no garbage collection closes it

    journal = asyncio.run(main())

    assert asyncio.run(stored_in(path)) == list(range(COUNT))
    assert repr(journal).endswith(f"closed, up to {COUNT}>")


def test_journal_is_closed_with_its_loop_when_nothing_closed_it(path):
    async def main():
        journal = SqliteJournal(path)
        accept(journal)
        consumer = await journal.consumer("r")
        consumer.ack(await anext(consumer))
        return journal

    journal = asyncio.run(main())

    async def use():
        with pytest.raises(JournalError, match="was closed"):
            await journal.append(event(1))
        await journal.aclose()
        async with SqliteJournal(path) as again, await again.consumer("r") as consumer:
            return (await anext(consumer)).event.body["n"]

    assert asyncio.run(use()) == 1


def test_bus_end_cut_off_by_the_end_of_the_loop_stores_all(path):
    async def main():
        bus = edr.Bus(journal=SqliteJournal(path))
        for n in range(COUNT):
            await bus.emit("app", "1", "ok", "info", {"n": n})
        asyncio.ensure_future(bus.aclose())  # noqa: RUF006 - to be cut off
        return bus

    asyncio.run(main())

    assert asyncio.run(stored_in(path)) == list(range(COUNT))


@pytest.mark.parametrize("turns", range(20))
async def test_bus_end_that_is_cancelled_closes_its_journal(path, turns):
    journal = SqliteJournal(path)
    left, never = asyncio.Event(), asyncio.Event()

    async def use():
        async with edr.Bus(journal=journal) as bus:
            bus.bind(edr.Binding(), lambda _: never.wait())
            for n in range(COUNT):
                await bus.emit("app", "1", "ok", "info", {"n": n})
            left.set()

    using = asyncio.ensure_future(use())
    await left.wait()
    for _ in range(turns):
        await asyncio.sleep(0)
    while not using.done():  # again and again, as anyio's cancel scopes do
        using.cancel()
        await asyncio.sleep(0)
    await journal.aclose()

    assert await stored_in(path) == list(range(COUNT))


@pytest.mark.slow
def test_journal_is_closed_at_exit_when_its_loop_was_closed_alone(path):
    program = (
        "import asyncio, sys; from contracts.journal import event; from edr.journal import *\n"
        "async def main():\n"
        "    global j; j = SqliteJournal(sys.argv[1]); await j.append(event(0))\n"
        "    j.append_nowait(event(1))\n"
        "loop = asyncio.new_event_loop()\n"
        "loop.run_until_complete(main())\n"
        "loop.close()\n"
    )
    tests = os.path.dirname(os.path.dirname(__file__))  # noqa: PTH120
    subprocess.run(
        [sys.executable, "-c", program, path], check=True, env={**os.environ, "PYTHONPATH": tests}
    )

    assert asyncio.run(stored_in(path)) == [0, 1]


async def test_commit_under_way_at_the_end_is_stored_once(path, monkeypatch):
    may_commit, commit = threading.Event(), BlockStore._commit

    def slow(store, connection):
        may_commit.wait(10)
        commit(store, connection)

    journal = SqliteJournal(path)
    await journal.open()
    monkeypatch.setattr(BlockStore, "_commit", slow)
    appending = [journal.submit(event(n)) for n in range(2)]
    await asyncio.sleep(0)  # they are with the store
    accept(journal, 3)
    closing = asyncio.ensure_future(journal.aclose())
    await asyncio.sleep(0)
    await cancel_others()
    may_commit.set()
    await asyncio.wait([closing])

    assert [await each for each in appending] == [1, 2]
    await journal.aclose()
    assert await stored_in(path) == [0, 1, 0, 1, 2]


async def test_refused_event_is_left_out_alone_at_the_end(path, monkeypatch, caplog):
    append = BlockStore.append

    def refusing(store, given, *args):
        if {2, 7} & {each.body["n"] for each in given}:
            raise RejectedError("too large")
        return append(store, given, *args)

    monkeypatch.setattr(BlockStore, "append", refusing)
    journal = SqliteJournal(path)
    accept(journal, 10)
    asyncio.ensure_future(journal.aclose())  # noqa: RUF006 - to be cut off
    await asyncio.sleep(0)
    await cancel_others()
    await journal.aclose()

    assert (journal.statistics().appended, journal.statistics().failed) == (8, 2)
    assert "refused event" in caplog.text
    assert "was closed, and 2 events could not be stored: too large" in caplog.text
    assert await stored_in(path) == [n for n in range(10) if n not in {2, 7}]


async def test_append_that_waits_for_room_is_refused_at_the_end(path):
    journal = SqliteJournal(path, max_pending=2)
    accept(journal, 2)
    appending = asyncio.ensure_future(journal.append(*events(2, 3)))
    await asyncio.sleep(0)
    journal._end()

    with pytest.raises(JournalError, match="was closed"):
        await appending
    await journal.aclose()
    assert await stored_in(path) == [0, 1]


@pytest.mark.parametrize("stored", [0, 1, 3, 5])
def test_remainder_stores_what_the_last_commit_did_not_take(make_store, monkeypatch, stored):
    """Also when each commit takes one event only."""
    monkeypatch.setattr(batch, "COMMIT_BYTES", 1)
    store = make_store()
    last = Commit(events(*range(5)))
    for n in range(stored):
        store.append(last.events[n : n + 1])
    last.stored = stored
    remainder = Remainder("journal", last, events(5, 6), ())
    remainder.store_in(store)

    assert remainder.lost == 0
    assert everything(make_store()) == list(range(7))


async def busy_consumer(journal):
    """Return a consumer that has not acknowledged its entry."""
    await journal.append(event(1))
    consumer = await journal.consumer("mailer")
    await anext(consumer)
    return consumer


async def test_drain_logs_unacknowledged_entries_at_its_timeout(path, caplog):
    journal = SqliteJournal(path)
    await busy_consumer(journal)
    assert await journal.drain(timeout=0.0) == 0

    assert "consumers did not acknowledge all entries: 'mailer' 1" in caplog.text
    assert await stored_in(path) == [1]


@pytest.mark.parametrize("turns", range(6))
async def test_drain_that_is_cancelled_closes_all_the_same(path, turns):
    journal = SqliteJournal(path)
    await busy_consumer(journal)
    draining = asyncio.ensure_future(journal.drain())
    for _ in range(turns):
        await asyncio.sleep(0)
    draining.cancel()
    await asyncio.wait([draining])
    await journal.aclose()

    assert await stored_in(path) == [1]


async def test_drain_of_an_unused_journal_closes_it(path):
    journal = SqliteJournal(path)
    assert await journal.drain() == 0
    with pytest.raises(JournalError, match="closed"):
        await journal.open()


@pytest.mark.parametrize("timeout", [-1, "1"])
async def test_timeout_of_drain_is_checked(path, timeout):
    with pytest.raises(ValueError, match="timeout"):
        await SqliteJournal(path).drain(timeout)
