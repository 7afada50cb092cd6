import os
import sqlite3
import stat
import sys

import pytest
from contracts.journal import events
from journal.conftest import everything
from support.forking import fork

from edr.journal import JournalError, JournalFullError, JournalInUseError, batch, opening
from edr.journal.batch import RejectedError
from edr.journal.codec import row_of
from edr.journal.salvage import RESERVED
from edr.journal.schema import ConsumerState, connect
from edr.journal.store import ConsumerUpdate


def put(store, *numbers, **fields):
    return store.append(events(*numbers, **fields))


# Positions


def test_positions_go_on_densely_after_a_clean_end(make_store):
    store = make_store()
    put(store, 1, 2)
    store.close()
    store = make_store()

    assert put(store, 3).first == 3


@pytest.mark.parametrize("full_sync", [True, False])
def test_a_position_is_never_given_twice_after_a_crash(make_store, crash, full_sync):
    store = make_store(full_sync=full_sync)
    put(store, 1, 2)
    crashed = make_store(crash(store), full_sync=full_sync)

    assert put(crashed, 3).first > RESERVED
    assert everything(crashed) == [1, 2, 3]


def test_positions_below_the_mark_are_not_given_again_though_their_entries_are_lost(
    make_store, crash
):
    """As the loss of power does it to who syncs at checkpoints only."""
    store = make_store(full_sync=False)
    put(store, 0)
    before = crash(store)
    last = put(store, *range(100)).first + 99

    assert put(make_store(before), 1).first > last


def test_the_mark_moves_before_what_is_behind_it_is_given(make_store, crash):
    store = make_store()
    put(store, 0)
    store.next = store._metadata.high_water_mark - 1
    put(store, 1, 2, 3)
    last = put(store, 4).first
    crashed = crash(store)
    with sqlite3.connect(crashed / "journal.sqlite3") as database:
        database.execute("DELETE FROM blocks")  # as if they had never been synced
    database.close()

    assert put(make_store(crashed), 5).first > last


def test_a_hole_is_no_loss(make_store, crash):
    store = make_store()
    put(store, 1)
    crashed = make_store(crash(store))
    put(crashed, 2)

    assert everything(crashed) == [1, 2]
    assert crashed.lag(0) == 2
    assert everything(make_store(crash(crashed)), after=1) == [2]


# Commits


class Faulty:
    """A connection of which one statement fails, before or after it is done."""

    def __init__(self, connection, statement, *, done):
        self._connection, self._statement, self._done = connection, statement, done

    def execute(self, sql, *args):
        if sql.startswith(self._statement):
            if self._done:
                self._connection.execute(sql, *args)
            raise sqlite3.OperationalError("disk I/O error")
        return self._connection.execute(sql, *args)

    def __getattr__(self, name):
        return getattr(self._connection, name)


@pytest.mark.parametrize("statement", ["BEGIN", "PRAGMA page_count", "COMMIT"])
def test_a_failed_commit_leaves_no_trace(make_store, statement):
    store = make_store()
    put(store, 1)
    store._connection = Faulty(store._connection, statement, done=False)
    with pytest.raises(JournalError, match="disk I/O error"):
        put(store, 2)

    assert (store.last, store.next) == (1, 2)
    assert put(store, 2).first == 2
    assert everything(store) == [1, 2]


def test_a_commit_that_seemed_to_fail_is_not_made_twice(make_store):
    store = make_store()
    put(store, 1)
    store._connection = Faulty(store._connection, "COMMIT", done=True)
    with pytest.raises(JournalError):
        put(store, 2)

    assert put(store, 2).first == 2
    assert put(store, 3).first == 3
    assert everything(store) == [1, 2, 3]


def test_a_connection_on_which_a_commit_failed_is_not_used_again(make_store):
    store = make_store()
    faulty = store._connection = Faulty(store._connection, "COMMIT", done=False)
    with pytest.raises(JournalError):
        put(store, 1)

    assert store._connection is None
    with pytest.raises(sqlite3.ProgrammingError):
        faulty._connection.execute("SELECT 1")


