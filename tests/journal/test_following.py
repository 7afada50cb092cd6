import asyncio

import pytest
from contracts.journal import event

import edr
from edr.journal import Entry, JournalError
from edr.journal.codec import time_of
from edr.journal.fetching import Fetched, Lost
from edr.journal.following import Follower, OneAtATime
from edr.journal.selection import Selection
from edr.journal.state import JournalState
from edr.journal.store import Appended

EVERYTHING = Selection(())


class Disk:
    """Answers each read when the test says so, with its stored entries."""

    def __init__(self):
        self.reads = []

    def read(self, query):
        self.reads.append((query, asyncio.get_running_loop().create_future()))
        return self.reads[-1][1]

    def fetch(self, selection, after):
        return Fetched([Entry(n, time_of(1), event(n)) for n in range(after + 1, 4)], 3)

    def answer(self):
        query, future = self.reads[-1]
        future.set_result(query(self))


@pytest.fixture
def disk():
    return Disk()


@pytest.fixture
def state():
    state = JournalState()
    state.opened(1, 3)
    return state


def append(state, n, app_name="app"):
    state.appended([event(n, app_name)], Appended(n, 1, 1, 1, 0, {}, (), 1))


async def positions(follower, limit=10):
    await follower.ready()
    return [entry.position for entry in follower.take(limit)]


async def test_follower_returns_stored_entries_and_then_new_ones(state, disk):
    follower = Follower(state, disk.read, EVERYTHING, 2)
    waiting = asyncio.ensure_future(positions(follower))
    await asyncio.sleep(0)
    disk.answer()
    assert await waiting == [3]
    assert not follower.is_behind
    assert await positions(follower) == []

    append(state, 4)
    assert follower.is_behind
    assert await positions(follower) == [4]
    assert len(disk.reads) == 1  # the new entry came from memory


async def test_follower_passes_over_new_entries_without_a_match(state, disk):
    follower = Follower(state, disk.read, Selection((edr.Binding(app_name="rare"),)), 3)
    append(state, 4)
    assert await positions(follower) == []
    assert (follower.position, follower.is_behind) == (4, False)


async def test_cancelled_read_is_kept_for_the_next_call(state, disk):
    follower = Follower(state, disk.read, EVERYTHING, 0)
    waiting = asyncio.ensure_future(positions(follower))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    disk.answer()
    assert [await positions(follower, 2) for _ in range(2)] == [[1, 2], [3]]
    assert len(disk.reads) == 1


async def test_skip_to_drops_entries_of_a_read_that_is_running(state, disk):
    follower = Follower(state, disk.read, EVERYTHING, 0)
    waiting = asyncio.ensure_future(positions(follower))
    await asyncio.sleep(0)
    follower.skip_to(2)
    follower.skip_to(1)
    disk.answer()
    assert await waiting == [3]


async def test_take_returns_lost_entries_in_their_place(state, disk):
    follower = Follower(state, disk.read, EVERYTHING, 0)
    entries = [Entry(n, time_of(1), event(n)) for n in (1, 3)]
    disk.fetch = lambda *_: Fetched([entries[0], Lost(2, 1, is_damage=True), entries[1]], 3)
    ready = asyncio.ensure_future(follower.ready())
    await asyncio.sleep(0)
    disk.answer()
    await ready

    assert follower.take(10) == entries[:1]
    assert follower.take(10) == Lost(2, 1, is_damage=True)
    assert follower.take(10) == entries[1:]


async def test_rebind_fetches_entries_again_that_were_not_taken(state, disk):
    follower = Follower(state, disk.read, EVERYTHING, 0)
    waiting = asyncio.ensure_future(positions(follower, 1))
    await asyncio.sleep(0)
    disk.answer()
    assert await waiting == [1]
    follower.rebind(Selection(()))
    waiting = asyncio.ensure_future(positions(follower))
    await asyncio.sleep(0)
    disk.answer()

    assert await waiting == [2, 3]
    assert len(disk.reads) == 2


async def test_rebind_drops_entries_of_a_read_that_is_running(state, disk):
    follower = Follower(state, disk.read, EVERYTHING, 0)
    waiting = asyncio.ensure_future(positions(follower))
    await asyncio.sleep(0)
    follower.rebind(Selection(()))
    disk.answer()
    while len(disk.reads) < 2:
        await asyncio.sleep(0)
    disk.answer()

    assert await waiting == [1, 2, 3]


def test_one_at_a_time_refuses_a_second_call():
    one = OneAtATime("the next entry")
    with one, pytest.raises(JournalError, match="the next entry must be awaited by one task"), one:
        pass
    with one:
        pass
