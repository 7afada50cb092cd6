"""RabbitLink while a real RabbitMQ is away, hangs, forgets, is short of memory, or cut off."""

import asyncio
import os
import random
import sys
import time

import pytest
from support.consuming import ticks, until
from support.fault_proxy import FaultProxy
from support.forking import fork
from support.kazoo_samples import LOGIN, LOGIN_KEY
from support.nats_server import free_port
from support.rabbitmq_server import actl, is_balanced, take_events

import edr
from edr.journal import EventsRefusedError, JournalStatistics, Refusal, SqliteJournal
from edr.links import ConnectionState, LinkRefusedError, RabbitLink
from edr.wire import kazoo

pytestmark = pytest.mark.slow  # servers take their time to die, and clients to notice


async def emit(bus, *numbers, app="app", **fields):
    for n in numbers:
        await bus.emit(app, "1", "ok", "info", {"n": n}, **fields)


async def sentinel(here, events):
    """Emit until an event arrives: then the way is whole again. Return what came before."""
    came = []
    async with asyncio.timeout(20):
        while True:
            await emit(here, -1)
            with_luck = asyncio.ensure_future(anext(events))
            done, _ = await asyncio.wait({with_luck}, timeout=0.05)
            if not done:
                with_luck.cancel()
                await asyncio.wait({with_luck})
                if with_luck.cancelled():
                    continue
            came.append(with_luck.result().body["n"])
            if came[-1] == -1:
                return came[:-1]


async def test_a_broker_that_is_down_at_the_start_is_joined_when_it_comes(rabbit, rabbitmq):
    port = free_port()
    bus, link = await rabbit(rabbitmq.at_port(port))
    events = bus.subscribe()
    await emit(bus, 1, 2)
    assert link.statistics().state is ConnectionState.CONNECTING
    assert link.statistics().pending == 2
    assert link.statistics().last_error
    async with FaultProxy(rabbitmq.PORT, listen=port):
        await link.ready()
        await until(lambda: link.statistics().sent == 2)
        await link.aclose()

    assert len(await take_events(events, 2)) == 2
    assert is_balanced(link.statistics())


async def test_a_broker_that_is_down_at_drain_costs_the_timeout_and_is_counted(rabbit, rabbitmq):
    bus, link = await rabbit(rabbitmq.at_port(free_port()))
    await emit(bus, 1, 2, 3)

    assert await link.drain(0.1) == 3
    assert link.statistics().dropped == {"closed": 3}
    assert is_balanced(link.statistics())


async def test_connections_that_the_broker_closes_are_made_again(vhost, raw_at, bus):
    link = RabbitLink(bus, vhost)
    events = bus.subscribe()
    async with link:
        await link.ready()
        await emit(bus, 1)
        await until(lambda: link.statistics().sent == 1)
        await actl("close_all_connections", "--vhost", vhost.rpartition("/")[2], "a test")
        await until(lambda: link.statistics().reconnects == 1)
        await link.ready()
        raw = await raw_at(vhost, "kapps")
        await raw.publish(LOGIN_KEY, LOGIN)

        assert [event.app_name for event in await take_events(events, 2)] == ["app", "acdc"]
    assert is_balanced(link.statistics())


async def test_under_cuts_no_event_is_doubled_or_out_of_order_and_all_are_counted(
    rabbit, rabbit_proxy
):
    here, link = await rabbit(rabbit_proxy.url, receive=[])
    there, other = await rabbit()
    events = there.subscribe(capacity=100_000)
    await other.ready()
    pauses = random.Random(5)
    total = 0
    for cuts in range(1, 9):
        until_cut = asyncio.get_running_loop().time() + pauses.uniform(0.05, 0.2)
        while asyncio.get_running_loop().time() < until_cut:
            await emit(here, *range(total, total + 10))
            total += 10
            await asyncio.sleep(0.01)
        await rabbit_proxy.cut()
        await until(lambda: link.statistics().reconnects == cuts)  # noqa: B023 - awaited at once
    assert await link.drain(20) == 0

    counts = link.statistics()
    assert is_balanced(counts)
    assert counts.reconnects == 8
    assert counts.offered == total == counts.sent + counts.uncertain + sum(counts.dropped.values())
    await until(lambda: other.statistics().received >= counts.sent)
    arrived = [event.body["n"] for event in await take_events(events, counts.sent)]
    assert arrived == sorted(set(arrived))
    assert counts.sent <= other.statistics().received <= counts.sent + counts.uncertain


