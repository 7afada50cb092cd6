import asyncio
import gc
import os
import shutil
import subprocess
import sys
import threading
from datetime import timedelta

import pytest
from contracts.journal import all_of, event, events, numbers, take
from support.forking import fork
from support.unchecked import unchecked_event

import edr
from edr.journal import (
    Entry,
    JournalError,
    JournalFullError,
    JournalInUseError,
    JournalUnusableError,
    SqliteJournal,
)
from edr.journal import opening as opening_module
from edr.journal import registry as registry_module


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal"


async def on_connection(journal, use):
    """Use the connection in its own thread."""
    return await journal._worker.submit(lambda: use(journal._store._connection))


class FullDisk:
    """Lets a journal's database grow no further, until it is told to."""

    def __init__(self, monkeypatch):
        self.pages = None
        connect = opening_module.connect

        def limited(*args, **options):
            connection = connect(*args, **options)
            if self.pages is not None:
                connection.execute(f"PRAGMA max_page_count = {self.pages}")
            return connection

        monkeypatch.setattr(opening_module, "connect", limited)

    async def fill(self, journal):
        self.pages = 1  # the least it can be is what the file has now
        await on_connection(journal, lambda each: each.execute("PRAGMA max_page_count = 1"))

    def make_room(self):
        self.pages = None


@pytest.fixture
def disk(monkeypatch):
    return FullDisk(monkeypatch)


async def fill(journal):
    """Append until the disk is full; return how many were stored."""
    stored = 0
    while True:
        try:
            await journal.append(*events(*range(stored, stored + 50), body={"pad": "x" * 2000}))
        except JournalFullError:
            return stored
        stored += 50


# Faults


async def test_a_full_disk_is_told_to_who_waits_and_recovers_by_itself(path, disk, caplog):
    async with SqliteJournal(path) as journal:
        await disk.fill(journal)
        stored = await fill(journal)
        assert journal.statistics().error is not None
        assert len(await all_of(journal)) == stored
        disk.make_room()
        while journal.statistics().waiting:
            await asyncio.sleep(0.01)
        await journal.append(event(-1))
        entries = await all_of(journal)

    # What was told as not stored was kept, and is stored now, each once.
    assert numbers(entries) == [*range(stored + 50), -1]
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


async def test_what_waits_for_a_full_disk_is_bounded_and_the_rest_is_refused(path, disk, caplog):
    async with SqliteJournal(path, max_pending=100) as journal:
        await disk.fill(journal)
        stored = await fill(journal)
        taken = sum(journal.append_nowait(event(n)) for n in range(500))
        await journal.room()
        statistics = journal.statistics()

        assert taken == 50
        assert (statistics.waiting, statistics.failed) == (100, 0)
        with pytest.raises(JournalFullError):
            await journal.append(event(-1))
        disk.make_room()
        while journal.statistics().waiting:
            await asyncio.sleep(0.01)
        assert len(await all_of(journal)) == stored + 100


async def test_closing_with_a_full_disk_ends_and_says_what_is_lost(path, disk, caplog):
    async with SqliteJournal(path) as journal:
        await disk.fill(journal)
        stored = await fill(journal)
    assert "was closed, and 50 events could not be stored" in caplog.text
    disk.make_room()
    async with SqliteJournal(path) as journal:
        assert len(await all_of(journal)) == stored


@pytest.mark.slow
async def test_emitters_wait_for_readers_only_if_told_to(path):
    async with SqliteJournal(path, max_bytes=1 << 17, keep_unread=True) as journal:
        consumer = await journal.consumer("r", max_unacked=100_000)
        stored = 0
        while True:
            appending = asyncio.ensure_future(journal.append(*events(*range(2000))))
            done, _ = await asyncio.wait([appending], timeout=0.5)
            if not done:
                break
            stored += 2000
        assert journal.statistics().error is None
        for entry in await take(consumer, stored):
            consumer.ack(entry)
        await appending

        assert journal.statistics().failed == 0
        assert (await journal.consumers())[0].missed == 0


