"""``PullSubscription``: requests ahead, and messages by number."""

import asyncio

import pytest

pytest.importorskip("nats")
from support.fake_stream import FakeStream

from edr.links.stream_api import parse_reply
from edr.links.stream_pulls import PullSubscription

DONE = b"NATS/1.0 409 Batch Completed\r\n\r\n"
EXPIRED = b"NATS/1.0 408 Request Timeout\r\n\r\n"
DELETED = b"NATS/1.0 409 Consumer Deleted\r\n\r\n"
NO_RESPONDERS = b"NATS/1.0 503\r\n\r\n"


@pytest.fixture
def stream():
    return FakeStream(last=9)


@pytest.fixture
def arrived():
    return asyncio.Event()


@pytest.fixture
async def pulls(stream, arrived):
    pulls = PullSubscription(stream, 2, arrived)
    await pulls.listen()
    await stream.create_consumer("c", {})
    pulls.begin("c")
    pulls.request()
    return pulls


def read_one(pulls):
    """Use the first message, and return its position; None if one before it is missing."""
    meta = parse_reply(pulls.messages[0].reply)
    if not pulls.is_next(meta):
        return None
    pulls.drop_first()
    pulls.request()
    return meta.position


async def test_two_requests_stand_at_the_server(pulls, stream):
    assert [(name, batch) for name, batch, *_ in stream.pulled] == [("c", 2), ("c", 2)]


async def test_next_request_follows_a_batch_that_is_used(pulls, stream, make_event):
    for position in (5, 6):
        stream.deliver(position, make_event())
    assert len(stream.pulled) == 2

    assert [read_one(pulls), read_one(pulls)] == [5, 6]
    assert len(stream.pulled) == 3
    assert pulls.next_number == 3


async def test_message_wakes_the_reader(pulls, stream, arrived, make_event):
    assert not arrived.is_set()
    stream.deliver(1, make_event())

    assert arrived.is_set()
    assert pulls.newest_number == 1


async def test_missing_number_breaks_it(pulls, stream, make_event):
    stream.deliver(1, make_event())
    stream.deliver(3, make_event(), number=3)
    stream.deliver(4, make_event(), number=4)

    assert [read_one(pulls), read_one(pulls)] == [1, None]
    assert pulls.is_broken
    assert not pulls.messages


@pytest.mark.parametrize(
    ("status", "is_broken"),
    [(DONE, False), (EXPIRED, False), (DELETED, True), (NO_RESPONDERS, True)],
)
async def test_status_ends_a_request_or_breaks_it(pulls, stream, status, is_broken, make_event):
    stream.deliver(1, make_event())
    stream.end_request(1, status)

    assert pulls.is_broken is is_broken
    assert read_one(pulls) == 1  # the messages before the status are good
    assert len(stream.pulled) == (2 if is_broken else 3)


async def test_messages_after_the_end_are_ignored(pulls, stream, make_event):
    pulls.end()
    stream.deliver(1, make_event())

    assert not pulls.messages
