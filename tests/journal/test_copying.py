import os
import shutil

import pytest
from contracts.journal import events
from journal.conftest import everything

from edr.journal import JournalError
from edr.journal.copying import ATTEMPTS, back_up, copy_journal


def write_a_generation(store, n):
    """Append so much that the log is written back, and begun anew."""
    for at in (n, n + 1):
        store.append(events(at, body={"pad": os.urandom(1_500_000).hex()}))


@pytest.fixture
def written_meanwhile(monkeypatch):
    """Let a store append each time after its database was copied, so many times."""

    def written_meanwhile(store, times):
        copied, numbers = shutil.copyfile, iter(range(100, 100 + 2 * times, 2))

        def copyfile(file, to):
            copied(file, to)
            if file.name == "journal.sqlite3":
                for n in numbers:
                    write_a_generation(store, n)
                    break

        monkeypatch.setattr(shutil, "copyfile", copyfile)

    return written_meanwhile


@pytest.mark.parametrize("is_closed", [True, False])
def test_copy_has_all_that_was_committed(make_store, tmp_path, is_closed):
    store = make_store()
    store.append(events(*range(40)))
    store.append(events(40))
    if is_closed:
        store.close()
    copy_journal(store.path, tmp_path / "copy")

    assert everything(make_store(tmp_path / "copy")) == list(range(41))


def test_copy_is_made_again_when_the_log_was_begun_anew(make_store, tmp_path, written_meanwhile):
    store = make_store()
    store.append(events(1))
    written_meanwhile(store, 3)
    copy_journal(store.path, tmp_path / "copy")

    assert everything(make_store(tmp_path / "copy")) == [1, *range(100, 106)]


@pytest.mark.slow
def test_copy_gives_up_when_the_log_never_stays(make_store, tmp_path, written_meanwhile):
    store = make_store(max_bytes=1 << 16)
    written_meanwhile(store, ATTEMPTS + 1)
    with pytest.raises(JournalError, match="faster than it can be copied"):
        copy_journal(store.path, tmp_path / "copy")


def test_backup_of_an_open_journal_has_its_entries(make_store, tmp_path):
    store = make_store()
    store.append(events(*range(40)))
    back_up(store.path, tmp_path / "backup")

    assert everything(make_store(tmp_path / "backup")) == list(range(40))
    assert {file.stat().st_mode & 0o777 for file in (tmp_path / "backup").iterdir()} == {0o600}


@pytest.mark.parametrize("is_closed", [True, False])
def test_backup_does_not_give_positions_of_the_original(make_store, tmp_path, is_closed):
    store = make_store()
    store.append(events(1))
    if is_closed:
        store.close()
    back_up(store.path, tmp_path / "backup")
    backup = make_store(tmp_path / "backup")

    assert backup.append(events(2)).first > 1_000_000


def test_backup_of_a_damaged_journal_can_be_salvaged(make_store, tmp_path):
    store = make_store()
    store.append(events(1))
    store.close()
    database = store.path / "journal.sqlite3"
    database.write_bytes(b"x" * 50 + database.read_bytes()[50:])
    back_up(store.path, tmp_path / "backup")

    assert (tmp_path / "backup" / "journal.sqlite3").read_bytes() == database.read_bytes()
    assert everything(make_store(tmp_path / "backup")) == [1]


def test_backup_leaves_nothing_when_it_fails(make_store, tmp_path, written_meanwhile):
    store = make_store(max_bytes=1 << 16)
    written_meanwhile(store, ATTEMPTS + 1)
    target = tmp_path / "backups"
    target.mkdir()
    with pytest.raises(JournalError, match="faster than it can be copied"):
        back_up(store.path, target / "backup")

    assert list(target.iterdir()) == []


def test_backup_refuses_a_target_that_exists(make_store, tmp_path):
    (tmp_path / "backup").mkdir()
    with pytest.raises(JournalError, match="exists already"):
        back_up(make_store().path, tmp_path / "backup")
