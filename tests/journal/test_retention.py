import os
from datetime import timedelta

import pytest
from contracts.journal import events
from journal.conftest import everything

from edr.journal.retention import NoRoomYetError
from edr.journal.schema import ConsumerState
from edr.journal.store import ConsumerUpdate


def put(store, *numbers, **fields):
    return store.append(events(*numbers, **fields))


@pytest.mark.slow
def test_the_oldest_go_when_it_takes_more_than_max_bytes(make_store):
    store = make_store(max_bytes=1 << 19)
    for n in range(0, 60_000, 1000):
        put(store, *range(n, n + 1000))
        assert store.bytes <= (1 << 19) + (1 << 17)
    lost, *left = everything(store)

    assert lost.missed == left[0] == store.first - 1
    assert left == list(range(left[0], 60_000))
    assert store.path.joinpath("journal.sqlite3").stat().st_size < 1 << 20


def test_what_is_older_than_max_age_goes(make_store, clock):
    store = make_store(max_age=timedelta(hours=1))
    put(store, *range(300))
    clock.advance(3_000_000_000)
    put(store, *range(300, 600))
    clock.advance(1_000_000_000)
    put(store, 600)

    assert everything(store)[1:] == list(range(300, 601))


@pytest.mark.slow
def test_a_smaller_limit_is_worked_off_and_given_back(make_store):
    store = make_store()
    for n in range(0, 40_000, 1000):
        put(store, *range(n, n + 1000), body={"pad": "x" * 100})
    before = store.bytes
    store.close()
    store = make_store(max_bytes=before // 4)
    for n in range(40_000, 40_040):
        put(store, n)

    assert store.bytes <= before // 4
    assert everything(store)[-1] == 40_039
    store.close()
    assert store.path.joinpath("journal.sqlite3").stat().st_size < before // 2


def test_no_more_goes_than_is_above_max_events(make_store):
    store = make_store()
    for n in range(0, 2560, 256):
        put(store, *range(n, n + 256))
    store.close()
    store = make_store(max_events=2000)
    put(store, 2560)

    assert everything(store)[1:] == list(range(512, 2561))


@pytest.mark.slow
def test_large_events_after_small_ones_stay_within_max_bytes(make_store):
    """As many bytes go as come in, not as many blocks."""
    limit, large = 1 << 20, 1 << 18
    store = make_store(max_bytes=limit, full_sync=False)
    while not store.first > 1:
        put(store, *range(256), body={"pad": os.urandom(20).hex()})
    for n in range(12):
        put(store, n, body={"pad": os.urandom(large // 2).hex()})

        assert store.bytes <= limit + 2 * large
    assert store.path.joinpath("journal.sqlite3").stat().st_size <= limit + 3 * large


def test_a_readers_loss_is_counted_in_the_commit_that_causes_it(make_store, crash):
    store = make_store(max_events=256)
    put(store, *range(256))
    store.make_consumer(ConsumerState("r", "[]", 100, unacked=((90, 1), (95, 2))))
    for n in range(256, 2048, 256):
        put(store, *range(n, n + 256))
        for each in (store, make_store(crash(store))):
            state = each.consumers["r"]
            lost = each.first - 1 - 100 + 2 if each.first > 1 else 0
            assert (state.missed, state.unreported) == (lost, lost)
            assert state.delivered_up_to >= each.first - 1
            assert state.unacked == () or each.first == 1


def test_an_update_that_has_not_heard_of_a_loss_does_not_undo_it(make_store):
    store = make_store(max_events=256)
    put(store, *range(256))
    store.make_consumer(ConsumerState("r", "[]", 0))
    for n in range(256, 1024, 256):
        put(store, *range(n, n + 256))
    missed = store.consumers["r"].missed
    store.store_consumers([ConsumerUpdate("r", 50, ((20, 1),), 7)], synced=False)
    state = store.consumers["r"]

    assert missed == state.missed == store.first - 1
    assert (state.delivered_up_to, state.unacked, state.last_ack) == (store.first - 1, (), 7)


def test_what_a_reader_has_not_acked_is_kept_if_told_to(make_store):
    store = make_store(max_bytes=1 << 17, keep_unread=True)
    store.make_consumer(ConsumerState("r", "[]", 0))
    written = 0
    with pytest.raises(NoRoomYetError):
        while True:
            put(store, *range(written, written + 1000))
            written += 1000
    assert everything(store) == list(range(written))
    store.store_consumers([ConsumerUpdate("r", written, (), 7)], synced=False)

    put(store, written)
    assert everything(store)[-1] == written
