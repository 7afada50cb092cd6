import asyncio

import pytest
from contracts.journal import event, events, numbers, take

import edr
from edr.journal import JournalError, SqliteJournal
from edr.journal.cursor import Start
from edr.journal.fetching import Counted
from edr.journal.selection import Selection
from edr.journal.state import JournalState


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal"


async def position_of(start, *answers):
    """Return the position of ``start`` in a journal of 9 entries, when reads return ``answers``."""
    state, left = JournalState(), list(answers)
    state.opened(1, 9)

    async def read(query):
        return left.pop(0)

    position = await start.position(state, read, Selection(()), 1)
    assert not left
    return position


async def test_start_reads_until_all_newest_entries_are_found():
    last_three = Start(None, None, 3)
    assert await position_of(last_three, Counted(6, 2, 7), Counted(4, 0, 0)) == 4


async def test_start_reads_nothing_where_the_position_is_known():
    assert await position_of(Start(5, None, None)) == 5
    assert await position_of(Start(None, None, 0)) == 9
    assert await position_of(Start(None, None, None)) is None


async def test_cursor_made_before_opening_begins_at_the_opening(path):
    async with SqliteJournal(path) as journal:
        await journal.append(event(1))
    journal = SqliteJournal(path)
    cursor = journal.cursor()
    async with journal:
        await journal.append(event(2))
        assert numbers(await take(cursor, 1)) == [2]


async def test_cursor_that_is_not_live_leaves_out_later_entries(path):
    async with SqliteJournal(path) as journal:
        await journal.append(*events(1, 2))
        cursor = journal.cursor(after=0, live=False)
        first = await anext(cursor)
        await journal.append(event(3))
        assert numbers([first, *[entry async for entry in cursor]]) == [1, 2]
        assert not cursor.caught_up


async def test_closing_a_cursor_ends_its_waiting_call(path):
    async with SqliteJournal(path) as journal, journal.cursor(after=0) as cursor:
        await journal.append(event(1))
        await anext(cursor)
        waiting = asyncio.ensure_future(anext(cursor))
        await asyncio.sleep(0)
        with pytest.raises(JournalError, match="one task at a time"):
            await anext(cursor)
        await cursor.aclose()
        with pytest.raises(StopAsyncIteration):
            await waiting


async def test_cursor_that_is_not_live_ends_before_later_entries(path):
    rare = edr.Binding(app_name="rare")
    async with SqliteJournal(path) as journal:
        last = await journal.append(event(1, "rare"), event(2))
        cursor = journal.cursor(rare, after=0, live=False)
        assert numbers(await cursor.take(1)) == [1]
        await journal.append(event(3, "rare"))
        assert await cursor.take(10) == []
        assert numbers(await take(journal.cursor(rare, after=cursor.position), 1)) == [3]
        assert cursor.position == last
