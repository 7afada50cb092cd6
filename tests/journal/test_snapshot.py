import os

import pytest
from contracts.journal import events

from edr.journal.fetching import Lost
from edr.journal.schema import ConsumerState
from edr.journal.selection import Selection
from edr.journal.snapshot import SnapshotReader, UnreadableError


def numbers(reader, after=0):
    """The numbers of the events after a position, and the losses."""

    def query(snapshot):
        items, position = [], after
        while True:
            fetched = snapshot.fetcher.fetch(Selection(()), position)
            items += fetched.items
            if fetched.position == position:
                return items
            position = fetched.position

    return [item if isinstance(item, Lost) else item.event.body["n"] for item in reader.read(query)]


def append(store, *numbers, **fields):
    for n in range(0, len(numbers), 256):
        store.append(events(*numbers[n : n + 256], **fields))


@pytest.mark.parametrize("pad", [1, 300, 9000])
@pytest.mark.parametrize("is_closed", [True, False])
def test_snapshot_has_all_entries_of_the_log_and_the_file(make_store, pad, is_closed):
    store = make_store()
    append(store, *range(2000), body={"text": os.urandom(pad).hex()[:pad]})
    if is_closed:
        store.close()

    with SnapshotReader(store.path) as reader:
        assert numbers(reader) == list(range(2000))
        assert numbers(reader, after=1500) == list(range(1500, 2000))


def test_snapshot_has_the_state_of_consumers_and_metadata(make_store):
    store = make_store()
    append(store, *range(10))
    store.make_consumer(ConsumerState("r", "[]", 5))

    with SnapshotReader(store.path) as reader:
        found = reader.read(lambda snapshot: snapshot)
    assert (found.consumers, found.id) == (store.consumers, store.id)
    assert (found.first, found.last, found.entries) == (1, 10, 10)


def test_reader_follows_commits_checkpoints_and_restarts(make_store):
    store = make_store()
    with_pad = {"text": "x" * 200}
    append(store, 0)
    reader = SnapshotReader(store.path)
    seen = 1
    assert numbers(reader) == [0]
    for step in range(1, 60):
        if step == 30:  # another owner
            store.close()
            store = make_store()
        append(store, *range(seen, seen + 40), body=with_pad)

        assert reader.has_changed()
        assert numbers(reader, after=seen) == list(range(seen, seen + 40))
        assert not reader.has_changed()
        seen += 40
    reader.close()


def test_entries_removed_by_retention_are_reported_as_lost(make_store):
    store = make_store(max_events=512)
    append(store, *range(300))
    with SnapshotReader(store.path) as reader:
        assert numbers(reader) == list(range(300))
        append(store, *range(300, 3000))

        first, *others = numbers(reader, after=300)
    assert first.missed == others[0] - 300
    assert not first.is_damage
    assert others == list(range(others[0], 3000))


def test_read_begins_again_when_the_owner_checkpoints_during_it(make_store):
    store = make_store()
    append(store, *range(100))
    calls = []

    def query(snapshot):
        calls.append(snapshot.last)
        if len(calls) == 1:
            append(store, *range(100, 200))
            store._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return snapshot.last

    with SnapshotReader(store.path) as reader:
        assert reader.read(query) == 200
    assert calls == [100, 200]


def test_read_is_repeated_if_the_file_was_written_and_the_log_was_not_restarted(make_store):
    store = make_store()
    append(store, *range(100))
    calls = []

    def query(snapshot):
        calls.append(snapshot.last)
        if len(calls) == 1:
            append(store, *range(100, 200))
            store._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        return snapshot.last

    with SnapshotReader(store.path) as reader:
        assert reader.read(query) == 200
    assert calls == [100, 200]


def test_read_is_not_repeated_for_a_commit_that_only_the_log_has(make_store):
    store = make_store()
    append(store, *range(100))
    database = store.path / "journal.sqlite3"
    os.utime(database, (1_600_000_000, 1_600_000_000))
    calls = []

    def query(snapshot):
        calls.append(snapshot.last)
        append(store, *range(100, 110))
        return snapshot.last

    with SnapshotReader(store.path) as reader:
        assert reader.read(query) == 100
    assert calls == [100]


def test_reader_opens_a_replaced_journal(make_store, tmp_path):
    store = make_store()
    append(store, *range(5))
    with SnapshotReader(store.path) as reader:
        assert numbers(reader) == [0, 1, 2, 3, 4]
        store.close()
        store.path.rename(tmp_path / "old")
        append(make_store(), 7)

        assert reader.has_changed()
        assert numbers(reader) == [7]


def test_damaged_page_is_reported(make_store):
    store = make_store()
    append(store, *range(3000), body={"text": "x" * 50})
    store.close()
    database = store.path / "journal.sqlite3"
    data = bytearray(database.read_bytes())
    data[4096 * 2 : 4096 * 8] = bytes(4096 * 6)
    database.write_bytes(data)

    with SnapshotReader(store.path) as reader, pytest.raises(UnreadableError):
        numbers(reader)


def test_truncated_file_is_reported(make_store):
    store = make_store()
    append(store, *range(3000))
    store.close()
    database = store.path / "journal.sqlite3"
    os.truncate(database, database.stat().st_size // 2)

    with SnapshotReader(store.path) as reader, pytest.raises(UnreadableError):
        numbers(reader)


def test_file_that_is_not_a_journal_is_reported(tmp_path):
    (tmp_path / "journal.sqlite3").write_bytes(b"something else")

    with SnapshotReader(tmp_path) as reader, pytest.raises(UnreadableError):
        numbers(reader)


def test_reader_does_not_change_the_files(make_store):
    store = make_store()
    append(store, *range(500))
    before = {file.name: file.read_bytes() for file in store.path.iterdir()}
    with SnapshotReader(store.path) as reader:
        numbers(reader)

    assert {file.name: file.read_bytes() for file in store.path.iterdir()} == before
    append(store, 500)  # the owner still has its lock


def test_page_number_that_does_not_exist_is_damage(make_store, monkeypatch):
    store = make_store()
    append(store, *range(5))
    with SnapshotReader(store.path) as reader, pytest.raises(UnreadableError):
        reader.read(lambda _: reader._page(0))


def test_files_that_cannot_be_looked_at_may_have_changed(make_store, monkeypatch):
    store = make_store()
    append(store, *range(5))
    with SnapshotReader(store.path) as reader:
        reader.read(lambda snapshot: snapshot.last)
        assert not reader.has_changed()
        monkeypatch.setattr(os, "pread", lambda *_: (_ for _ in ()).throw(OSError(5, "I/O")))

        assert reader.has_changed()
