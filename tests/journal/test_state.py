import asyncio
import gc

import pytest
from contracts.journal import event

from edr.journal.state import JournalState, Waiter
from edr.journal.store import Appended


class Reader:
    position = 0


def append(state, *numbers, first, oldest=1, lost=0):
    events = [event(n) for n in numbers]
    state.appended(events, Appended(first, 10 * len(events), 1, oldest, lost, {}, (), len(events)))


def test_state_keeps_no_entries_in_memory_without_a_reader():
    state = JournalState()
    append(state, 1, 2, first=1)
    assert state.committed.assigned_up_to == 2
    assert not state.recent.covers(0)


def test_state_keeps_recent_entries_while_a_reader_exists():
    state, reader = JournalState(), Reader()
    append(state, 1, 2, first=1)
    state.keep_recent_for(reader)
    append(state, 3, first=3)
    assert state.recent.covers(2)
    assert not state.recent.covers(1)

    del reader
    gc.collect()
    append(state, 4, first=4)
    assert not state.recent.covers(3)


def test_state_counts_removed_entries():
    state = JournalState()
    state.opened(1, 4)
    append(state, 5, first=5, oldest=3, lost=2)
    append(state, 6, first=6, oldest=4, lost=1)
    assert state.committed == (4, 6, 3)
    assert state.assigned_at_open == 4


async def test_wake_all_wakes_each_waiting_reader():
    state = JournalState()
    waits = [asyncio.create_task(state.wait(Waiter())) for _ in range(3)]
    await asyncio.sleep(0)
    assert not any(wait.done() for wait in waits)
    state.wake_all()
    await asyncio.gather(*waits)
    state.wake_all()  # no reader waits any more


async def test_waiter_returns_at_its_time():
    state, loop = JournalState(), asyncio.get_running_loop()
    await state.wait(Waiter(), loop.time())


async def test_cancelled_wait_leaves_the_state():
    state, waiter = JournalState(), Waiter()
    wait = asyncio.create_task(state.wait(waiter))
    await asyncio.sleep(0)
    wait.cancel()
    with pytest.raises(asyncio.CancelledError):
        await wait
    assert not state._waiters  # a closed reader must not be kept
    waiter.wake()
