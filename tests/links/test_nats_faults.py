"""NatsLink while servers die, hang and come back, and the network does what networks do."""

import asyncio

import pytest
from support.consuming import take, take_ready, until
from support.fault_proxy import FaultProxy

import edr
from edr.links import ConnectionState

pytestmark = pytest.mark.slow  # they talk to servers, or start their own

nats_module = pytest.importorskip("edr.links.nats", reason="needs nats: pip install 'edr[nats]'")


async def emit(bus, *numbers, app="app", **fields):
    for n in numbers:
        await bus.emit(app, "1", "ok", "info", {"n": n}, **fields)


def is_balanced(counts):
    out = counts.sent + counts.uncertain + sum(counts.dropped.values()) + counts.pending
    came = counts.delivered + counts.duplicates + sum(counts.refused.values())
    return counts.offered == out and counts.received == came


async def test_a_broker_that_is_down_at_the_start_is_joined_when_it_comes(machine, own_server):
    server = own_server()
    server.kill()
    here, link = await machine("here", server.url)
    there, other = await machine("there", server.url)
    events = there.subscribe()
    await emit(here, 1, 2)
    assert link.statistics().state is ConnectionState.CONNECTING
    await server.restart()
    await other.ready()

    # What was emitted before the other machine was there may be gone: nothing is stored here.
    await link.ready()
    await until(lambda: link.statistics().sent == 2)
    await emit(here, 3)
    async with asyncio.timeout(5):
        while (await anext(events)).body["n"] != 3:
            pass


async def test_what_was_emitted_in_an_outage_reaches_those_who_lost_the_server_too(
    machine, own_server
):
    server = own_server()
    here, link = await machine("here", server.url)
    there, other = await machine("there", server.url)
    events = there.subscribe()
    await other.ready()
    server.kill()
    for joined in (link, other):
        await until(lambda joined=joined: joined.statistics().state is ConnectionState.CONNECTING)
    await emit(here, *range(100))
    await asyncio.sleep(0.2)  # in which the two get out of step
    await server.restart()

    assert await take(events, 100) == list(range(100))
    assert link.statistics().uncertain == 0


async def test_a_broker_that_is_down_at_drain_costs_the_timeout_and_is_counted(machine, own_server):
    server = own_server()
    here, link = await machine("here", server.url)
    server.kill()
    await until(lambda: link.statistics().state is ConnectionState.CONNECTING)
    await emit(here, 1, 2, 3)

    assert await link.drain(0.1) == 3
    assert link.statistics().dropped == {"closed": 3}
    assert is_balanced(link.statistics())


async def test_a_server_that_hangs_is_noticed_and_emits_do_not_wait(
    machine, own_server, monkeypatch
):
    monkeypatch.setattr(nats_module, "HEARTBEAT_INTERVAL", 0.05)
    server = own_server()
    here, link = await machine("here", server.url, timeout=0.2)
    there, other = await machine("there", server.url, timeout=0.2)
    events = there.subscribe(capacity=10_000)
    await other.ready()
    server.pause()
    await until(lambda: link.statistics().state is ConnectionState.CONNECTING)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await emit(here, *range(1000))
    assert loop.time() - began < 1.0
    server.resume()
    await link.ready()
    await other.ready()
    await emit(here, 1000)
    async with asyncio.timeout(10):
        while (await anext(events)).body["n"] != 1000:
            pass

    await until(lambda: not link.statistics().pending)
    assert link.statistics().reconnects >= 1
    assert is_balanced(link.statistics())


async def test_what_is_not_fenced_when_the_network_is_cut_is_uncertain(machine, own_server):
    server = own_server()
    watcher, watching = await machine("watcher", server.url)
    arrived = watcher.subscribe()
    await watching.ready()
    async with FaultProxy(server.port) as proxy:
        here, link = await machine("here", proxy.url)
        proxy.mute()
        await emit(here, 1, 2, 3)
        assert await take(arrived, 3) == [1, 2, 3]
        assert (link.statistics().sent, link.statistics().pending) == (0, 3)
        await proxy.cut()
        proxy.unmute()
        await until(lambda: link.statistics().reconnects == 1)
        await emit(here, 4)

        assert await take(arrived, 1) == [4]
        await until(lambda: link.statistics().sent == 1)
        assert link.statistics().uncertain == 3
        await link.drain()


async def test_a_fence_that_is_not_answered_ends_the_connection(machine, own_server):
    server = own_server()
    async with FaultProxy(server.port) as proxy:
        here, link = await machine("here", proxy.url, timeout=0.2)
        await link.ready()
        proxy.mute()
        await emit(here, 1)
        await until(lambda: link.statistics().uncertain == 1)
        proxy.unmute()
        await link.ready()
        await emit(here, 2)
        await until(lambda: link.statistics().sent == 1)

        assert "did not answer" in link.statistics().last_error
        await link.drain()