async def test_an_exchange_that_is_deleted_is_there_again_for_who_only_receives(
    rabbit, raw, exchange, monkeypatch
):
    monkeypatch.setattr("edr.links.rabbitmq_consumer.HEARTBEAT_INTERVAL", 0.1)
    bus, link = await rabbit(send=[])
    events = bus.subscribe()
    await link.ready()
    await raw.channel.exchange_delete(exchange)
    await raw.channel.exchange_declare(exchange, exchange_type="topic")  # with no bindings
    async with asyncio.timeout(20):
        while not link.statistics().received:
            await raw.publish(LOGIN_KEY, LOGIN)
            await asyncio.sleep(0.02)

    assert (await take_events(events, 1))[0].app_name == "acdc"
    assert link.statistics().reconnects == 0


async def test_a_deleted_exchange_costs_its_sender_no_event(rabbit, raw, exchange, monkeypatch):
    monkeypatch.setattr("edr.links.rabbitmq_consumer.HEARTBEAT_INTERVAL", 0.1)
    here, link = await rabbit(receive=[])
    there, other = await rabbit(send=[])
    events = there.subscribe()
    await other.ready()
    await raw.channel.exchange_delete(exchange)
    await emit(here, *range(50))
    await until(lambda: not link.statistics().pending)

    await sentinel(here, events)
    counts = link.statistics()
    assert (counts.reconnects, counts.uncertain, counts.dropped) == (0, 0, {})
    assert is_balanced(counts)


async def test_a_queue_that_is_deleted_is_made_again(rabbit, raw):
    there, link = await rabbit(receive=[edr.Binding()], queue="edr-test-lost")
    events = there.subscribe()
    await raw.channel.queue_delete("edr-test-lost")
    await until(lambda: link.statistics().reconnects == 1)
    await until(lambda: link.statistics().state is ConnectionState.UP)
    await raw.publish(LOGIN_KEY, LOGIN)

    assert len(await take_events(events, 1)) == 1
    assert "the queue was deleted" in link.statistics().last_error


async def test_a_broker_short_of_memory_blocks_sending_and_no_emit_and_no_receiving(
    rabbit, raw, vhost
):
    # The vhost is there for its check that the server may be administered.
    here, link = await rabbit()
    events = here.subscribe(capacity=10_000)
    await link.ready()
    try:
        await actl("set_vm_memory_high_watermark", "absolute", "1MB")
        await emit(here, *range(10))
        await until(lambda: link.statistics().state is ConnectionState.BLOCKED)
        before = time.perf_counter()
        await emit(here, *range(10, 1500))
        took = time.perf_counter() - before
        blocked = link.statistics()
        there = here.subscribe(edr.Binding(app_name="other"))
        await link.ready()  # the way in is open: the queue is bound to what is new
    finally:
        await actl("set_vm_memory_high_watermark", "0.4")
    await until(lambda: link.statistics().sent == 1500)

    assert took < 2.0
    assert blocked.pending == 1500 - blocked.sent
    assert link.statistics().state is ConnectionState.UP
    assert link.statistics().reconnects == 0
    assert events.statistics().offered == 1500
    assert there.statistics().offered == 0


