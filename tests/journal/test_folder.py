import errno
import fcntl
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from contracts.journal import all_of, event, events, numbers
from journal.conftest import everything

from edr.journal import JournalError, JournalInUseError, JournalUnusableError, SqliteJournal

if sys.platform == "win32":
    pytest.skip("files that are open cannot be removed", allow_module_level=True)


# A folder that is removed, or whose files are replaced, while the journal is open


def remove_folder(path):
    shutil.rmtree(path)


def move_folder(path):
    path.rename(path.with_name("moved"))


def replace_folder(path):
    move_folder(path)
    shutil.copytree(path.with_name("moved"), path)


def replace_by_a_file(path):
    move_folder(path)
    path.touch()


@pytest.mark.parametrize("change", [remove_folder, move_folder, replace_folder, replace_by_a_file])
@pytest.mark.parametrize("sync", [True, False])
def test_commit_raises_when_the_folder_is_gone(make_store, change, sync):
    store = make_store(full_sync=sync)
    store.append(events(1))
    change(store.path)
    for n in (2, 3):
        with pytest.raises(JournalUnusableError, match=r"was (removed|replaced) while"):
            store.append(events(n))


@pytest.mark.parametrize("file", ["journal.sqlite3", "lock"])
@pytest.mark.parametrize("copy", [True, False])
def test_commit_raises_when_a_file_is_gone(make_store, file, copy):
    store = make_store()
    store.append(events(1))
    old = (store.path / file).rename(store.path / "old")
    if copy:
        shutil.copy(old, store.path / file)
    for n in (2, 3):
        with pytest.raises(JournalUnusableError, match=f"{file} was"):
            store.append(events(n))


@pytest.mark.parametrize("copy", [True, False])
def test_nothing_is_lost_when_the_log_is_gone(make_store, copy):
    store = make_store()
    store.append(events(1))
    log = store.path / "journal.sqlite3-wal"
    old = log.rename(store.path / "old")
    if copy:
        shutil.copy(old, log)
    with pytest.raises(JournalError, match="sqlite3-wal was"):
        store.append(events(2))
    store.append(events(2))
    store.append(events(3))

    assert everything(store) == [1, 2, 3]


@pytest.mark.parametrize("act", ["append", "consumers", "close"])
def test_a_new_journal_at_the_path_is_never_touched(make_store, act):
    """Not its database, and not its log, which SQLite would delete by name."""
    old = make_store()
    old.append(events(1, 2, 3))
    move_folder(old.path)
    new = make_store()
    new.append(events(7))
    log = (old.path / "journal.sqlite3-wal").read_bytes()
    for n in range(3):
        if act == "append":
            with pytest.raises(JournalUnusableError):
                old.append(events(n))
        elif act == "consumers":
            with pytest.raises(JournalUnusableError):
                old.store_consumers((), synced=True)
    old.close()

    assert (old.path / "journal.sqlite3-wal").read_bytes() == log
    assert new.append(events(8)).first == 2
    assert everything(new) == [7, 8]


def test_a_folder_that_was_gone_is_not_used_again(make_store):
    store = make_store()
    store.append(events(1))
    move_folder(store.path)
    for _ in range(2):
        with pytest.raises(JournalUnusableError):
            store.append(events(2))
        if store.path.with_name("moved").exists():
            store.path.with_name("moved").rename(store.path)


def test_a_database_that_was_replaced_after_a_fault_is_not_opened(make_store):
    store = make_store()
    store.append(events(1))
    backup = shutil.copy(store.path / "journal.sqlite3", store.path / "backup")
    store.append(events(2))
    store._give_up()  # as a fault does
    backup.replace(store.path / "journal.sqlite3")
    with pytest.raises(JournalUnusableError, match="replaced"):
        store.append(events(3))


def test_a_database_that_a_salvage_replaced_is_used_on(make_store, said):
    store = make_store()
    store.append(events(1))
    store._give_up()
    with (store.path / "journal.sqlite3").open("r+b") as file:
        file.write(bytes(100))
    store.append(events(2))
    store._give_up()
    store.append(events(3))

    assert len(said) == 1
    assert everything(store)[-2:] == [2, 3]


