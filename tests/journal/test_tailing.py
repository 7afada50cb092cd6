import pytest
from contracts.journal import events

import edr
from edr.journal.fallback import FallbackReader
from edr.journal.fetching import Lost
from edr.journal.selection import Selection
from edr.journal.tailing import Tailing


@pytest.fixture
def store(make_store):
    """A journal in use, with ten entries."""
    store = make_store()
    store.append(events(*range(10)))
    return store


@pytest.fixture
def tail():
    """Make a ``Tailing`` of the journal at a path."""
    readers = []

    def make(path, *bindings, after=0):
        readers.append(FallbackReader(path))
        return Tailing(readers[-1], Selection(bindings), after)

    yield make
    for reader in readers:
        reader.close()


def news(tailing):
    """All items that there are now: numbers of events, and losses."""
    items = []
    while True:
        items += tailing.next()
        if tailing.is_caught_up:
            return [item if isinstance(item, Lost) else item.event.body["n"] for item in items]


def test_each_entry_is_returned_once(store, tail):
    tailing = tail(store.path, after=8)

    assert news(tailing) == [8, 9]
    assert news(tailing) == []
    for n in range(10, 2000, 40):
        store.append(events(*range(n, n + 40)))
        assert news(tailing) == list(range(n, n + 40))


def test_entries_are_selected(store, tail):
    tailing = tail(store.path, edr.Binding(app_name="rare"))
    store.append(events(10))
    store.append(events(11, app_name="rare"))

    assert news(tailing) == [11]


def test_journal_without_news_is_not_read(store, tail):
    tailing = tail(store.path)
    news(tailing)
    tailing._reader.read = None

    assert tailing.next() == []


def test_restart_of_the_owner_loses_and_repeats_nothing(store, tail, make_store):
    tailing = tail(store.path)
    assert news(tailing) == list(range(10))
    store.append(events(10))
    store.close()
    assert news(tailing) == [10]
    make_store().append(events(11))
    assert news(tailing) == [11]


def test_skipped_positions_after_a_crash_are_not_a_loss(store, tail, crash, make_store):
    path = crash(store)
    tailing = tail(path)
    assert news(tailing) == list(range(10))
    made = make_store(path)
    made.append(events(10))

    assert made.last > 1_000_000
    assert news(tailing) == [10]


def test_entries_that_retention_removed_are_lost(make_store, tail):
    store = make_store(max_events=300)
    store.append(events(*range(100)))
    tailing = tail(store.path)
    assert news(tailing) == list(range(100))
    for n in range(100, 3000, 100):
        store.append(events(*range(n, n + 100)))
    lost, *others = news(tailing)

    assert lost == Lost(others[0], others[0] - 100, is_damage=False)
    assert others == list(range(others[0], 3000))


def test_salvage_by_the_owner_repeats_nothing(store, tail, make_store):
    tailing = tail(store.path)
    assert news(tailing) == list(range(10))
    database = store.path / "journal.sqlite3"
    store.close()
    data = bytearray(database.read_bytes())
    data[100:200] = bytes(100)
    database.write_bytes(data)
    salvaged = make_store()
    assert salvaged.salvaged is not None
    salvaged.append(events(10))

    assert [item for item in news(tailing) if not isinstance(item, Lost)] == [10]


def test_damaged_journal_is_read_from_a_copy_and_then_in_place(make_store, tail):
    store = make_store()
    for n in range(0, 600, 30):
        store.append(events(*range(n, n + 30)))
    tailing = tail(store.path)
    store._connection.execute("UPDATE blocks SET last = last + 1 WHERE first = 241")

    assert news(tailing) == [*range(240), Lost(480, 240, is_damage=True), *range(480, 600)]
    assert not tailing._reader.has_copy
    store.append(events(600))
    tailing._try_again_at = 0
    assert news(tailing) == [600]


def test_another_journal_at_the_path_is_read_from_its_start(store, tail, make_store, tmp_path):
    tailing = tail(store.path)
    assert news(tailing) == list(range(10))
    store.close()
    store.path.rename(tmp_path / "old")
    assert news(tailing) == []  # the folder is missing
    make_store().append(events(20, 21))
    tailing._try_again_at = 0

    assert news(tailing) == [20, 21]


def test_restored_backup_continues_at_the_position(store, tail, crash):
    copy = crash(store)
    tailing = tail(store.path, after=8)
    assert news(tailing) == [8, 9]
    store.close()
    store.path.rename(store.path.with_name("old"))
    copy.rename(store.path)

    assert news(tailing) == []