def test_what_is_too_big_for_the_database_is_rejected_and_the_rest_stays(make_store):
    store = make_store()
    put(store, 1)
    if not hasattr(store._connection, "setlimit"):
        pytest.skip("this Python cannot lower SQLite's limit")
    store._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 2000)
    with pytest.raises(RejectedError):
        store.append(events(2, body={"text": os.urandom(4000).hex()}))

    put(store, 3)
    assert everything(store) == [1, 3]


# Large events


def large(n, size, **fields):
    return events(n, body={"pad": "x" * size}, **fields)


def test_a_commit_takes_no_more_than_so_many_bytes(make_store, monkeypatch):
    monkeypatch.setattr(batch, "COMMIT_BYTES", 10_000)
    store = make_store()
    given = [*large(1, 4000), *large(2, 4000), *large(3, 4000), *large(4, 50_000), *events(5)]
    taken = []
    while given:
        appended = store.append(given)
        taken.append(appended.stored)
        assert appended.bytes < 10_000 or appended.stored == 1
        given = given[appended.stored :]

    assert taken == [2, 1, 1, 1]
    assert everything(store) == [1, 2, 3, 4, 5]


def test_an_event_that_is_too_large_is_refused_by_itself(make_store, monkeypatch):
    monkeypatch.setattr(batch, "MAX_EVENT", 10_000)
    store = make_store()
    given = [*events(1, 2), *large(3, 10_000), *events(4)]
    assert store.append(given).stored == 2
    with pytest.raises(RejectedError, match="at most 10000 bytes of JSON, got 10"):
        store.append(given[2:])
    store.append(given[3:])

    assert everything(store) == [1, 2, 4]


@pytest.mark.slow
def test_an_event_that_is_as_large_as_may_be_is_stored(make_store):
    store = make_store(full_sync=False)
    (event,) = large(1, 0)
    (event,) = large(1, batch.MAX_EVENT - len(row_of(event).data))
    assert store.append([event]).bytes == batch.MAX_EVENT
    put(store, 2)

    assert everything(store) == [1, 2]


@pytest.mark.slow
def test_large_events_are_not_merged(make_store):
    """Merging by number made one block of 16 that SQLite refused, and each later event with it."""
    store = make_store()
    store._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 3_000_000)
    for n in range(20):
        store.append(large(n, 1_000_000))
    for n in range(20, 60):
        put(store, n)

    assert everything(store) == list(range(60))


def test_a_merge_that_fails_leaves_the_small_blocks(make_store):
    store = make_store()
    store._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 30_000)
    for n in range(40):
        store.append(events(n, body={"pad": os.urandom(2000).hex()}))

    assert everything(store) == list(range(40))


@pytest.mark.slow
def test_small_commits_are_merged_and_nothing_changes(make_store):
    store = make_store()
    for n in range(600):
        put(store, n)
    (blocks,) = store._connection.execute("SELECT count(*) FROM blocks").fetchone()

    assert everything(store) == list(range(600))
    assert blocks < 40
    for after in range(0, 600, 7):
        assert everything(store, after=after) == list(range(after, 600))


@pytest.mark.slow
def test_small_blocks_are_merged_on_after_a_restart(make_store):
    for n in range(100):
        store = make_store()
        put(store, n)
        store.close()
    store = make_store()
    (blocks,) = store._connection.execute("SELECT count(*) FROM blocks").fetchone()

    assert everything(store) == list(range(100))
    assert blocks < 40


def test_a_clock_that_is_set_back_does_not_set_back_what_is_recorded(make_store, clock):
    store = make_store()
    first = put(store, 1).recorded_at
    clock.now -= 10_000_000
    assert put(store, 2).recorded_at == first
    store.close()

    assert put(make_store(), 3).recorded_at == first


class Counting(dict):
    """A dict that counts the entries that are looked through."""

    looked = 0

    def _counted(self, each):
        type(self).looked += 1
        return each

    def __iter__(self):
        return map(self._counted, super().__iter__())

    def keys(self):
        return map(self._counted, super().keys())

    def values(self):
        return map(self._counted, super().values())

    def items(self):
        return map(self._counted, super().items())


