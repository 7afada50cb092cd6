import pytest
from contracts.journal import events
from journal.conftest import everything

import edr
from edr.journal.selection import Selection


def put(store, *numbers, **fields):
    return store.append(events(*numbers, **fields))


def large(n, size):
    return events(n, body={"pad": "x" * size})


def test_blocks_that_hold_nothing_wanted_are_passed_over(make_store):
    store = make_store()
    for n in range(0, 5000, 250):
        put(store, *range(n, n + 250))
    put(store, 5000, app_name="rare")
    decoded = []
    store._connection.set_trace_callback(decoded.append)

    assert everything(store, edr.Binding(app_name="rare")) == [5000]
    assert sum("SELECT rows" in sql for sql in decoded) <= 2


@pytest.mark.slow
def test_since_is_found_between_any_two(make_store, clock):
    store = make_store()
    starts = {}
    for n in range(700):
        clock.now += 10
        put(store, n)
        starts[n] = clock.now
    for n in (0, 1, 15, 16, 17, 255, 256, 400, 699):
        for early in (0, 5):
            before = store.read(lambda disk, at=starts[n] - early: disk.before(at, clock.now))
            assert everything(store, after=before) == list(range(n, 700))
    assert store.read(lambda disk: disk.before(clock.now + 1, clock.now)) == store.last
    assert store.read(lambda disk: disk.before(0, clock.now)) == 0


def test_open_reads_few_bytes_however_large_the_newest_events(make_store):
    store = make_store()
    for n in range(10):
        store.append(large(n, 2 << 20 if n == 5 else 100_000))
    # _bytes: what it read from the disk, which nothing else shows.
    pieces, read = store.read(lambda disk: (disk.small_blocks(store.last), disk._bytes))

    assert [piece.first for piece in pieces] == [7, 8, 9, 10]
    assert read < 1 << 20


def test_fetch_stops_at_its_bytes_however_few_its_entries(make_store):
    store = make_store()
    for n in range(10):
        store.append(large(n, 1 << 20))
    fetched = store.read(lambda disk: disk.fetch(Selection(()), 0))

    assert len(fetched.items) == fetched.position == 4  # of 4 MiB in all
    assert everything(store) == list(range(10))
