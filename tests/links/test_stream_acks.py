"""``AckSender``: no ack is forgotten before the server has it."""

import asyncio
from types import SimpleNamespace

import pytest

pytest.importorskip("nats")
from edr.links import stream_acks
from edr.links.stream_acks import AckSender


class Connection:
    """Records acks; requests fail while ``is_lost``."""

    def __init__(self):
        self.published = []
        self.requested = []
        self.is_lost = False

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
def journal(connection):
    return SimpleNamespace(timeout=1.0, api=SimpleNamespace(connection=connection))


async def test_acks_of_a_batch_wait_for_the_last_one_only(journal, connection):
    acks = AckSender(journal, max_unacked=100)
    for position in (1, 2, 3):
        acks.add(position, f"ack.{position}")

    await acks.store()
    await acks.stop()

    assert connection.published == [("ack.1", b"+ACK"), ("ack.2", b"+ACK")]
    assert connection.requested == [("ack.3", b"+ACK")]
    assert not acks.pending
    assert list(acks.recent) == [1, 2, 3]


async def test_acks_stay_pending_when_the_connection_is_lost(journal, connection):
    acks = AckSender(journal, max_unacked=100)
    acks.add(1, "ack.1")
    connection.is_lost = True

    with pytest.raises(ConnectionError):
        await acks.store()
    await acks.stop()

    assert acks.pending == {1: "ack.1"}
    assert not acks.recent


async def test_acks_are_sent_without_a_call_of_store(journal, connection, monkeypatch):
    monkeypatch.setattr(stream_acks, "ACK_INTERVAL", 0.001)
    acks = AckSender(journal, max_unacked=100)
    connection.is_lost = True
    acks.add(1, "ack.1")
    await asyncio.sleep(0.01)
    connection.is_lost = False

    async with asyncio.timeout(5):
        while acks.pending:
            await asyncio.sleep(0.001)

    assert connection.requested == [("ack.1", b"+ACK")]


async def test_a_quarter_of_max_unacked_is_sent_at_once(journal, monkeypatch):
    monkeypatch.setattr(stream_acks, "ACK_INTERVAL", 60.0)
    acks = AckSender(journal, max_unacked=4)
    acks.add(1, "ack.1")
    acks.add(2, "ack.2")

    async with asyncio.timeout(5):
        while acks.pending:
            await asyncio.sleep(0)

    assert list(acks.recent) == [1, 2]


async def test_recent_acks_are_bounded(journal):
    acks = AckSender(journal, max_unacked=2)
    for position in range(10):
        acks.add(position, "ack")
        await acks.store()
    await acks.stop()

    assert list(acks.recent) == [6, 7, 8, 9]


async def test_store_raises_without_a_connection(journal):
    journal.api = None
    acks = AckSender(journal, max_unacked=2)
    acks.add(1, "ack.1")

    with pytest.raises(ConnectionError):
        await acks.store()
    await acks.stop()
    assert acks.pending