@pytest.mark.slow
async def test_a_journal_full_of_what_readers_keep_closes(path, caplog):
    async with SqliteJournal(path, max_bytes=1 << 17, keep_unread=True) as journal:
        await journal.consumer("r")
        for n in range(0, 40_000, 1000):
            for each in events(*range(n, n + 1000)):
                journal.append_nowait(each)
            await asyncio.sleep(0)
    assert "could not be stored" in caplog.text


async def test_an_event_that_can_never_be_stored_is_left_out_alone(path, caplog):
    wrong = unchecked_event(**{**event(0).__dict__, "severity": "no such", "body": event(0).body})
    async with SqliteJournal(path) as journal:
        before, bad, after = await asyncio.gather(
            journal.append(event(1)),
            journal.append(wrong),
            journal.append(event(2)),
            return_exceptions=True,
        )
        assert isinstance(bad, JournalError)
        assert before < after
        assert numbers(await all_of(journal)) == [1, 2]
        assert journal.statistics().failed == 1


@pytest.mark.slow
@pytest.mark.parametrize("page", [8, 30])
async def test_readers_go_on_over_damage(path, caplog, page):
    async with SqliteJournal(path) as journal, await journal.consumer("r"):
        for n in range(0, 20_000, 1000):
            await journal.append(*events(*range(n, n + 1000)))
    name = journal.id
    with (path / "journal.sqlite3").open("r+b") as file:
        file.seek(page * 4096)
        file.write(b"\0" * 4096 * 12)
    async with SqliteJournal(path) as journal, await journal.consumer("r") as consumer:
        got, missed = [], 0
        while not got or got[-1] != 19_999:
            try:
                item = await anext(consumer)
            except JournalError:  # the damage was found; the next call is of what was salvaged
                continue
            if isinstance(item, edr.Gap):
                missed += item.missed
            else:
                got.append(item.event.body["n"])
                consumer.ack(item)
        assert len(got) + missed == 20_000
        assert 0 < missed < 5000
        assert got == sorted(set(got))
        await journal.append(event(1))
        await consumer.flush()
        (status,) = await journal.consumers()
        assert status.missed == missed
        assert (journal.id == name) is (not caplog.records)


@pytest.mark.slow
async def test_a_second_process_is_refused_at_once(path):
    program = (
        "import asyncio, sys; from edr.journal import *\n"
        "async def main():\n"
        "    try: await SqliteJournal(sys.argv[1]).open()\n"
        "    except JournalInUseError as exc: print('refused', exc)\n"
        "asyncio.run(main())"
    )
    async with SqliteJournal(path) as journal:
        await journal.append(event(1))
        second = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", program, path],
            capture_output=True,
            text=True,
            check=True,
        )
        with pytest.raises(JournalInUseError, match=rf"in process {os.getpid()} \(this one\)"):
            await SqliteJournal(path).open()
        await journal.append(event(2))

    assert second.stdout.startswith("refused")
    assert f"open in process {os.getpid()}, and" in second.stdout
    assert "close it there, or use another folder" in second.stdout


async def test_one_that_cannot_be_opened_says_so_to_everybody_and_opens_later(path, caplog):
    path.write_text("in the way")
    journal = SqliteJournal(path)
    assert journal.append_nowait(event(1))
    for call in (journal.open, journal.flush, journal.consumers, lambda: journal.append(event(2))):
        with pytest.raises(JournalUnusableError):
            await call()
    path.unlink()
    await journal.append(event(3))

    assert numbers(await all_of(journal)) == [1, 2, 3]
    await journal.aclose()


async def test_a_forked_child_cannot_use_it(path):
    async with SqliteJournal(path) as journal:
        await journal.append(event(1))
        child = fork()
        if not child:
            code = 1
            try:
                journal.append_nowait(event(2))
            except edr.WrongLoopError:
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        await journal.append(event(3))

        assert numbers(await all_of(journal)) == [1, 3]