async def test_latency_costs_no_throughput(machine, own_server):
    """Fences overlap with what is sent behind them: a round trip of 0.1 s, 2,000 events."""
    server = own_server()
    async with FaultProxy(server.port) as proxy:
        there, other = await machine("there", server.url)
        events = there.subscribe(capacity=10_000)
        await other.ready()
        here, link = await machine("here", proxy.url)
        proxy.delay = 0.05
        await emit(here, *range(2000))

        assert await take(events, 2000, within=5.0) == list(range(2000))
        await until(lambda: link.statistics().sent == 2000)
        await link.drain()


async def test_a_server_that_takes_nothing_bounds_what_is_on_its_way(
    machine, own_server, monkeypatch
):
    monkeypatch.setattr(nats_module, "MAX_IN_FLIGHT", 10)
    server = own_server()
    async with FaultProxy(server.port) as proxy:
        here, link = await machine("here", proxy.url, capacity=20)
        proxy.mute()
        await emit(here, *range(100))
        await until(lambda: link.statistics().pending == 31)

        assert link._outbox.in_flight == 10
        assert link.statistics().dropped == {"overflow": 69}
        proxy.unmute()
        await until(lambda: link.statistics().pending == 0)
        assert link.statistics().sent == 31
        await link.drain()


async def test_a_slow_subscriber_costs_the_others_nothing(machine):
    here, _ = await machine("here")
    there, link = await machine("there")
    slow = there.subscribe(capacity=1, name="slow")
    quick = there.subscribe(capacity=10_000)
    await link.ready()
    await emit(here, *range(2000))

    assert await take(quick, 2000) == list(range(2000))
    assert slow.statistics().dropped["would_block"] == 2000 - 257
    assert is_balanced(link.statistics())
    await slow.aclose()


async def test_cancelling_a_link_while_it_sends_leaves_the_counts_true(machine, own_server):
    server = own_server()
    bus = edr.Bus(node="here")
    link = nats_module.NatsLink(bus, server.url)
    await link.start()
    await emit(bus, *range(500))
    await asyncio.sleep(0)
    closing = asyncio.create_task(link.aclose())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait({closing})
    await until(lambda: link.statistics().state is ConnectionState.CLOSED)
    await link.aclose()

    assert is_balanced(link.statistics())
    assert link.statistics().pending == 0
    await bus.aclose()


async def test_ten_thousand_subscriptions_come_and_go_and_the_server_keeps_nothing(
    machine, own_server
):
    server = own_server(monitor=True)
    there, link = await machine("there", server.url, linger=0.0)
    before = (await asyncio.to_thread(server.asked, "subsz"))["num_subscriptions"]
    for n in range(10_000):
        there.subscribe(edr.Binding(account_id=f"a{n % 500}", app_name=f"app{n % 7}")).shutdown()
        if not n % 500:
            await link.ready()
    await link.ready()
    await until(lambda: link.statistics().patterns == 0)

    async def kept():
        return (await asyncio.to_thread(server.asked, "subsz"))["num_subscriptions"] - before

    async with asyncio.timeout(10):
        while await kept():
            await asyncio.sleep(0.01)
    assert link._transport._subscribed == link._transport._unused_since == {}


@pytest.mark.timeout(240)
async def test_twenty_kills_under_load_lose_only_what_is_counted_and_double_nothing(
    machine, own_server, capsys
):
    server = own_server()
    here, link = await machine("here", server.url, capacity=100_000)
    there, other = await machine("there", server.url)
    events = there.subscribe(capacity=1_000_000)
    await other.ready()
    emitted, longest, stop = 0, 0.0, asyncio.Event()
    loop = asyncio.get_running_loop()

    async def load():
        nonlocal emitted, longest
        while not stop.is_set():
            for _ in range(20):
                began = loop.time()
                await emit(here, emitted)
                longest = max(longest, loop.time() - began)
                emitted += 1
            await asyncio.sleep(0.002)

    loading = asyncio.create_task(load())
    recoveries = []
    for _ in range(20):
        await asyncio.sleep(0.1)
        server.kill()
        await until(lambda: link.statistics().state is ConnectionState.CONNECTING)
        await server.restart()
        began = loop.time()
        await link.ready()
        await other.ready()
        recoveries.append(loop.time() - began)
    stop.set()
    await loading
    await until(lambda: not link.statistics().pending)
    await emit(here, emitted)
    seen = take_ready(events)
    while not seen or seen[-1] != emitted:
        seen += await take(events, 1)
    await until(lambda: not link.statistics().pending)

    counts = link.statistics()
    with capsys.disabled():
        print(  # noqa: T201
            f"\n20 kills: {emitted + 1} emitted, {counts.sent} sent, {counts.uncertain} uncertain, "
            f"{len(seen)} received, {len(seen) - len(set(seen))} doubled, recovered within "
            f"{max(recoveries):.2f} s; the longest emit took {longest * 1000:.1f} ms"
        )
    assert seen == sorted(set(seen))
    assert is_balanced(counts)
    assert counts.offered == emitted + 1
    assert counts.dropped == {}
    assert len(seen) <= counts.sent + counts.uncertain
