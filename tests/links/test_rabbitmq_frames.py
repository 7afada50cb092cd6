"""What a stranger or a broken broker sends does not end the connection, and its size is bounded."""

import asyncio
import struct
import tracemalloc

import pamqp.frame
import pytest
from aiormq.connection import FrameReceiver
from hypothesis import given
from hypothesis import strategies as st
from pamqp.commands import Basic, Channel, Connection
from pamqp.header import ContentHeader

from edr.links.errors import LinkError
from edr.links.rabbitmq_client import BrokerConnection
from edr.links.rabbitmq_frames import FIRST_FRAME_MAX, FrameReader


def frame(kind, payload):
    return struct.pack(">BHI", kind, 1, len(payload)) + payload + b"\xce"


def method(frame_class, payload):
    return frame(1, struct.pack(">I", frame_class.index) + payload)


def short(text):
    return bytes([len(text)]) + text


async def received(*frames):
    """What the library makes of these bytes, read as it reads a socket."""
    reader = asyncio.StreamReader()
    reader.feed_data(b"".join(frames))
    reader.feed_eof()
    return [each async for _, _, each in FrameReceiver(FrameReader(reader))]


def table(*fields):
    content = b"".join(fields)
    return struct.pack(">I", len(content)) + content


@pytest.mark.parametrize(
    "properties",
    [
        b"\x84\x00\x10application/json" + short(b"\xff\xfe"),  # a correlation id that is no UTF-8
        b"\x80\x00" + short(b"\xff"),  # a content type
        b"\x00\x40" + struct.pack(">Q", 63_871_200_000 * 10**6),  # Kazoo's time
        b"\x00\x40" + struct.pack(">Q", 2**64 - 1),
        b"\x20\x00" + table(b"\x01tT" + struct.pack(">Q", 63_871_200_000 * 10**6)),
        b"\x20\x00" + table(b"\x01\xfft\x01"),  # a name of a header that is no UTF-8
        b"\x20\x00" + table(b"\x01a?xx"),  # a type that is none
        b"\x20\x00" + table(b"\x01aS\xff\xff\xff\xff"),  # a text longer than the frame
        b"\x20\x00" + table(b"\x01aF" * 30),  # tables in tables that are cut short
        b"\xff\xff\xff\xff\x00\x00",  # flags that go on
        b"\xff\xfc",  # all properties, and none of their bytes
    ],
)
async def test_properties_of_any_shape_do_no_harm(properties):
    header = frame(2, struct.pack(">HHQ", 60, 0, 5) + properties)
    (found,) = await received(header)

    assert isinstance(found, ContentHeader)
    assert found.body_size == 5
    assert all(value is None for _, value in found.properties if value)


@pytest.mark.parametrize("key", [b"edr.ok.info.\xff.app", "edr.ok.info.é.app".encode(), b"", b"a"])
@pytest.mark.parametrize("exchange", [b"kapps", b"\xfe"])
async def test_a_routing_key_of_any_bytes_does_no_harm(key, exchange):
    payload = short(b"tag") + struct.pack(">QB", 7, 1) + short(exchange) + short(key)
    (found,) = await received(method(Basic.Deliver, payload))

    assert (found.delivery_tag, found.redelivered, found.consumer_tag) == (7, True, "tag")
    assert len(found.routing_key.encode()) == len(key)


@pytest.mark.parametrize("kind", [Channel.Close, Connection.Close])
async def test_a_reason_that_is_cut_within_a_letter_is_read(kind):
    text = ("ACCESS_REFUSED - " + "é" * 200).encode()[:254]
    (found,) = await received(method(kind, struct.pack(">H", 403) + short(text) + b"\0\x3c\0\x28"))

    assert (found.reply_code, found.class_id, found.method_id) == (403, 60, 40)
    assert found.reply_text.startswith("ACCESS_REFUSED - ")


@given(st.lists(st.tuples(st.sampled_from([2, 3, 8]), st.binary(max_size=40)), max_size=5))
def test_sizes_and_ends_of_frames_stay_as_they_are(frames):
    async def main():
        sent = [frame(kind, payload) for kind, payload in frames]
        reader = asyncio.StreamReader()
        reader.feed_data(b"".join(sent))
        reader.feed_eof()
        reading = FrameReader(reader)
        got = [await reading.readexactly(len(each)) for each in sent]
        assert [each[:7] for each in got] == [each[:7] for each in sent]
        assert [each[-1:] for each in got] == [each[-1:] for each in sent]
        assert reading.at_eof()

    asyncio.run(main())


@given(st.binary(max_size=60))
def test_a_method_that_is_cut_short_is_left_to_the_library(payload):
    async def main():
        for kind in (Basic.Deliver, Channel.Close):
            reader = asyncio.StreamReader()
            reader.feed_data(method(kind, payload))
            got = await FrameReader(reader).readexactly(12 + len(payload))
            assert pamqp.frame.frame_parts(got) == (1, 1, 4 + len(payload))

    asyncio.run(main())


async def test_a_frame_above_the_bound_is_refused_before_it_is_read():
    reader = asyncio.StreamReader()
    reader.feed_data(struct.pack(">BHI", 3, 1, FIRST_FRAME_MAX))
    with pytest.raises(LinkError, match="a frame of 131072 bytes"):
        await FrameReader(reader).readexactly(1)


async def test_a_broker_of_another_protocol_version_is_read_by_the_library():
    reader = asyncio.StreamReader()
    reader.feed_data(b"AMQP\0\0\x09\x01")
    assert await FrameReader(reader).readexactly(8) == b"AMQP\0\0\x09\x01"


async def test_a_port_that_floods_costs_little_memory():
    async def flood(_, writer):
        try:
            while True:
                writer.write(b"z" * 65_536)
                await writer.drain()
        except ConnectionError:
            writer.close()

    async with await asyncio.start_server(flood, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        connection = BrokerConnection(f"amqp://127.0.0.1:{port}/", "test")
        tracemalloc.start()
        try:
            with pytest.raises(LinkError, match="does not speak AMQP"):
                await connection.open(confirms=False)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
            await connection.close()

    assert peak < 8 * 1024 * 1024


async def test_the_bound_is_the_brokers_own_once_connected(rabbitmq):
    connection = BrokerConnection(rabbitmq.URL, "test")
    await connection.open(confirms=False)
    assert connection._factory.frames.frame_max == connection._connection.connection_tune.frame_max
    await connection.close()
