"""What is bent in the client library is still there to be bent, and does what is said of it."""

import asyncio

import pytest
from support.consuming import until
from support.fault_proxy import FaultProxy

from edr.links import LinkRefused

nats_client = pytest.importorskip(
    "edr.links.nats_client", reason="needs nats: pip install 'edr[nats]'"
)


@pytest.fixture
async def connection(nats_server):
    connection = nats_client.Connection()
    await open_to(connection, nats_server.url)
    yield connection
    await connection.abort()


async def open_to(connection, url, timeout=5.0):
    await connection.open([url], name="test", timeout=timeout, options={})


async def heard_on(url, pattern):
    """A connection of its own, and what it hears."""
    connection, heard = nats_client.Connection(), []
    await open_to(connection, url)
    await connection.listen(pattern, lambda *message: heard.append(message))
    await connection.fence(5.0)
    return connection, heard


async def test_messages_of_all_patterns_come_in_one_order(connection, nats_server):
    other, heard = await heard_on(nats_server.url, "x.a")
    await other.listen("x.b", lambda *message: heard.append(message))
    await other.fence(5.0)
    for n in range(1000):
        await connection.publish(f"x.{'ab'[n % 2]}", str(n).encode())
    await connection.fence(5.0)
    await other.fence(5.0)
    await other.abort()

    assert [int(data) for _, _, _, data, _ in heard] == list(range(1000))
    assert {number for number, *_ in heard} == {1, 2}


async def test_a_fence_is_behind_all_that_was_published(own_server):
    server = own_server(monitor=True)
    connection = nats_client.Connection()
    await open_to(connection, server.url)
    for _ in range(5000):
        await connection.publish("x", b"y" * 1000)
    await connection.fence(10.0)
    handled = await asyncio.to_thread(server.asked, "varz")
    await connection.abort()

    assert handled["in_msgs"] == 5000


async def test_a_fence_that_is_not_answered_times_out_and_its_late_answer_harms_nothing(own_server):
    server = own_server()
    connection = nats_client.Connection()
    async with FaultProxy(server.port) as proxy:
        await open_to(connection, proxy.url)
        proxy.mute()
        with pytest.raises(TimeoutError, match="did not answer within 0.05 s"):
            await connection.fence(0.05)
        proxy.unmute()
        await connection.fence(5.0)

        assert not connection.lost.is_set()
        await connection.abort()


async def test_what_is_no_longer_listened_to_is_not_heard(connection, nats_server):
    other, heard = await heard_on(nats_server.url, "y.1")
    number = await other.listen("y.2", lambda *message: heard.append(message))
    await other.unlisten(number)
    await other.fence(5.0)
    for subject in ("y.2", "y.1"):
        await connection.publish(subject, b"")
    await connection.fence(5.0)
    await other.fence(5.0)
    await other.abort()

    assert [subject for _, subject, _, _, _ in heard] == [b"y.1"]


async def test_a_connection_that_is_cut_is_lost_and_a_fence_says_so(own_server):
    server = own_server()
    connection = nats_client.Connection()
    async with FaultProxy(server.port) as proxy:
        await open_to(connection, proxy.url)
        proxy.mute()
        waiting = asyncio.create_task(connection.fence(10.0))
        await asyncio.sleep(0)
        await proxy.cut()
        with pytest.raises(ConnectionError):
            await waiting
        await connection.lost.wait()
    await connection.abort()


async def test_a_server_that_ends_the_connection_is_a_fault(connection):
    connection._transport.write(b"NONSENSE\r\n")
    await connection.lost.wait()

    assert "unknown protocol" in str(connection.fault)


async def test_aborting_a_connection_to_a_server_that_hangs_takes_no_time(own_server):
    server = own_server()
    connection = nats_client.Connection()
    await open_to(connection, server.url)
    server.pause()
    for _ in range(20):
        await connection.publish("x", b"y" * 500_000)
    await asyncio.sleep(0.01)
    async with asyncio.timeout(1.0):
        await connection.abort()
    server.resume()


async def test_a_server_that_is_not_there_is_no_riddle(own_server):
    server = own_server()
    server.kill()
    connection = nats_client.Connection()
    with pytest.raises(OSError, match="111"):
        await open_to(connection, server.url)
    await connection.abort()


async def test_a_server_that_wants_to_know_who_we_are_refuses(own_server):
    server = own_server(config="authorization { token: s3cret }")
    connection = nats_client.Connection()
    with pytest.raises(LinkRefused, match="does not let this link in"):
        await open_to(connection, server.url)
    await connection.abort()
    await until(lambda: connection._transport is None or connection.is_closed)
