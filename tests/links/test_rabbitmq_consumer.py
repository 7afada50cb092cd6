"""``RabbitConsumer``: which messages it publishes, acknowledges, rejects or leaves."""

import asyncio
from types import SimpleNamespace

import pytest
from support.consuming import take_ready

pytest.importorskip("aiormq")
import edr
from edr.delivery import FaultLog
from edr.journal import JournalError
from edr.links import LinkError, rabbitmq_consumer
from edr.links.inbound import Inbound
from edr.links.log import logger
from edr.links.rabbitmq_consumer import RabbitConsumer
from edr.records import BindingIndex
from edr.wire import kazoo


class Channel:
    """Records the calls of its methods."""

    def __init__(self):
        self.calls = []
        self.on_consumer_cancel_callbacks = set()

    def __getattr__(self, name):
        async def call(*args, **_options):
            self.calls.append((name, *args))
            return SimpleNamespace(queue="queue")

        return call

    def names(self):
        return [name for name, *_ in self.calls]


class Connection:
    """A connection that is never lost."""

    def __init__(self, _url, _name):
        self.channel = Channel()

    async def open(self, *, confirms):
        assert not confirms
        return self.channel

    async def lost(self):
        await asyncio.Event().wait()

    async def close(self):
        pass


@pytest.fixture
async def make_consumer(bus, monkeypatch):
    monkeypatch.setattr(rabbitmq_consumer, "BrokerConnection", Connection)
    made = []

    async def make(only=None, *, waits_for_journal=False):
        inbound = Inbound(bus, FaultLog("link 'x'", logger))
        options = {"durable": False, "prefetch": 10, "timeout": 5.0, "queue": None}
        options |= {"only": only, "waits_for_journal": waits_for_journal}
        consumer = RabbitConsumer("amqp://x", inbound, name="x", exchange="kapps", **options)
        made.append(consumer)
        await consumer.connect()
        await consumer.bind(frozenset({"a.b"}))
        return consumer, inbound, consumer._connection.channel

    yield make
    for consumer in made:
        await consumer.close()


def message(tag, body):
    return SimpleNamespace(delivery_tag=tag, body=body)


async def test_consumer_acks_events_and_rejects_what_is_none(bus, make_consumer, make_event):
    consumer, inbound, channel = await make_consumer()
    subscription = bus.subscribe()
    await consumer._on_message(message(1, kazoo.encode(make_event(body={"n": 1}))))
    await consumer._on_message(message(2, b"no event"))
    await consumer.close()

    assert take_ready(subscription) == [1]
    assert channel.calls[-2:] == [("basic_reject", 2), ("basic_ack", 1)]
    assert inbound.refused == {"invalid": 1}


async def test_consumer_acks_an_unwanted_event_unpublished(bus, make_consumer, make_event):
    only = BindingIndex()
    only.add("link", edr.Binding(app_name="wanted"))
    consumer, inbound, channel = await make_consumer(only)
    subscription = bus.subscribe()
    await consumer._on_message(message(1, kazoo.encode(make_event("other"))))
    await consumer.close()

    assert take_ready(subscription) == []
    assert inbound.refused == {"unwanted": 1}
    assert channel.calls[-1] == ("basic_ack", 1)


async def test_consumer_leaves_messages_to_others_when_the_bus_closes(
    bus, make_consumer, make_event
):
    consumer, inbound, channel = await make_consumer()
    await bus.aclose()
    await consumer._on_message(message(1, kazoo.encode(make_event())))
    await consumer.close()

    assert inbound.refused == {"closed": 1}
    assert not {"basic_ack", "basic_reject"} & set(channel.names())


async def test_consumer_is_lost_when_its_queue_is_deleted(make_consumer):
    consumer, _, channel = await make_consumer()
    for callback in channel.on_consumer_cancel_callbacks:
        callback(None)

    with pytest.raises(LinkError, match="the queue was deleted"):
        await consumer.lost()


async def test_consumer_is_lost_when_the_journal_stores_nothing(
    make_consumer, make_event, monkeypatch
):
    async def fail(_event):
        raise JournalError("disk full")

    consumer, inbound, channel = await make_consumer(waits_for_journal=True)
    monkeypatch.setattr(inbound, "publish_durably", fail)
    await consumer._on_message(message(1, kazoo.encode(make_event())))

    with pytest.raises(LinkError, match="disk full"):
        await consumer.lost()
    assert "basic_ack" not in channel.names()
