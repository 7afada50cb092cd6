"""The stream at its limits: clients that stop reading, reset, or are far behind."""

import asyncio
import logging

import pytest

from edr.web import Limits

SMALL = 4096
"""Bytes of the receive buffer of a client that does not read."""


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def stuck_client(client, publish):
    """Open a stream that is not read, and publish until its buffers are full."""
    stream = await client.request("GET", "/events", buffer=SMALL)
    for n in range(2000):
        publish(n, account_id="x" * 500)
        if n % 50 == 0:
            await asyncio.sleep(0)
    return stream


@pytest.mark.slow
async def test_client_that_does_not_read_is_given_up(serve, client_of, publish):
    gateway, server = await serve(send_timeout=0.2)
    await stuck_client(client_of(server), publish)
    await until(lambda: gateway.statistics().closed)

    assert gateway.statistics().closed == {"slow": 1}
    assert gateway.statistics().clients == 0


@pytest.mark.slow
async def test_slow_client_that_reads_again_gets_bye_and_loses_nothing(serve, client_of, publish):
    gateway, server = await serve(send_timeout=0.2)
    client = client_of(server)
    stream = await stuck_client(client, publish)
    await until(lambda: gateway.statistics().closed)
    _, *blocks, bye = await stream.rest()
    again, _ = await client.events({"Last-Event-ID": stream.last_id})
    rest = await again.blocks(2000 - len(blocks))

    assert bye.data == {"reason": "slow"}
    assert stream.is_complete
    assert [block.n for block in (*blocks, *rest)] == list(range(2000))


@pytest.mark.slow
async def test_client_that_lags_is_told_the_exact_number(serve, client_of, publish):
    _, server = await serve(ring=100)
    stream = await stuck_client(client_of(server), publish)
    seen = missed = 0
    while seen + missed < 2000:
        block = await stream.block()
        if block.event == "gap":
            assert block.data["reason"] == "slow"
            missed += block.data["missed"]
        elif block.event == "message":
            assert block.n == seen + missed
            seen += 1

    assert missed > 0


@pytest.mark.slow
async def test_stop_takes_less_than_a_second_with_a_stuck_client(serve, client_of, publish, caplog):
    gateway, server = await serve()
    reader, _ = await client_of(server, "a").events()
    await stuck_client(client_of(server), publish)
    loop = asyncio.get_running_loop()
    started = loop.time()
    await gateway.stop()

    assert loop.time() - started < 1
    assert [block.event for block in await reader.rest()] == ["bye"]
    assert gateway.statistics().closed == {"stopping": 2}
    assert not [record for record in caplog.records if record.exc_info]


async def test_client_that_resets_is_removed_without_a_log_line(serve, client_of, publish, caplog):
    gateway, server = await serve()
    stream, _ = await client_of(server).events()
    stream.reset()
    publish(1)
    await until(lambda: not gateway.statistics().clients)

    assert gateway.statistics().closed == {"left": 1}
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


async def test_writes_have_at_most_the_bytes_of_a_batch(serve, client_of, publish):
    _, server = await serve(limits=Limits(batch=2000))
    publish(*range(50))
    stream = await client_of(server).get("/events", last=50)
    sizes = [len(await stream._chunk()) for _ in range(3)]

    assert all(0 < size < 4000 for size in sizes)


async def test_client_whose_grant_ended_receives_no_further_event(serve, client_of, publish):
    gateway, server = await serve()
    stream, _ = await client_of(server).events()
    [client] = gateway._context.clients
    publish(1)
    client.close("grant")

    assert [block.event for block in await stream.rest()] == ["bye"]


async def test_client_that_fails_on_gaps_is_ended_by_one(serve, client_of, publish):
    gateway, server = await serve(ring=2, limits=Limits(batch=1))
    stream, _ = await client_of(server).events(on_gap="fail")
    publish(*range(500))
    *_, bye = await stream.rest()

    assert bye.data == {"reason": "gap"}
    assert gateway.statistics().closed == {"gap": 1}
