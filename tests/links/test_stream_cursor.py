"""``StreamCursor``: each entry once and in order, and a gap where entries are missing."""

import asyncio

import pytest
from support.consuming import ticks

pytest.importorskip("nats")
from support.fake_stream import FakeStream

import edr
from edr.journal import WrongJournalError
from edr.links import stream_cursor
from edr.links.stream_cursor import StreamCursor
from edr.links.stream_start import start_of


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """A JetStream consumer is created again without a pause."""
    monkeypatch.setattr(stream_cursor, "RECREATE_INTERVAL", 0.0)


@pytest.fixture
async def cursor_of():
    made = []

    async def make(stream, *, live=True, **start):
        options = dict.fromkeys(("after", "since", "last")) | start
        cursor = StreamCursor(stream, (), start_of(**options), live=live)
        made.append(cursor)
        return cursor

    yield make
    for cursor in made:
        await cursor.aclose()


async def read(cursor, stream, *messages):
    """Return the items of ``cursor`` for ``messages``, each a position and an event."""
    first = asyncio.ensure_future(cursor.take(1))
    await ticks(20)
    for pending, (position, event) in zip(range(len(messages))[::-1], messages, strict=True):
        stream.deliver(position, event, pending=pending)
    found = await first
    while not found or isinstance(found[-1], edr.Gap) or found[-1].position < messages[-1][0]:
        found += await cursor.take(100)
    return [item if isinstance(item, edr.Gap) else item.position for item in found]


async def test_cursor_reads_after_its_position(cursor_of, make_event):
    stream = FakeStream(last=4)
    cursor = await cursor_of(stream, after=2)

    assert await read(cursor, stream, (3, make_event()), (4, make_event())) == [3, 4]
    assert stream.created[0][1]["opt_start_seq"] == 3
    assert (cursor.position, cursor.caught_up) == (4, True)


async def test_cursor_reports_a_hole_as_a_gap(cursor_of, make_event):
    stream = FakeStream(last=9)
    cursor = await cursor_of(stream, after=2)

    assert await read(cursor, stream, (3, make_event()), (7, make_event())) == [3, edr.Gap(3), 7]


async def test_cursor_reports_entries_removed_before_it_began(cursor_of, make_event):
    stream = FakeStream(last=9)
    stream.state["first_seq"] = 6
    cursor = await cursor_of(stream, after=2)

    assert await anext(cursor) == edr.Gap(3)
    assert await read(cursor, stream, (6, make_event())) == [6]


async def test_cursor_counts_an_event_under_a_wrong_subject(cursor_of, make_event):
    stream = FakeStream(last=3)
    cursor = await cursor_of(stream, after=2)
    reading = asyncio.ensure_future(anext(cursor))
    await ticks(20)
    stream.deliver(3, make_event("a"), subject="edr.~.b.-.-.d.i.-.-.-.1")

    assert await reading == edr.Gap(1)
    assert stream.corrupt == 1


async def test_cursor_refuses_a_position_never_given(cursor_of):
    cursor = await cursor_of(FakeStream(last=4), after=77)

    with pytest.raises(WrongJournalError, match="never assigned position 77"):
        await anext(cursor)


async def test_cursor_that_is_not_live_ends_at_the_newest(cursor_of, make_event):
    stream = FakeStream(last=3)
    cursor = await cursor_of(stream, live=False, after=2)
    assert await read(cursor, stream, (3, make_event())) == [3]

    with pytest.raises(StopAsyncIteration):
        await anext(cursor)
    assert len(stream.deleted) == 1


async def test_take_returns_the_messages_at_hand(cursor_of, make_event):
    stream = FakeStream(last=9)
    cursor = await cursor_of(stream, after=0)
    taking = asyncio.ensure_future(cursor.take(3))
    await ticks(20)
    for position in range(1, 6):
        stream.deliver(position, make_event(), pending=9 - position)

    assert [entry.position for entry in await taking] == [1, 2, 3]
    assert cursor.position == 3
    assert [entry.position for entry in await cursor.take(100)] == [4, 5]


async def test_take_returns_a_gap_after_the_entries_before_it(cursor_of, make_event):
    stream = FakeStream(last=9)
    cursor = await cursor_of(stream, after=0)
    taking = asyncio.ensure_future(cursor.take(10))
    await ticks(20)
    for position in (1, 2, 5):
        stream.deliver(position, make_event(), pending=9 - position)

    assert [entry.position for entry in await taking] == [1, 2]
    assert cursor.position == 2
    gap, entry = await cursor.take(10)
    assert (gap, entry.position) == (edr.Gap(2), 5)


async def test_position_is_before_entries_that_were_read_and_not_returned(cursor_of, make_event):
    stream = FakeStream(last=9)
    cursor = await cursor_of(stream, after=0)
    first = asyncio.ensure_future(anext(cursor))
    await ticks(20)
    for position in range(1, 6):
        stream.deliver(position, make_event(), pending=9 - position)
    await first
    await cursor.aclose()

    assert cursor.position == 1


async def test_missing_message_is_read_from_another_consumer(cursor_of, make_event):
    stream = FakeStream(last=9)
    cursor = await cursor_of(stream, after=0)
    taking = asyncio.ensure_future(cursor.take(10))
    await ticks(20)
    stream.deliver(1, make_event(), pending=8)
    stream.deliver(3, make_event(), pending=6, number=3)

    assert [entry.position for entry in await taking] == [1]
    assert await read(cursor, stream, (2, make_event()), (3, make_event())) == [2, 3]
    assert [config["opt_start_seq"] for _, config in stream.created] == [1, 2]


async def test_closed_cursor_ends_a_take_that_waits_for_a_connection(cursor_of):
    stream = FakeStream(last=9)
    stream.api, up = None, asyncio.Event()

    async def connected():
        await up.wait()

    stream.connected = connected
    cursor = await cursor_of(stream, after=0)
    taking = asyncio.ensure_future(cursor.take(10))
    await ticks(20)
    await cursor.aclose()

    assert await taking == []
