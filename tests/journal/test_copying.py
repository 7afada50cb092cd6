import os
import shutil

import pytest
from contracts.journal import events
from journal.conftest import everything

from edr.journal import JournalError
from edr.journal.copying import ATTEMPTS, copy_journal


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


def test_copy_gives_up_when_the_log_never_stays(make_store, tmp_path, written_meanwhile):
    store = make_store(max_bytes=1 << 16)
    written_meanwhile(store, ATTEMPTS + 1)
    with pytest.raises(JournalError, match="faster than it can be copied"):
        copy_journal(store.path, tmp_path / "copy")