def test_a_commit_with_the_acks_of_many_readers_is_linear(make_store):
    work = {}
    for consumers in (20, 80):
        store = make_store(max_bytes=1 << 16)
        for n in range(len(store.consumers), consumers):
            store.make_consumer(ConsumerState(f"r{n}", "[]", 0))
        put(store, *range(10))
        # Python gives no other way to see a loop that runs in C, as max() does.
        store.consumers, store._numbers = Counting(store.consumers), Counting(store._numbers)
        Counting.looked = 0
        put_with = [ConsumerUpdate(f"r{n}", 5, (), 7) for n in range(consumers)]
        store.append(events(11), put_with)
        work[consumers] = Counting.looked
        store.close()

    assert work[80] <= 4 * work[20]


# Files


def test_opening_writes_nothing(make_store):
    """So that it is possible on a full disk, too."""
    store = make_store()
    put(store, *range(10))
    store.close()
    database = store.path / "journal.sqlite3"
    before = database.read_bytes()
    store.open()

    assert everything(store) == list(range(10))
    assert database.read_bytes() == before
    assert not database.with_name("journal.sqlite3-wal").stat().st_size


def test_a_store_that_cannot_grow_is_read_and_goes_on(make_store, monkeypatch):
    store = make_store()
    put(store, *range(10))
    store.close()
    with monkeypatch.context() as patch:

        def full(path, **options):
            connection = connect(path, **options)
            connection.execute("PRAGMA max_page_count = 1").fetchall()
            return connection

        patch.setattr(opening, "connect", full)
        store.open()
        for _ in range(3):
            assert everything(store) == list(range(10))
            with pytest.raises(JournalFullError):
                store.append(large(10, 10_000))
    store.append(large(10, 10_000))

    assert everything(store) == list(range(11))


@pytest.mark.parametrize("crashes", [True, False])
def test_an_owner_that_stored_nothing_leaves_positions_as_they_were(make_store, crash, crashes):
    store = make_store()
    put(store, 1)
    if crashes:
        store = make_store(crash(store))
    store.close()
    store = make_store(crash(store))
    for n in (2, 3):
        store = make_store(crash(store))
        put(store, n)

    assert everything(store) == [1, 2, 3]


def test_a_crash_after_only_readers_changed_is_no_damage(make_store, crash, said):
    store = make_store()
    put(store, 1)
    store.make_consumer(ConsumerState("old", "[]", 0))
    store.close()
    store = make_store()
    store.make_consumer(ConsumerState("new", "[]", 0))
    store = make_store(crash(store))
    store.forget("old")
    store = make_store(crash(store))

    assert set(store.consumers) == {"new"}
    assert said == []


@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize("crashes", [True, False])
def test_a_first_commit_that_fails_is_made_once(make_store, crash, crashes, done):
    store = make_store()
    put(store, 1)
    if crashes:
        store = make_store(crash(store))
    else:
        store.close()
        store = make_store()
    store._connection = Faulty(store._connection, "COMMIT", done=done)
    with pytest.raises(JournalError):
        put(store, 2)
    second = put(store, 2).first

    assert put(store, 3).first == second + 1
    assert everything(store) == [1, 2, 3]
    assert everything(make_store(crash(store))) == [1, 2, 3]


def test_files_are_for_their_owner_only(make_store):
    store = make_store()
    put(store, 1)

    assert stat.S_IMODE(store.path.stat().st_mode) == 0o700
    for file in store.path.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert {"journal.sqlite3", "journal.sqlite3-wal", "lock"} == {
        file.name for file in store.path.iterdir()
    }


def test_a_second_one_is_refused_at_once_and_changes_nothing(make_store):
    store = make_store()
    with pytest.raises(JournalInUseError, match=str(os.getpid())):
        make_store()

    assert put(store, 1).first == 1


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_a_forked_child_never_touches_the_file(make_store):
    store = make_store()
    put(store, 1)
    child = fork()
    if not child:
        code = 1
        try:
            assert store._connection is None
            store.close()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)

    assert status == 0
    with pytest.raises(JournalInUseError):
        make_store()
    assert put(store, 2).first == 2
    assert everything(store) == [1, 2]
