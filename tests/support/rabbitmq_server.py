"""The RabbitMQ that the tests use: one that runs already, and what they do there."""

import asyncio
import contextlib
import shutil
import struct
import subprocess
import uuid
from urllib.parse import urlsplit

import aiormq
from aiormq.connection import TCPTransportFactory
from aiormq.exceptions import PublishError
from pamqp.commands import Basic

import edr
from edr.links.rabbitmq_client import BrokerTransport
from edr.wire import kazoo
from support.servers import RABBITMQ

URL = RABBITMQ.rstrip("/")
PORT = urlsplit(URL).port or 5672
CTL = shutil.which("rabbitmqctl")


def why_no_control():
    """Tell why the server cannot be administered from here, or nothing."""
    if CTL is None:
        return "there is no rabbitmqctl here, which this test needs"
    asked = subprocess.run([CTL, "-q", "list_vhosts"], capture_output=True, check=False)
    return None if asked.returncode == 0 else "rabbitmqctl may not administer the server here"


def ctl(*words):
    """Run rabbitmqctl, and return the rows that it prints."""
    done = subprocess.run(
        [CTL, "-q", *words], capture_output=True, text=True, check=True, timeout=60
    )
    return [line.split("\t") for line in done.stdout.splitlines()][1:]


async def actl(*words):
    """Do so, and let the loop go on."""
    return await asyncio.to_thread(ctl, *words)


def at_port(port):
    """The URL of the same server, through what listens on ``port``."""
    parts = urlsplit(URL)
    login = parts.netloc.rpartition("@")[0]
    return parts._replace(netloc=f"{login}@127.0.0.1:{port}").geturl()


@contextlib.contextmanager
def own_vhost():
    name = f"edr-test-{uuid.uuid4().hex}"
    ctl("add_vhost", name)
    try:
        ctl("set_permissions", "-p", name, urlsplit(URL).username, ".*", ".*", ".*")
        yield f"{URL.rstrip('/')}/{name}"
    finally:
        ctl("delete_vhost", name)


class Raw:
    """A client of its own on the exchange, as a Kazoo application is: what it sends is bytes."""

    def __init__(self, url, exchange):
        self.url = url
        self.exchange = exchange
        self.channel = None
        self._connections = []

    async def open(self):
        self.channel = await self._channel(self.url)
        if self.exchange is not None:
            await self.channel.exchange_declare(self.exchange, exchange_type="topic")
        return self

    async def close(self):
        for connection in self._connections:
            await connection.close()

    async def _channel(self, url):
        factory = BrokerTransport(TCPTransportFactory())  # which bears Kazoo's time stamps
        connection = aiormq.Connection(url, transport_factory=factory)
        await connection.connect()
        self._connections.append(connection)
        return await connection.channel()

    async def publish(self, key, payload, timestamp=None):
        await self.channel.basic_publish(
            payload,
            exchange=self.exchange,
            routing_key=key,
            properties=RawProperties(timestamp),
        )

    async def publish_event(self, app_name="app", severity="ok", body=None, **fields):
        event = edr.Event(
            app_name=app_name,
            app_version="1",
            severity=severity,
            verbosity="info",
            body=body or {},
            **fields,
        )
        await self.publish(kazoo.routing_key(event), kazoo.encode(event))

    async def consume(self, key, through=None):
        """Return a list that fills with what is published under ``key``."""
        channel = await self._channel(self.url if through is None else through.url)
        seen = []
        queue = (await channel.queue_declare(exclusive=True)).queue
        await channel.queue_bind(queue, self.exchange, key)

        async def came(message):
            seen.append(message)

        await channel.basic_consume(queue, came, no_ack=True)
        return seen

    async def is_heard(self, key, payload):
        """Tell whether a queue is bound to ``key``; a publisher is told what nobody wants."""
        channel = await self._channel(self.url)
        try:
            await channel.basic_publish(
                payload, exchange=self.exchange, routing_key=key, mandatory=True
            )
        except PublishError:
            return False
        return True

    async def messages_in(self, queue):
        """Return how many messages a queue has for whom comes, and delete it."""
        channel = await self._channel(self.url)
        return (await channel.queue_delete(queue)).message_count


class RawProperties(Basic.Properties):
    """The properties as Kazoo writes them; without a time stamp, the content type alone."""

    def __init__(self, timestamp):
        super().__init__(message_id="-")
        self.number = timestamp

    def marshal(self):
        if self.number is None:
            return b"\x80\x00\x10application/json"
        return b"\x80\x40\x10application/json" + struct.pack(">Q", self.number)


async def take_events(subscription, count, within=20.0):
    async with asyncio.timeout(within):
        return [await anext(subscription) for _ in range(count)]


def is_balanced(counts):
    out = counts.sent + counts.uncertain + sum(counts.dropped.values()) + counts.pending
    came = counts.delivered + counts.duplicates + sum(counts.refused.values())
    return counts.offered == out and counts.received == came