async def test_what_a_crash_left_is_read_to_its_end(path, tmp_path):
    async with SqliteJournal(path) as journal:
        await journal.append(event(1))
        await asyncio.to_thread(shutil.copytree, path, tmp_path / "crashed")
    async with SqliteJournal(tmp_path / "crashed") as journal:
        assert numbers(await all_of(journal)) == [1]
        async with journal.cursor(after=0) as reading, await journal.consumer("r") as consumer:
            await asyncio.gather(anext(reading), anext(consumer))
            waiting = [asyncio.ensure_future(anext(each)) for each in (reading, consumer)]
            await asyncio.sleep(0)
            await journal.append(event(2))

            assert numbers(await asyncio.gather(*waiting)) == [2, 2]
            assert await all_of(journal, last=1) == await all_of(journal, after=1)


async def test_nothing_is_read_before_it_is_committed(path, monkeypatch):
    async with SqliteJournal(path) as journal:
        await journal.append(event(1))
        reading = journal.cursor(after=0)
        assert numbers(await take(reading, 1)) == [1]
        commits, may_commit = threading.Event(), threading.Event()
        commit = journal._store._commit

        def slow(connection):
            commits.set()
            may_commit.wait(10)
            commit(connection)

        monkeypatch.setattr(journal._store, "_commit", slow)
        appending = asyncio.ensure_future(journal.append(event(2)))
        assert await asyncio.to_thread(commits.wait, 10)
        waiting = asyncio.ensure_future(anext(reading))
        for _ in range(50):
            await asyncio.sleep(0)
        assert not waiting.done()
        assert not appending.done()
        may_commit.set()

        assert (await waiting).position == await appending
        await reading.aclose()


# Bounds


async def test_what_was_accepted_is_stored_within_linger(path):
    async with SqliteJournal(path, linger=0.02) as journal:
        reading = journal.cursor()
        journal.append_nowait(event(1))

        assert numbers(await take(reading, 1)) == [1]
        await reading.aclose()


async def test_an_append_waits_for_room_and_nobody_overtakes_it(path):
    async with SqliteJournal(path, max_pending=10) as journal:
        assert all(journal.append_nowait(event(n)) for n in range(10))
        waiting = asyncio.ensure_future(journal.append(*events(10, 11, 12)))
        later = asyncio.ensure_future(journal.append(event(13)))
        await asyncio.sleep(0)
        assert not journal.append_nowait(event(-1))
        await asyncio.gather(waiting, later)
        big = await journal.append(*events(*range(14, 100)))

        assert numbers(await all_of(journal)) == list(range(100))
        assert big == journal.statistics().last


