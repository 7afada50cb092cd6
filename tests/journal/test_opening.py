"""What is found at a journal's path: to be made, opened, salvaged, or left alone."""

import errno
import os
import shutil
import sqlite3

import pytest
from contracts.journal import events
from journal.conftest import everything

from edr.journal import JournalUnusableError
from edr.journal.retention import Limits
from edr.journal.schema import PAGE, ConsumerState
from edr.journal.store import BlockStore


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A closed journal of 20,000 entries, and a consumer."""
    path = tmp_path_factory.mktemp("filled") / "journal"
    store = BlockStore(path, Limits(), full_sync=False, now=lambda: 1, report=print)
    store.open()
    for n in range(0, 20_000, 1000):
        store.append(events(*range(n, n + 1000)))
    store.make_consumer(ConsumerState("r", "[]", 5000, unacked=((4000, 2),)))
    store.close()
    return store


@pytest.fixture
def full(make_store, filled, tmp_path):
    """A copy of it, which may be damaged."""
    shutil.copytree(filled.path, tmp_path / "journal")
    store = make_store()
    store.close()
    return store


def database(store):
    return store.path / "journal.sqlite3"


def damage(store, *places, data=b"\0" * PAGE):
    with database(store).open("r+b") as file:
        for place in places:
            file.seek(place)
            file.write(data)


def corrupt_files(store):
    return [each.name for each in store.path.iterdir() if ".corrupt-" in each.name]


def test_a_new_one_is_made_and_says_nothing(make_store, said):
    store = make_store()

    assert len(store.id) == 32
    assert said == []


def test_a_flipped_byte_costs_its_block_and_says_so(make_store, full, said):
    data = database(full).read_bytes()
    damage(full, len(data) // 2, data=bytes([data[len(data) // 2] ^ 1]))
    store = make_store()
    items = everything(store)
    gaps = [each for each in items if not isinstance(each, int)]
    entries = [each for each in items if isinstance(each, int)]

    assert len(gaps) <= 1
    assert len(entries) + sum(gap.missed for gap in gaps) == 20_000
    assert sum(gap.missed for gap in gaps) <= 2 * 256  # two, if it is in what links their pages
    if said:
        assert "was damaged" in said[0]
        assert store.append(events(1)).first > 20_001
    else:
        assert store.corrupt == sum(gap.missed for gap in gaps)
        assert store.append(events(1)).first == 20_001


@pytest.mark.slow
@pytest.mark.parametrize(
    "places",
    [
        pytest.param([0], id="the first page"),
        pytest.param([2 * PAGE, 3 * PAGE, 4 * PAGE], id="where the trees begin"),
        pytest.param([n * PAGE for n in range(20, 24)], id="pages inside"),
    ],
)
def test_blank_pages_cost_what_was_in_them(make_store, full, said, places):
    damage(full, *places)
    store = make_store()
    before = everything(store)
    store.append(events(-1))
    items = everything(store)
    lost = sum(each.missed for each in items if not isinstance(each, int))
    entries = [each for each in items if isinstance(each, int)]

    assert items == [*before, -1]
    assert entries[-1] == -1
    assert len(entries) > 20_000 * 0.8
    assert entries[:-1] == sorted(set(entries[:-1]))
    assert len(entries) - 1 + lost >= 20_000
    if said:
        assert "was damaged" in said[0]
        assert len(corrupt_files(store)) == 1
        assert store.id != full.id


def test_readers_go_on_where_they_were_after_a_salvage(make_store, full):
    damage(full, 0)
    store = make_store()

    assert store.consumers["r"] == full.consumers["r"]
    assert everything(store, after=5000)[0] == 5000


@pytest.mark.slow
def test_half_a_file_is_half_a_journal(make_store, full, said):
    with database(full).open("r+b") as file:
        file.truncate(database(full).stat().st_size // 2)
    store = make_store()
    items = everything(store)
    entries = [each for each in items if isinstance(each, int)]

    assert len(entries) > 8_000
    assert "was damaged" in said[0]
    first = store.append(events(-1)).first
    assert first > 20_000
    gap, last = everything(store)[-2:]
    assert last == -1
    assert gap.missed >= 1


@pytest.mark.parametrize("how", ["empty", "missing", "rubbish"])
def test_nothing_left_is_damaged_and_not_new(make_store, full, said, how):
    if how == "missing":
        database(full).unlink()
    else:
        database(full).write_bytes(b"" if how == "empty" else b"rubbish" * 1000)
    store = make_store()
    store.append(events(1))
    gap, entry = everything(store)

    assert store.id != full.id
    assert len(said) == 1
    assert (gap.missed, entry) == (1, 1)


@pytest.mark.slow
def test_it_is_salvaged_once_and_not_at_each_start(make_store, full, said):
    damage(full, 0)
    for n in range(4):
        store = make_store()
        store.append(events(n))
        store.close()

    assert len(said) == len(corrupt_files(full)) == 1
    assert everything(make_store())[-4:] == [0, 1, 2, 3]


def test_a_header_that_says_read_only_is_found_when_it_is_opened(make_store, full, said):
    damage(full, 18, data=b"\x09\x09")
    store = make_store()

    assert everything(store) == list(range(20_000))
    assert store.append(events(1)).first > 20_000
    assert len(said) == 1


def test_a_torn_log_costs_what_was_never_acknowledged(make_store, crash):
    store = make_store()
    store.append(events(*range(100)))
    log = store.path / "journal.sqlite3-wal"
    acknowledged = log.stat().st_size
    store.append(events(*range(100, 200)))
    whole = crash(store) / "journal.sqlite3-wal"
    data = whole.read_bytes()
    for cut in range(acknowledged, len(data), 997):
        torn = crash(store)
        (torn / "journal.sqlite3-wal").write_bytes(data[:cut])
        entries = everything(make_store(torn))
        assert entries in (list(range(100)), list(range(200)))


def test_a_salvage_that_was_cut_short_is_completed(make_store, full, said, monkeypatch):
    from edr.journal import salvage as module

    def cut(folder):
        raise OSError("cut short")

    damage(full, 0)
    with monkeypatch.context() as patch:
        patch.setattr(module, "complete", cut)
        with pytest.raises(JournalUnusableError):
            make_store()
    database(full).unlink()
    store = make_store()

    assert len(everything(store)) > 19_000


# What is left alone


def contents(path):
    return {each.name: each.read_bytes() for each in path.iterdir() if each.name != "lock"}


@pytest.mark.parametrize("version", [1, 99])
def test_open_refuses_another_version_and_leaves_it_alone(make_store, full, version):
    damage(full, 60, data=version.to_bytes(4, "big"))
    damage(full, 71, data=bytes([version]))
    before = contents(full.path)
    with pytest.raises(
        JournalUnusableError, match=f"format version must be .*, got {version}"
    ) as caught:
        make_store()

    assert caught.value.moved_to is None
    assert contents(full.path) == before


def test_another_programs_database_is_refused_and_untouched(make_store, tmp_path):
    path = tmp_path / "journal"
    path.mkdir()
    with sqlite3.connect(path / "journal.sqlite3") as other:
        other.execute("CREATE TABLE t (a)")
    other.close()
    before = contents(path)
    with pytest.raises(JournalUnusableError, match="another program"):
        make_store()

    assert contents(path) == before


@pytest.mark.parametrize("data", [b"dear diary", b"x" * 10_000])
def test_a_file_that_is_no_database_is_refused_and_untouched(make_store, tmp_path, data):
    path = tmp_path / "journal"
    path.mkdir()
    (path / "journal.sqlite3").write_bytes(data)
    with pytest.raises(JournalUnusableError, match="not a database"):
        make_store()

    assert contents(path) == {"journal.sqlite3": data}


def test_a_folder_of_others_is_refused_and_untouched(make_store, tmp_path):
    path = tmp_path / "journal"
    path.mkdir()
    (path / "thesis.txt").write_text("x")
    with pytest.raises(JournalUnusableError, match="other files; choose another folder"):
        make_store()

    assert [each.name for each in path.iterdir()] == ["thesis.txt"]


def test_a_file_where_the_folder_would_be_is_refused(make_store, tmp_path):
    (tmp_path / "journal").write_text("x")
    with pytest.raises(JournalUnusableError, match="a file"):
        make_store()


def test_open_names_the_file_that_may_not_be_written(make_store, full, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: path.name != "journal.sqlite3")
    with pytest.raises(
        JournalUnusableError, match="journal.sqlite3 cannot be read and written by this"
    ):
        make_store()


def test_open_names_the_parent_in_which_no_folder_can_be_made(make_store, tmp_path, monkeypatch):
    def mkdir(path, **options):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(type(tmp_path), "mkdir", mkdir)
    with pytest.raises(JournalUnusableError, match=f"cannot be made .*make {tmp_path} writable"):
        make_store()


def test_open_does_not_promise_to_try_again(make_store, full, monkeypatch):
    def no_connection(*_, **__):
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(sqlite3, "connect", no_connection)
    with pytest.raises(JournalUnusableError) as caught:
        make_store()

    assert str(caught.value) == f"{full.path}: cannot be opened (disk I/O error)"


def test_making_one_can_be_cut_short_anywhere(make_store, tmp_path):
    path = tmp_path / "journal"
    path.mkdir()
    (path / "lock").touch()
    (path / "journal.sqlite3").touch()

    assert make_store().append(events(1)).first == 1