async def test_draining_into_a_blocked_broker_ends_after_the_timeout(rabbit, vhost):
    here, link = await rabbit(receive=[])
    try:
        await actl("set_vm_memory_high_watermark", "absolute", "1MB")
        await emit(here, *range(300))
        await until(lambda: link.statistics().state is ConnectionState.BLOCKED)
        left = await link.drain(0.2)
    finally:
        await actl("set_vm_memory_high_watermark", "0.4")

    assert left > 0
    assert link.statistics().state is ConnectionState.CLOSED
    assert is_balanced(link.statistics())


async def test_a_broker_that_hangs_is_noticed_and_emits_do_not_wait(rabbit, rabbit_proxy):
    here, link = await rabbit(rabbit_proxy.url, receive=[], timeout=2.0)
    there, other = await rabbit()
    events = there.subscribe()
    await other.ready()
    rabbit_proxy.mute()
    await emit(here, *range(500))
    await until(lambda: link.statistics().state is ConnectionState.CONNECTING)
    assert "confirmed nothing" in link.statistics().last_error
    await until(lambda: link.statistics().uncertain == 256)
    rabbit_proxy.unmute()
    await rabbit_proxy.cut()

    await until(lambda: link.statistics().sent == 500 - 256)
    arrived = []
    while arrived[-1:] != [499]:
        arrived += [event.body["n"] for event in await take_events(events, 1)]
    assert arrived == sorted(set(arrived))
    assert arrived[-244:] == list(range(256, 500))


async def test_a_receiver_that_hears_nothing_asks_and_connects_again(
    rabbit, rabbit_proxy, raw, monkeypatch
):
    monkeypatch.setattr("edr.links.rabbitmq_consumer.HEARTBEAT_INTERVAL", 0.2)
    bus, link = await rabbit(rabbit_proxy.url, send=[], timeout=0.3)
    events = bus.subscribe()
    await link.ready()
    rabbit_proxy.mute()
    await until(lambda: link.statistics().state is ConnectionState.CONNECTING)
    rabbit_proxy.unmute()
    await rabbit_proxy.cut()
    await until(lambda: link.statistics().reconnects >= 1)
    await link.ready()
    await raw.publish(LOGIN_KEY, LOGIN)

    assert len(await take_events(events, 1)) == 1


@pytest.mark.parametrize("task", ["_reader_task", "_writer_task"])
@pytest.mark.parametrize("which", ["_publisher", "_consumer"])
async def test_a_cancellation_inside_the_client_that_nobody_asked_for_is_a_lost_connection(
    rabbit, which, task
):
    here, link = await rabbit()
    events = here.subscribe()
    await link.ready()
    getattr(getattr(link._transport, which)._connection._connection, task).cancel()
    await until(lambda: link.statistics().reconnects == 1)
    await link.ready()
    await emit(here, 1)
    await until(lambda: link.statistics().sent == 1)

    assert len(await take_events(events, 1)) == 1
    assert link.statistics().state is ConnectionState.UP


async def test_who_may_not_publish_hears_so_and_the_bus_goes_on(vhost, bus, rabbitmq):
    name = vhost.rpartition("/")[2]
    await actl("add_user", name, "secret")
    try:
        await actl("set_permissions", "-p", name, name, ".*", "^$", ".*")
        url = vhost.replace("guest:guest@", f"{name}:secret@")
        link = RabbitLink(bus, url, receive=[])
        await link.start()
        events = bus.subscribe()
        await emit(bus, 1)
        await until(lambda: "ACCESS_REFUSED" in str(link.statistics().last_error))

        assert len(await take_events(events, 1)) == 1
        assert link.statistics().dropped == {"not_permitted": 1}
        await link.aclose()
        await actl("set_permissions", "-p", name, name, "^$", ".*", ".*")
        with pytest.raises(LinkRefusedError, match="ACCESS_REFUSED"):
            await RabbitLink(bus, url, exchange="new").start()
    finally:
        await actl("delete_user", name)


async def test_a_virtual_host_that_is_not_there_is_refused(bus, rabbitmq):
    url = f"{rabbitmq.URL.rstrip('/')}/edr-test-none"
    with pytest.raises(LinkRefusedError, match="is there such a virtual host"):
        await RabbitLink(bus, url).start()


