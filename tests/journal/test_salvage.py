import sqlite3
from contextlib import closing

import pytest
from contracts.journal import events
from journal.conftest import entries_of, everything

from edr.journal import JournalUnusableError
from edr.journal import salvage as salvage_module
from edr.journal.folder import JournalFolder
from edr.journal.salvage import salvage
from edr.journal.schema import ConsumerState, MissingRange

READER = ConsumerState("r", "[]", 1)


@pytest.fixture
def folder(make_store):
    """The locked folder of a closed journal with two blocks, at positions 1 to 2 and 3 to 5."""
    store = make_store()
    store.append(events(1, 2))
    store.append(events(3, 4, 5))
    store.make_consumer(READER)
    store.close()
    folder = JournalFolder(store.path)
    yield folder
    folder.release()


def damage_block(folder, first):
    with closing(sqlite3.connect(folder.database)) as database, database:
        database.execute("UPDATE blocks SET until = until + 1 WHERE first = ?", (first,))


def test_salvage_keeps_entries_positions_and_consumers(folder, make_store):
    result = salvage(folder)
    folder.release()
    store = make_store()
    assert (result.saved, result.lost, result.lost_consumers) == (5, 0, 0)
    assert [(e.position, e.event.body["n"]) for e in entries_of(store)] == [
        (n, n) for n in range(1, 6)
    ]
    assert store.consumers == {"r": READER}


@pytest.mark.parametrize(
    ("first", "missing"), [(1, MissingRange(1, 2, 2)), (3, MissingRange(3, 5, 3))]
)
def test_salvage_reports_the_positions_of_a_damaged_block(folder, make_store, first, missing):
    damage_block(folder, first)
    result = salvage(folder)
    folder.release()
    assert result.missing == (missing,)
    assert (result.saved, result.lost) == (5 - missing.lost, missing.lost)
    gap = next(each for each in everything(make_store()) if not isinstance(each, int))
    assert (gap.position, gap.missed) == (missing.high, missing.lost)


def test_salvage_keeps_the_damaged_file(folder):
    damage_block(folder, 1)
    before = folder.database.read_bytes()
    assert salvage(folder).moved_to.read_bytes() == before
    assert folder.database.read_bytes() != before


def test_failed_salvage_leaves_the_files_unchanged(folder, monkeypatch):
    def fail(*args, **options):
        raise OSError("no space left")

    damage_block(folder, 1)
    before = folder.database.read_bytes()
    monkeypatch.setattr(salvage_module, "connect", fail)
    with pytest.raises(JournalUnusableError, match="no space left"):
        salvage(folder)
    assert folder.database.read_bytes() == before
    assert not list(folder.path.glob("*.corrupt-*"))
