"""``StreamConsumer``: what it acknowledges, and what it refuses to."""

from types import SimpleNamespace

import pytest

pytest.importorskip("nats")
from edr.journal import Entry, JournalError
from edr.links.stream_api import MessageMetadata
from edr.links.stream_consumer import StreamConsumer, consumer_of, consumer_status
from edr.links.stream_retention import EPOCH
from edr.links.subject import subject_of


class Connection:
    """Records acks and nacks; requests fail while ``is_lost``."""

    is_lost = False

    def __init__(self):
        self.requested = []
        self.published = []

    def publish_nowait(self, subject, payload):
        self.published.append((subject, payload))

    async def ask(self, subject, payload, _timeout):
        if self.is_lost:
            raise ConnectionError("lost")
        self.requested.append((subject, payload))


@pytest.fixture
def connection():
    return Connection()


@pytest.fixture
async def consumer(connection):
    api = SimpleNamespace(connection=connection)
    journal = SimpleNamespace(prefix="edr", timeout=1.0, api=api, corrupt=0)
    consumer = StreamConsumer(journal, "c", (), "oldest", 100, rebind=False)
    consumer._api = api
    yield consumer
    await consumer._acks.stop()


def deliver(consumer, event, position):
    """Make ``consumer`` read a message, and return its entry."""
    meta = MessageMetadata(1, position, position, EPOCH, 0)
    subject = subject_of(event, 1, "edr").encode()
    consumer._read(meta, subject, b"ack.%d" % position, event.to_json())
    return consumer._ready.pop() if consumer._ready else None


async def test_ack_is_stored_by_a_flush(consumer, connection, make_event):
    entry = deliver(consumer, make_event(), 1)
    assert consumer.unacked == 1
    consumer.ack(entry)
    await consumer.flush()

    assert connection.requested == [("ack.1", b"+ACK")]
    assert consumer.unacked == 0


async def test_flush_raises_when_the_connection_is_lost(consumer, connection, make_event):
    consumer.ack(deliver(consumer, make_event(), 1))
    connection.is_lost = True

    with pytest.raises(JournalError, match="cannot store its acks now: lost"):
        await consumer.flush()


async def test_nack_asks_for_the_entry_after_the_delay(consumer, connection, make_event):
    entry = deliver(consumer, make_event(), 1)
    with pytest.raises(ValueError, match="0 seconds or more"):
        consumer.nack(entry, -1)
    consumer.nack(entry, 2.0)

    assert connection.published == [("ack.1", b'-NAK {"delay":2000000000}')]
    assert consumer.unacked == 0


async def test_ack_of_an_entry_never_given_is_refused(consumer, make_event):
    deliver(consumer, make_event(), 1)
    for position in (1, 2):
        with pytest.raises(JournalError, match=f"has never given {position}"):
            consumer.ack(Entry(position, EPOCH, make_event(), 1))

    assert consumer.unacked == 1


async def test_redelivered_entry_is_given_once_while_it_is_held(consumer, make_event):
    event = make_event()
    entry = deliver(consumer, event, 1)
    assert deliver(consumer, event, 1) is None

    consumer.nack(entry)
    assert deliver(consumer, event, 1) == entry


@pytest.mark.parametrize("name", ["", "x" * 129, "a\nb", 7], ids=repr)
def test_consumer_of_refuses_a_wrong_name(name):
    with pytest.raises(ValueError, match="the name of a consumer"):
        consumer_of(name)


def test_consumer_status_is_of_consumers_of_a_journal_only():
    info = {"config": {}, "ack_floor": {"stream_seq": 3}, "num_pending": 4, "num_ack_pending": 2}
    assert consumer_status(info, 9, {}) is None

    info["config"] = {"metadata": {"edr-consumer": "c", "edr-missed": "5"}}
    status = consumer_status(info, 9, {})
    assert (status.position, status.lag, status.unacked, status.missed) == (3, 6, 2, 5)
    assert not status.open