async def test_cancelling_at_every_step_of_the_start_leaves_nothing_behind(rabbit):
    for steps in range(0, 300, 12):
        bus, link = await rabbit(start=False)
        starting = asyncio.create_task(link.start())
        await ticks(steps)
        starting.cancel()
        await asyncio.wait({starting})
        await link.aclose()

        assert link.statistics().state is ConnectionState.CLOSED
        assert bus.statistics().subscriptions == 0


async def test_closing_under_load_keeps_the_counts(rabbit):
    here, link = await rabbit()
    here.subscribe(capacity=10_000)
    await link.ready()
    await emit(here, *range(2000))
    await asyncio.sleep(0.05)
    await link.aclose()

    assert link.statistics().pending == 0
    assert is_balanced(link.statistics())


async def test_link_is_closed_when_its_bus_is_closed(rabbit):
    bus, link = await rabbit()
    await link.ready()
    await bus.aclose()

    assert link.statistics().state is ConnectionState.CLOSED


async def test_a_slow_subscriber_holds_up_nobody_else(rabbit, raw):
    bus, link = await rabbit()
    bus.subscribe(capacity=1, name="slow")
    quick = bus.subscribe(capacity=1000)
    await link.ready()
    for n in range(100):
        await raw.publish_event(body={"n": n})

    assert [event.body["n"] for event in await take_events(quick, 100)] == list(range(100))


async def test_a_fork_lets_go_without_a_word_and_its_parent_goes_on(rabbit, recwarn):
    here, link = await rabbit()
    events = here.subscribe()
    await link.ready()
    child = fork()
    if child == 0:
        try:
            asyncio.events._set_running_loop(None)
            with_loop = asyncio.new_event_loop()
            with_loop.run_until_complete(link.aclose())
            left = with_loop.run_until_complete(link.drain())
            os._exit(0 if left == 0 else 3)
        except BaseException:
            os._exit(4)
    status = await asyncio.to_thread(os.waitpid, child, 0)
    await emit(here, 1)
    await until(lambda: link.statistics().sent == 1)

    assert os.waitstatus_to_exitcode(status[1]) == 0
    assert len(await take_events(events, 1)) == 1
    assert link.statistics().reconnects == 0


async def test_with_a_journal_all_arrives_in_the_end_however_often_it_is_cut(
    rabbit, rabbit_proxy, own_server
):
    jetstream = pytest.importorskip("edr.links.jetstream", reason="needs nats: edr[nats]")
    there, other = await rabbit()
    events = there.subscribe(capacity=10_000)
    await other.ready()
    server = own_server(jetstream=True)
    options = {"create": True, "max_bytes": 1 << 24}
    async with (
        jetstream.JetStreamJournal(server.url, "OUTBOX", **options) as journal,
        edr.Bus(node="here") as bus,
    ):
        _, link = await rabbit(rabbit_proxy.url, bus=bus, receive=[], journal=journal)
        for cuts in range(1, 4):
            numbers = range(100 * cuts, 100 * cuts + 100)
            await journal.append(*(numbered(n, node="here") for n in numbers))
            await until(lambda: link.statistics().sent >= 100 * cuts - 70)  # noqa: B023
            await rabbit_proxy.cut()
            await until(lambda: link.statistics().reconnects == cuts)  # noqa: B023
        await journal.append(numbered(400, node="elsewhere"))  # it only sends, so of every node
        arrived = [event.body["n"] for event in await take_events(events, 301)]
        await until(lambda: link.statistics().sent == 301)
        assert await link.drain() == 0

    assert arrived == list(range(100, 401))
    assert is_balanced(link.statistics())
    assert link.statistics().uncertain == 0


def numbered(n, **fields):
    return edr.Event(
        app_name="app", app_version="1", severity="ok", verbosity="info", body={"n": n}, **fields
    )


