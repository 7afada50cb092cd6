import os
import sqlite3

import pytest

from edr.journal.log_frames import FRAME, HEADER_SIZE, LogFrames
from edr.journal.schema import PAGE


@pytest.fixture
def database(tmp_path):
    connection = sqlite3.connect(tmp_path / "db", isolation_level=None)
    connection.executescript(
        f"PRAGMA page_size = {PAGE}; PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;"
        "CREATE TABLE t (id INTEGER PRIMARY KEY, text)"
    )
    yield connection
    connection.close()


@pytest.fixture
def file(database, tmp_path):
    descriptor = os.open(tmp_path / "db-wal", os.O_RDWR)
    yield descriptor
    os.close(descriptor)


def insert(database, count=1, text="x"):
    database.execute("BEGIN")
    database.executemany("INSERT INTO t (text) VALUES (?)", [(text,)] * count)
    database.execute("COMMIT")


def test_pages_are_those_that_a_checkpoint_copies(database, file, tmp_path):
    for _ in range(20):
        insert(database, 100, "y" * 50)
    log = LogFrames(file)
    log.advance()
    pages = {number: log.page(number) for number in range(1, log.page_count + 1)}
    database.execute("PRAGMA wal_checkpoint(PASSIVE)")
    data = (tmp_path / "db").read_bytes()

    assert log.page_count * PAGE == len(data)
    assert len(pages) > 10
    for number, page in pages.items():
        assert page == data[(number - 1) * PAGE : number * PAGE]


def test_each_commit_is_read_once(database, file):
    log = LogFrames(file)
    assert log.advance()
    assert not log.advance()
    assert not log.has_grown
    insert(database)

    assert log.has_grown
    assert log.advance()
    assert not log.advance()


def test_restart_is_noticed(database, file):
    log = LogFrames(file)
    log.advance()
    database.execute("PRAGMA wal_checkpoint(PASSIVE)")
    assert not log.has_restarted
    insert(database)

    assert log.has_restarted
    assert log.advance()
    assert not log.has_restarted
    assert log.page(2) is not None


def test_emptied_log_has_no_pages(database, file):
    log = LogFrames(file)
    log.advance()
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    assert log.advance()
    assert (log.page_count, log.page(1)) == (0, None)


@pytest.mark.parametrize("cut", [1, PAGE, FRAME - 1])
def test_commit_that_is_not_completely_written_is_not_read(database, file, cut):
    log = LogFrames(file)
    log.advance()
    before = log.page(2)
    insert(database)
    size = os.fstat(file).st_size
    end = os.pread(file, cut, size - cut)
    os.ftruncate(file, size - cut)

    assert not log.advance()
    os.pwrite(file, bytes(cut), size - cut)  # allocated, and not yet written
    assert not log.advance()
    assert log.page(2) == before
    os.pwrite(file, end, size - cut)
    assert log.advance()
    assert log.page(2) != before


def test_frames_without_a_commit_are_not_read(database, file):
    log = LogFrames(file)
    log.advance()
    database.execute("PRAGMA cache_size = 5")
    database.execute("BEGIN")
    database.executemany("INSERT INTO t (text) VALUES (?)", [("x" * 2000,)] * 100)
    assert log.has_grown
    assert not log.advance()
    database.execute("ROLLBACK")
    insert(database)

    assert log.advance()
    assert log.page_count == database.execute("PRAGMA page_count").fetchone()[0]


def test_missing_log_is_empty():
    log = LogFrames(-1)

    assert not log.advance()
    assert not log.has_grown
    assert not log.has_restarted
    assert log.page(1) is None


def test_header_that_is_not_complete_is_no_log(tmp_path):
    (tmp_path / "log").write_bytes(b"\x37\x7f\x06\x82" + bytes(HEADER_SIZE - 10))
    descriptor = os.open(tmp_path / "log", os.O_RDONLY)

    assert not LogFrames(descriptor).advance() or LogFrames(descriptor).page(1) is None
    os.close(descriptor)