async def test_a_cancelled_append_that_waits_for_room_lets_the_next_one_in(path):
    async with SqliteJournal(path, max_pending=2) as journal:
        assert all(journal.append_nowait(event(n)) for n in range(2))
        waiting = [asyncio.ensure_future(journal.append(event(n))) for n in (2, 3, 4)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        waiting[1].cancel()
        await waiting[2]

        assert numbers(await all_of(journal)) == [0, 1, 4]


async def test_acks_are_stored_by_themselves_soon(path, monkeypatch):
    monkeypatch.setattr(registry_module, "ACK_INTERVAL", 0.01)
    async with SqliteJournal(path) as journal, await journal.consumer("r") as consumer:
        await journal.append(event(1))
        consumer.ack(await anext(consumer))
        while journal._store.consumers["r"].last_ack is None:
            await asyncio.sleep(0.005)

        assert journal._store.consumers["r"].position == 1


async def test_an_ack_pays_no_sync_of_its_own(path):
    async with SqliteJournal(path) as journal, await journal.consumer("r") as consumer:
        await journal.append(event(1))
        statements = []
        await on_connection(journal, lambda each: each.set_trace_callback(statements.append))
        consumer.ack(await anext(consumer))
        while not any("consumers" in each for each in statements):
            await asyncio.sleep(0.01)

        assert statements[0] == "PRAGMA synchronous = NORMAL"


@pytest.mark.parametrize(("sync", "level"), [("disk", 2), ("process", 1)])
async def test_sync_says_what_a_commit_survives(path, sync, level):
    async with SqliteJournal(path, sync=sync) as journal:
        await journal.append(event(1))
        await journal.append(event(2))

        asked = lambda each: each.execute("PRAGMA synchronous").fetchone()  # noqa: E731
        assert await on_connection(journal, asked) == (level,)


async def test_a_journal_nobody_refers_to_lets_go_of_its_lock(path):
    journal = SqliteJournal(path)
    await journal.append(event(1))
    thread = journal._worker._thread
    del journal
    gc.collect()
    await asyncio.to_thread(thread.join)
    async with SqliteJournal(path) as journal:
        assert numbers(await all_of(journal)) == [1]


@pytest.mark.slow
def test_a_program_that_ends_without_closing_stores_what_was_accepted(path):
    program = (
        "import asyncio, sys; from contracts.journal import event; from edr.journal import *\n"
        "async def main():\n"
        "    global j; j = SqliteJournal(sys.argv[1]); await j.append(event(1))\n"
        "    j.append_nowait(event(2))\n"
        "asyncio.run(main())"
    )
    tests = os.path.dirname(os.path.dirname(__file__))  # noqa: PTH120
    subprocess.run(
        [sys.executable, "-c", program, path], check=True, env={**os.environ, "PYTHONPATH": tests}
    )

    async def stored():
        async with SqliteJournal(path) as journal:
            return numbers(await all_of(journal)), journal.statistics().last

    assert asyncio.run(stored()) == ([1, 2], 2)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_bytes": 0},
        {"max_events": 0},
        {"max_age": 60},
        {"max_age": timedelta(0)},
        {"sync": "full"},
        {"linger": -1},
        {"max_pending": 0},
    ],
)
def test_a_wrong_argument_is_refused_and_nothing_is_made(path, wrong):
    with pytest.raises(ValueError):
        SqliteJournal(path, **wrong)
    assert not path.exists()


# The death of the process


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_nothing_acknowledged_is_lost_and_no_position_reused_when_it_is_killed(path):
    """The rounds of benchmarks/kill_journal.py, six of them."""
    from benchmarks.kill_journal import Kills

    kills = await asyncio.to_thread(Kills(path).run, 6)

    assert kills.stored > 500
    assert (kills.lost, kills.reused) == (0, 0)
    assert kills.most_doubled <= kills.bound


# Damage that is found while it is open


@pytest.mark.parametrize(("block", "lost"), [(1, 20), (41, 20), (81, 20)])
async def test_damage_found_while_open_is_salvaged_and_told(tmp_path, block, lost):
    path = tmp_path / "journal"
    async with SqliteJournal(path) as journal:
        for n in range(0, 100, 20):
            await journal.append(*events(*range(n, n + 20)))
        consumer = await journal.consumer("r")
        await consumer.aclose()
    async with SqliteJournal(path) as journal, await journal.consumer("r") as consumer:
        old = journal.id
        # No bit on the disk flips at a chosen moment.
        journal._store._connection.execute(
            "UPDATE blocks SET until = until + 1 WHERE first = ?", (block,)
        )
        items = await all_of(journal)
        gap = next(each for each in items if isinstance(each, edr.Gap))
        assert gap.missed == lost == 100 - (len(items) - 1)
        assert items.index(gap) == block - 1
        assert journal.id != old
        assert journal.statistics().corrupt == lost

        position = await journal.append(event(-1))
        assert position > 100
        told = 0
        while not isinstance(item := await anext(consumer), Entry) or item.position < position:
            told += item.missed if isinstance(item, edr.Gap) else 0
        assert told == lost
        await consumer.flush()
        (status,) = await journal.consumers()
        assert status.missed == lost
