import asyncio

import pytest

from edr.testing import run
from edr.web import Grant, Limits, Peer
from edr.web.authentication import Identity
from edr.web.clients import MIN_INTERVAL, Clients, SlowClientError
from edr.web.limits import ClientCounts

PEER = Peer("10.0.0.1", None, "sse")


def clients_of(**options):
    return Clients(**{"heartbeat": 15, "send_timeout": 10, **options})


def add(clients):
    seat = ClientCounts(Limits()).enter(PEER.address)
    return clients.add(Identity(Grant("acme"), "t"), PEER, seat, tuple)


async def hang():
    await asyncio.Event().wait()


def test_wake_is_not_lost_before_a_wait():
    async def main():
        client = add(clients_of())
        client.wake()
        await client.wait()
        waiting = asyncio.create_task(client.wait())
        await asyncio.sleep(5)
        client.wake()
        await waiting

    run(main)


def test_waits_end_at_most_once_in_ten_milliseconds():
    async def main():
        client = add(clients_of())
        loop = asyncio.get_running_loop()
        await client.write(asyncio.sleep(0))
        client.wake()
        began = loop.time()
        await client.wait()
        second = loop.time() - began
        await asyncio.sleep(1)
        client.wake()
        began = loop.time()
        await client.wait()
        return second, loop.time() - began

    assert run(main) == pytest.approx((MIN_INTERVAL, 0))


def test_first_reason_of_the_end_counts():
    async def main():
        client = add(clients_of())
        client.close("grant")
        client.close("left")
        return client.reason

    assert run(main) == "grant"


def test_write_ends_after_the_send_timeout():
    async def main():
        clients = clients_of()
        client = add(clients)
        started = asyncio.get_running_loop().time()
        with pytest.raises(SlowClientError):
            await client.write(hang())
        clients.remove(client, "slow")
        assert not asyncio.current_task().cancelling()
        return asyncio.get_running_loop().time() - started, clients.closed

    seconds, closed = run(main)
    assert 10 <= seconds <= 11.1
    assert closed == {"slow": 1}


def test_cancellation_of_a_write_is_not_taken_for_a_slow_client():
    async def main():
        task = asyncio.create_task(add(clients_of()).write(hang()))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main)


def test_stop_cancels_clients_that_do_not_read():
    clients = None

    async def stuck():
        client = add(clients)
        try:
            await client.write(hang())
        except asyncio.CancelledError:
            assert client.is_stopped()
        finally:
            clients.remove(client, client.reason)

    async def main():
        nonlocal clients
        clients = clients_of()
        tasks = [asyncio.create_task(stuck()) for _ in range(3)]
        await asyncio.sleep(1)
        started = asyncio.get_running_loop().time()
        await clients.stop("stopping")
        await asyncio.gather(*tasks)
        return asyncio.get_running_loop().time() - started, clients.closed

    seconds, closed = run(main)
    assert seconds < 1
    assert closed == {"stopping": 3}


def test_client_that_lingers_is_cancelled_at_a_stop():
    async def main():
        clients = clients_of()

        async def lingers():
            client = add(clients)
            clients.remove(client, "slow")
            try:
                await clients.linger(client, hang())
            except asyncio.CancelledError:
                assert client.is_stopped()

        task = asyncio.create_task(lingers())
        await asyncio.sleep(1)
        await clients.stop("stopping")
        await task

    run(main)