RECEIVER = '''
import asyncio, sys
import edr
from edr.journal import EventsRefusedError, Refusal, SqliteJournal
from edr.journal import EventsRefusedError, Refusal, SqliteJournal
from edr.links import RabbitLink

url, exchange, path = sys.argv[1:]

class BusyJournal(SqliteJournal):
    """One that stores each event half a second late, as on a busy disk."""

    def append_nowait(self, event):
        asyncio.get_running_loop().call_later(0.5, super().append_nowait, event)
        return True

    def submit(self, event):
        return asyncio.ensure_future(self.late(event))

    async def late(self, event):
        await asyncio.sleep(0.5)
        return await self.append(event)

async def main():
    async with edr.Bus(node="here", journal=BusyJournal(path)) as bus:
        slow = bus.subscribe(capacity=10_000, name="slow")  # its events die with the process
        link = RabbitLink(
            bus, url, exchange=exchange, queue=exchange, durable=True, send=[],
            receive=[edr.Binding()], prefetch=20,
        )
        async with link:
            while True:
                await asyncio.sleep(0.01)
                print(link.statistics().received, flush=True)

asyncio.run(main())
'''


async def test_a_killed_receiver_with_a_journal_loses_no_event(raw, exchange, tmp_path, rabbitmq):
    arguments = [sys.executable, "-c", RECEIVER, rabbitmq.URL, exchange, str(tmp_path / "journal")]

    async def killed_while_it_receives(numbers):
        process = await asyncio.create_subprocess_exec(*arguments, stdout=asyncio.subprocess.PIPE)
        async with asyncio.timeout(60):
            await process.stdout.readline()  # it is connected, and its queue is bound
            for n in numbers:
                await raw.publish_event(body={"n": n}, node="there")
            while int(await process.stdout.readline()) < 50:
                pass
        process.kill()
        await process.wait()

    async def keep(message):
        kept.add(kazoo.decode(message.body).body["n"])

    try:
        for first in range(0, 1200, 300):
            await killed_while_it_receives(range(first, first + 300))
        async with SqliteJournal(tmp_path / "journal") as journal:
            kept = {entry.event.body["n"] async for entry in journal.cursor(after=0, live=False)}
        assert kept
        await raw.channel.basic_consume(exchange, keep, no_ack=True)
        await until(lambda: len(kept) == 1200)
    finally:
        await raw.channel.queue_delete(exchange)


async def test_a_message_is_acked_when_its_event_is_stored(rabbit, raw):
    await raw.messages_in("edr-test-stored")  # of a run that was interrupted
    journal = LateJournal()
    options = {"queue": "edr-test-stored", "receive": [edr.Binding()], "durable": True}
    async with edr.Bus(node="here", journal=journal) as bus:
        events = bus.subscribe()
        _, link = await rabbit(bus=bus, send=[], **options)
        for n in range(4):
            await raw.publish_event(body={"n": n}, node="there")
        await take_events(events, 4)
        journal.storages[0].set_result(1)
        journal.storages[1].set_result(2)
        journal.storages[3].set_exception(EventsRefusedError([Refusal(numbered(3), "no")], 1))
        await until(lambda: "not_stored" in str(link.statistics().last_error))
        await link.aclose()
        counts = link.statistics()

    assert (counts.delivered, counts.refused) == (4, {})
    assert await raw.messages_in("edr-test-stored") == 1  # the one that was not stored yet


class LateJournal:
    """A journal that stores an event when the test says so."""

    bindings = ()

    def __init__(self):
        self.storages = []

    def submit(self, event):
        self.storages.append(asyncio.get_running_loop().create_future())
        return self.storages[-1]

    async def open(self):
        pass

    async def drain(self, timeout=None):
        return 0

    async def aclose(self):
        pass

    def append_nowait(self, event):
        return True

    def statistics(self):
        return JournalStatistics(0, 0, 0, 0, 0, 0, 0, 0, None)
