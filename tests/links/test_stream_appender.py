"""``Appender``: events are stored in order, each once, or refused with a reason."""

import asyncio
from types import SimpleNamespace

import orjson
import pytest
from support.consuming import ticks

pytest.importorskip("nats")
from edr.journal import EventsRefusedError, JournalError, JournalFullError
from edr.links.stream_api import NOT_STORED
from edr.links.stream_appender import Appender


class Connection:
    """Records the numbers of what is published, and answers as a test tells it."""

    max_payload = 1000

    def __init__(self):
        self.sent = []
        self.ids = []

    def new_inbox(self):
        return "inbox"

    async def listen(self, _pattern, handler):
        self.handler = handler

    def publish_nowait(self, _subject, _payload, reply, headers):
        self.sent.append(int(reply.rsplit(".", 1)[1]))
        self.ids.append(headers)

    def answer(self, number, **document):
        self.handler(1, b"inbox.%d" % number, b"", orjson.dumps(document), None)


@pytest.fixture
def mismatches():
    return []


@pytest.fixture
async def appender(mismatches):
    appender = Appender("events", "edr", 3, 60.0, lambda: mismatches.append(1))
    yield appender
    appender.close()
    await ticks()


async def connect(appender):
    connection = Connection()
    await appender.begin(SimpleNamespace(connection=connection), 0, 0)
    return connection


async def test_append_returns_the_position_of_the_last(appender, make_event):
    connection = await connect(appender)
    appending = asyncio.ensure_future(appender.append((make_event("a"), make_event("b"))))
    await ticks()
    connection.answer(1, seq=7)
    await ticks()
    assert not appending.done()
    connection.answer(2, seq=8)

    assert await appending == 8
    assert (appender.appended, appender.newest, appender.waiting) == (2, 8, 0)


async def test_unacknowledged_events_are_sent_again_with_their_ids(appender, make_event):
    first = await connect(appender)
    assert appender.append_nowait(make_event("a"))
    assert appender.append_nowait(make_event("b"))
    await ticks()
    first.answer(1, seq=1)
    appender.end("lost")
    second = await connect(appender)

    assert (first.sent, second.sent) == ([1, 2], [2])
    assert second.ids == first.ids[1:]


async def test_event_too_large_is_refused_and_the_next_is_stored(appender, make_event):
    connection = await connect(appender)
    large = asyncio.ensure_future(appender.append((make_event(body={"n": "x" * 1000}),)))
    small = asyncio.ensure_future(appender.append((make_event(),)))
    await ticks()
    connection.answer(2, seq=1)

    with pytest.raises(EventsRefusedError, match="the server takes 1000"):
        await large
    assert await small == 1
    assert (connection.sent, appender.failed) == ([2], 1)


async def test_full_stream_keeps_events_until_it_is_closed(appender, make_event):
    connection = await connect(appender)
    appending = asyncio.ensure_future(appender.append((make_event(),)))
    await ticks()
    connection.answer(1, error={"code": 503, "err_code": NOT_STORED, "description": "full"})
    assert appender.waiting == 1
    assert "full" in appender.error
    appender.close()

    with pytest.raises(JournalFullError, match="was closed before it was stored"):
        await appending


async def test_position_given_before_is_a_mismatch(appender, mismatches, make_event):
    connection = await connect(appender)
    appender.append_nowait(make_event("a"))
    appender.append_nowait(make_event("b"))
    await ticks()
    connection.answer(1, seq=5)
    connection.answer(2, seq=5)

    assert mismatches == [1]
    assert (appender.appended, appender.waiting) == (1, 1)


async def test_append_nowait_refuses_beyond_max_pending(appender, make_event):
    taken = [appender.append_nowait(make_event()) for _ in range(4)]

    assert taken == [True, True, True, False]
    appender.fail(JournalError("gone"))
    assert appender.failed == 3
