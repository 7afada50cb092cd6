"""``StreamCursor``: each entry once and in order, and a gap where entries are missing."""

import asyncio
from datetime import datetime, timedelta

import pytest
from support.consuming import ticks

pytest.importorskip("nats")
import edr
from edr.journal import WrongJournalError
from edr.links.stream_cursor import StreamCursor, start_of
from edr.links.subject import subject_of


class Stream:
    """A journal, its API and its connection; it delivers what a test tells it."""

    timeout = 5.0
    prefix = "edr"
    id = "EVENTS@today"

    def __init__(self, last):
        self.api = self.connection = self
        self.corrupt = 0
        self.state = {"first_seq": 1, "last_seq": last}
        self.created = []
        self.closed = []

    async def connected(self):
        return self

    async def info(self, _api):
        config = {"discard": "old", "max_bytes": -1, "max_msgs": -1, "max_age": 0}
        return {"config": config, "state": self.state, "ts": "2026-01-02T00:00:00+00:00"}

    async def create_consumer(self, _name, config):
        self.created.append(config)
        self.delivered = 0
        pending = max(0, self.state["last_seq"] + 1 - config["opt_start_seq"])
        return {"config": config, "num_pending": pending}

    async def delete_consumer(self, name):
        self.closed.append(name)

    async def listen(self, _pattern, handler):
        self.handler = handler
        return 1

    async def unlisten(self, number):
        pass

    def new_inbox(self):
        return "inbox"

    def pull(self, *_request):
        pass

    def remove_cursor(self, cursor):
        pass

    def deliver(self, position, payload, subject, pending=0):
        self.delivered += 1
        reply = f"$JS.ACK.EVENTS.c.1.{position}.{self.delivered}.0.{pending}".encode()
        self.handler(1, subject.encode(), reply, payload, None)


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
    """Return what ``cursor`` gives for ``messages``, each a position and an event."""
    first = asyncio.ensure_future(anext(cursor))
    await ticks(20)
    for pending, (position, event) in zip(range(len(messages))[::-1], messages, strict=True):
        stream.deliver(position, event.to_json(), subject_of(event, 1, "edr"), pending)
    found = [await first]
    while cursor._raw or cursor._ready:
        found.append(await anext(cursor))
    return [item if isinstance(item, edr.Gap) else item.position for item in found]


@pytest.mark.parametrize(
    "wrong",
    [
        {"after": 1, "last": 1},
        {"after": -1},
        {"last": -1},
        {"since": timedelta(seconds=-1)},
        {"since": datetime(2020, 1, 1)},
    ],
    ids=str,
)
def test_start_of_refuses_wrong_starts(wrong):
    with pytest.raises(ValueError, match="not|one of|offset"):
        start_of(**dict.fromkeys(("after", "since", "last")) | wrong)


async def test_cursor_reads_after_its_position(cursor_of, make_event):
    stream = Stream(last=4)
    cursor = await cursor_of(stream, after=2)

    assert await read(cursor, stream, (3, make_event()), (4, make_event())) == [3, 4]
    assert stream.created[0]["opt_start_seq"] == 3
    assert (cursor.position, cursor.caught_up) == (4, True)


async def test_cursor_reports_a_hole_as_a_gap(cursor_of, make_event):
    stream = Stream(last=9)
    cursor = await cursor_of(stream, after=2)

    assert await read(cursor, stream, (3, make_event()), (7, make_event())) == [3, edr.Gap(3), 7]


async def test_cursor_reports_entries_removed_before_it_began(cursor_of, make_event):
    stream = Stream(last=9)
    stream.state["first_seq"] = 6
    cursor = await cursor_of(stream, after=2)

    assert await anext(cursor) == edr.Gap(3)
    assert await read(cursor, stream, (6, make_event())) == [6]


async def test_cursor_counts_an_event_under_a_wrong_subject(cursor_of, make_event):
    stream = Stream(last=3)
    cursor = await cursor_of(stream, after=2)
    reading = asyncio.ensure_future(anext(cursor))
    await ticks(20)
    stream.deliver(3, make_event("a").to_json(), subject_of(make_event("b"), 1, "edr"))

    assert await reading == edr.Gap(1)
    assert stream.corrupt == 1


async def test_cursor_refuses_a_position_never_given(cursor_of):
    cursor = await cursor_of(Stream(last=4), after=77)

    with pytest.raises(WrongJournalError, match="never assigned position 77"):
        await anext(cursor)


async def test_cursor_that_is_not_live_ends_at_the_newest(cursor_of, make_event):
    stream = Stream(last=3)
    cursor = await cursor_of(stream, live=False, after=2)
    assert await read(cursor, stream, (3, make_event())) == [3]

    with pytest.raises(StopAsyncIteration):
        await anext(cursor)
    assert len(stream.closed) == 1
