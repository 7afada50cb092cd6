import pytest
from contracts.journal import events

from edr.journal.errors import JournalUnusableError
from edr.journal.fallback import FallbackReader


@pytest.fixture
def store(make_store):
    store = make_store()
    store.append(events(*range(10)))
    return store


@pytest.fixture
def reader(store):
    reader = FallbackReader(store.path)
    yield reader
    reader.close()


def newest(reader):
    return reader.read(lambda state: state.last)


def damage(store):
    store._connection.execute("UPDATE metadata SET crc = crc + 1")


def test_sound_journal_is_read_in_place(reader, store):
    assert newest(reader) == 10
    store.append(events(10))

    assert reader.has_changed()
    assert newest(reader) == 11
    assert not reader.has_copy
    assert not reader.has_changed()


def test_damaged_journal_is_read_from_a_copy_of_one_moment(reader, store):
    damage(store)
    assert newest(reader) == 10
    assert reader.has_copy
    assert reader.is_salvaged
    store.append(events(10))

    assert newest(reader) == 10
    reader.drop_copy()
    assert newest(reader) == 11


def test_copy_is_removed(reader, store, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    damage(store)
    newest(reader)
    assert list(tmp_path.glob("edr-journal-*"))
    reader.close()

    assert not list(tmp_path.glob("edr-journal-*"))


def test_copy_is_removed_if_it_cannot_be_opened(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "journal.sqlite3").write_bytes(b"x" * 5000)
    reader = FallbackReader(tmp_path)
    with pytest.raises(JournalUnusableError, match="must be a journal") as caught:
        newest(reader)

    assert caught.value.path == tmp_path
    assert not list(tmp_path.glob("edr-journal-*"))


def test_closed_reader_opens_the_files_again(reader):
    newest(reader)
    reader.close()

    assert newest(reader) == 10


def test_folder_without_a_journal_is_refused(tmp_path):
    with pytest.raises(JournalUnusableError):
        FallbackReader(tmp_path)