async def test_durable_emits_raise_when_the_folder_is_gone(tmp_path, caplog):
    path = tmp_path / "j"
    async with SqliteJournal(path, sync="process") as journal:
        await journal.append(event(0))
        shutil.rmtree(path)
        for n in range(3):
            with pytest.raises(JournalUnusableError):
                await journal.append(event(n))
        error = journal.statistics().error
    async with SqliteJournal(path) as another:
        await another.append(event(7))
        left = numbers(await all_of(another))

    assert "was removed" in error
    assert left == [7]
    assert [record.message for record in caplog.records if "was removed" in record.message] == [
        f"the journal cannot store events now: {error}",
        f"journal '{path}' was closed, and 3 events could not be stored: {error}",
    ]


# The lock


OPEN = """
import sys, time
from pathlib import Path
from edr.journal.retention import Limits
from edr.journal.store import BlockStore

store = BlockStore(Path(sys.argv[1]), Limits(), full_sync=True, now=int, report=print)
store.open()
print("open", flush=True)
sys.stdin.read()
store.close()
"""


@pytest.mark.slow
def test_in_use_names_the_process_that_has_it_open(make_store):
    store = make_store()
    store.close()  # which this process has made
    with subprocess.Popen(
        [sys.executable, "-c", OPEN, store.path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as owner:
        owner.stdout.readline()
        with pytest.raises(JournalInUseError, match=f"open in process {owner.pid},"):
            store.open()
        owner.stdin.close()
    store.open()
    with pytest.raises(JournalInUseError, match=rf"process {os.getpid()} \(this one\)"):
        make_store()


@pytest.mark.parametrize("reason", [errno.ENOLCK, errno.ENOSYS, errno.EIO])
def test_a_lock_that_fails_says_why(make_store, monkeypatch, reason):
    def fails(lock, how):
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(fcntl, "flock", fails)
    with pytest.raises(JournalUnusableError, match=os.strerror(reason)):
        make_store()


@pytest.mark.parametrize("call", ["pread", "fstat"])
def test_a_lock_file_that_cannot_be_read_is_released(make_store, monkeypatch, call):
    store = make_store()
    store.append(events(1))
    store.close()

    def fails(*args):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fails)
        with pytest.raises(JournalUnusableError, match="Input/output error"):
            store.open()
    store.open()

    assert everything(store) == [1]


def test_a_lock_file_of_no_process_says_another_one(make_store):
    store = make_store()
    (store.path / "lock").write_bytes(b"")
    with pytest.raises(JournalInUseError, match="open in another process"):
        make_store()


def test_the_id_stays_in_the_lock_file_when_it_cannot_be_written(make_store, monkeypatch):
    """As on a disk that is full; without the id, a database that is lost would count as new."""
    store = make_store()
    store.close()

    def fails(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", fails)
        store.open()
        store.close()
    (store.path / "journal.sqlite3").unlink()
    store.open()

    assert list(store.path.glob("*.corrupt-*"))


def test_a_shell_that_has_the_database_open_is_named(make_store):
    store = make_store()
    store.close()
    with closing(sqlite3.connect(store.path / "journal.sqlite3")) as shell:
        shell.execute("BEGIN")
        shell.execute("SELECT * FROM metadata").fetchall()
        with pytest.raises(JournalInUseError, match="sqlite3 shell"):
            store.open()
    store.open()


async def test_a_relative_path_is_resolved_once(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    early, late = SqliteJournal("early"), SqliteJournal("late")
    async with early:
        await early.append(event(1))
        monkeypatch.chdir(tmp_path / "elsewhere")
        early._store._give_up()  # as a fault does
        await early.append(event(2))
        async with late:
            await late.append(event(3))
        entries = await all_of(early)

    assert numbers(entries) == [1, 2]
    assert {each.name for each in tmp_path.iterdir()} == {"early", "late", "elsewhere"}
    assert list((tmp_path / "elsewhere").iterdir()) == []
