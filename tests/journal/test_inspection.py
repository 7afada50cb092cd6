import asyncio
from contextlib import aclosing
from datetime import timedelta

import pytest
from contracts.journal import events

import edr
from edr.journal import JournalError, JournalFiles, JournalUnusableError, Lost
from edr.journal.schema import ConsumerState

FAST = 0.001
"""Seconds between looks. These tests read real files, so their time is real."""


@pytest.fixture
def store(make_store):
    """A journal in use: 600 entries, of two apps, and a consumer."""
    store = make_store()
    for n in range(0, 600, 30):
        store.append(events(*range(n, n + 30), app_name="a" if n else "rare"))
    store.make_consumer(ConsumerState("r", "[]", 100, unacked=((90, 1),), last_ack=0))
    return store


@pytest.fixture
def files(store):
    with JournalFiles(store.path) as files:
        yield files


def numbers(items):
    return [item if isinstance(item, Lost) else item.event.body["n"] for item in items]


async def next_numbers(following, count):
    """The next items, which must come within a second."""
    async with asyncio.timeout(5):
        return numbers([await anext(following) for _ in range(count)])


def test_summary_of_a_journal_in_use(files, store):
    summary = files.summary()

    assert (summary.id, summary.entries, summary.consumers) == (store.id, 600, ("r",))
    assert (summary.first, summary.last) == (1, 600)
    assert summary.since <= summary.until
    assert summary.bytes == sum(file.stat().st_size for file in store.path.iterdir())


def test_summary_of_an_empty_journal(make_store):
    with JournalFiles(make_store().path) as files:
        assert files.summary()[1:6] == (0, 0, 0, None, None)
        assert list(files.entries()) == []


def test_consumers_have_their_positions(files):
    (consumer,) = files.consumers()

    assert consumer[:6] == ("r", "[]", 89, 511, 1, 0)


def test_entries_are_selected(files):
    rare = edr.Binding(app_name="rare")

    assert numbers(files.entries()) == list(range(600))
    assert numbers(files.entries(after=590)) == list(range(590, 600))
    assert numbers(files.entries(last=2)) == [598, 599]
    assert numbers(files.entries(rare)) == list(range(30))
    assert numbers(files.entries(rare, last=3)) == [27, 28, 29]
    assert numbers(files.entries(since=timedelta(days=36_500))) == list(range(600))
    assert numbers(files.entries(since=timedelta(seconds=1))) == []
    assert numbers(files.entries(last=0)) == []


def test_last_entries_are_those_before_the_first_call(files, store, monkeypatch):
    read = files._reader.read
    appended = iter(range(600, 700))

    def read_and_append(query):
        found = read(query)
        store.append(events(next(appended)))
        return found

    monkeypatch.setattr(files._reader, "read", read_and_append)

    assert numbers(files.entries(last=3)) == [597, 598, 599]


def test_entries_end_with_those_stored_at_the_first_call(files, store):
    entries = files.entries(after=598)
    first = next(entries)
    store.append(events(600))

    assert numbers([first, *entries]) == [598, 599]


def test_retention_is_a_loss_only_after_a_named_position(make_store):
    store = make_store(max_events=300)
    for n in range(0, 3000, 250):
        store.append(events(*range(n, n + 250)))
    with JournalFiles(store.path) as files:
        everything = numbers(files.entries())
        lost, *others = files.entries(after=10)

    assert everything == list(range(everything[0], 3000))
    assert lost == Lost(everything[0], everything[0] - 10, is_damage=False)
    assert numbers(others) == everything


def test_damaged_journal_is_read_from_a_salvaged_copy(files, store):
    assert numbers(files.entries(last=1)) == [599]
    store._connection.execute("UPDATE blocks SET last = last + 1 WHERE first = 241")
    found = numbers(files.entries())

    assert found == [*range(240), Lost(480, 240, is_damage=True), *range(480, 600)]
    assert files.summary().id is None


def test_verify_reports_damage(files, store):
    assert files.verify() == (600, (), False)
    store._connection.execute("UPDATE blocks SET last = last + 1 WHERE first = 241")
    with JournalFiles(store.path) as damaged:
        assert damaged.verify() == (360, ((241, 480, 240),), True)


def test_copy_has_all_entries(files, tmp_path):
    files.copy(tmp_path / "copy")

    with JournalFiles(tmp_path / "copy") as copy:
        assert numbers(copy.entries()) == list(range(600))
    with pytest.raises(JournalError, match="exists already"):
        files.copy(tmp_path / "copy")


def test_folder_without_a_journal_is_refused(tmp_path):
    with pytest.raises(JournalUnusableError, match="must be the folder of a journal"):
        JournalFiles(tmp_path)
    with pytest.raises(JournalUnusableError, match="does not exist"):
        JournalFiles(tmp_path / "no")


async def test_follow_returns_each_entry_once(files, store):
    async with aclosing(files.follow(last=2, every=FAST)) as following:
        assert await next_numbers(following, 2) == [598, 599]
        for n in range(600, 1000, 40):
            store.append(events(*range(n, n + 40)))
            assert await next_numbers(following, 40) == list(range(n, n + 40))


async def test_follow_begins_with_the_next_entry(files, store):
    async with aclosing(files.follow(every=FAST)) as following:
        first = asyncio.ensure_future(anext(following))
        n = 600
        while not first.done():
            store.append(events(n))
            n += 1
            await asyncio.sleep(FAST)

        assert 600 <= first.result().event.body["n"] < n


async def test_follow_ends_when_it_is_cancelled(files, store):
    async with aclosing(files.follow(every=FAST)) as following:
        waiting = asyncio.ensure_future(anext(following))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert numbers(files.entries(last=1)) == [599]
