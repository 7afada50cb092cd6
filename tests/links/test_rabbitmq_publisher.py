"""``RabbitPublisher``: each event is sent, or dropped with a reason, and stops no other."""

import asyncio

import pytest
from support.consuming import ticks

pytest.importorskip("aiormq")
from edr.delivery import FaultLog
from edr.links import LinkError, rabbitmq_publisher
from edr.links.inbound import Inbound
from edr.links.log import logger
from edr.links.rabbitmq_publisher import RabbitPublisher
from edr.wire import kazoo


class Outbox:
    """Gives the events, and records what became of each."""

    is_durable = False

    def __init__(self, *events):
        self.events = list(events)
        self.tag = 0
        self.settled = []

    async def peek(self):
        return self.events[0] if self.events else None

    def take(self):
        self.events.pop(0)
        self.tag += 1
        return self.tag

    def drop(self, reason, details=""):
        self.events.pop(0)
        self.settled.append(reason)

    def confirm(self, tag):
        self.settled.append(tag)

    def give_up(self, tag, reason, details=""):
        self.settled.append((tag, reason))


class Connection:
    """A connection that is never lost, to a broker that confirms unless it ``is_silent``."""

    is_blocked = False
    is_silent = False

    def __init__(self, _url, _name):
        self.channel = self
        self.published = []

    async def open(self, *, confirms):
        assert confirms
        return self

    async def exchange_declare(self, _exchange, *, exchange_type):
        assert exchange_type == "topic"

    async def basic_publish(self, payload, *, exchange, routing_key, properties, wait):
        self.published.append((exchange, routing_key))
        if self.is_silent:
            await asyncio.Event().wait()

    async def lost(self):
        await asyncio.Event().wait()

    async def close(self):
        pass


@pytest.fixture
async def publisher(bus, monkeypatch):
    monkeypatch.setattr(rabbitmq_publisher, "BrokerConnection", Connection)
    monkeypatch.setattr(rabbitmq_publisher, "CHECK_INTERVAL", 0.0)
    log = FaultLog("link 'x'", logger)
    publisher = RabbitPublisher(
        "amqp://x", Inbound(bus, log), log, name="x", exchange="kapps", timeout=5.0
    )
    await publisher.connect()
    yield publisher
    await publisher.close()


async def send_some(publisher, outbox):
    sending = asyncio.ensure_future(publisher.send(outbox))
    await ticks(20)
    assert not sending.done()
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)


async def test_publisher_confirms_events_in_order(publisher, make_event):
    events = [make_event("a"), make_event("b")]
    outbox = Outbox(*events)
    await send_some(publisher, outbox)

    assert outbox.settled == [1, 2]
    sent = [("kapps", kazoo.routing_key(event)) for event in events]
    assert publisher._connection.published == sent


async def test_publisher_drops_what_it_cannot_send(publisher, make_event):
    publisher._max_bytes = 1000
    outbox = Outbox(make_event("x" * 300), make_event(body={"n": "x" * 2000}), make_event("ok"))
    await send_some(publisher, outbox)

    assert outbox.settled == ["oversize_key", "too_large", 1]


async def test_publisher_leaves_events_unconfirmed_without_an_answer(publisher, make_event):
    publisher._connection.is_silent = True
    outbox = Outbox(make_event())
    await send_some(publisher, outbox)

    assert len(publisher._connection.published) == 1
    assert outbox.settled == []


async def test_publisher_waits_while_the_broker_is_blocked(publisher, make_event):
    publisher._timeout = -1.0
    publisher._connection.is_silent = publisher._connection.is_blocked = True
    await send_some(publisher, Outbox(make_event()))

    assert publisher.is_blocked
    await publisher.close()
    assert not publisher.is_blocked


async def test_publisher_raises_when_nothing_is_confirmed(publisher, make_event):
    publisher._timeout = -1.0
    publisher._connection.is_silent = True

    with pytest.raises(LinkError, match="the broker confirmed nothing"):
        await publisher.send(Outbox(make_event()))
