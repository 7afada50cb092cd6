"""A link whose outbox is a journal: what was emitted here reaches the broker in the end, once."""

import asyncio

import pytest
from support.consuming import take, take_ready, until

import edr

pytestmark = pytest.mark.slow  # they talk to servers, or start their own

jetstream = pytest.importorskip("edr.links.jetstream", reason="needs nats: pip install 'edr[nats]'")


UNWANTED = edr.Binding(app_name="nothing")
"""A link that receives sends the events of its own node only."""


def events(*numbers, node="here"):
    return [
        edr.Event(
            app_name="app",
            app_version="1",
            severity="ok",
            verbosity="info",
            body={"n": n},
            node=node,
        )
        for n in numbers
    ]


@pytest.fixture
async def journal(own_server):
    server = own_server(jetstream=True)
    async with jetstream.JetStreamJournal(
        server.url, "OUTBOX", create=True, max_bytes=1 << 24
    ) as journal:
        yield journal


@pytest.fixture
async def heard(machine):
    bus, link = await machine("there")
    subscription = bus.subscribe(capacity=10_000)
    await link.ready()
    return subscription


async def join(nats_server, journal, **options):
    bus = edr.Bus(node="here")
    link = edr.links.NatsLink(
        bus, nats_server.url, name="out", journal=journal, **{"receive": [UNWANTED]} | options
    )
    await link.start()
    return bus, link


async def test_what_the_journal_has_of_this_node_is_sent_and_acknowledged(
    journal, heard, nats_server
):
    bus, link = await join(nats_server, journal)
    await journal.append(*events(1, 2), *events(8, node="there"), *events(3))
    assert await take(heard, 3) == [1, 2, 3]
    await until(lambda: link.statistics().sent == 3)
    assert await link.drain() == 0

    counts = link.statistics()
    assert (counts.offered, counts.pending, counts.uncertain) == (3, 0, 0)
    (status,) = await journal.consumers()
    assert (status.name, status.lag, status.open) == ("link:out", 0, False)
    await bus.aclose()


async def test_a_link_that_comes_back_goes_on_where_it_was(journal, heard, nats_server):
    bus, link = await join(nats_server, journal)
    await journal.append(*events(1))
    await take(heard, 1)
    await until(lambda: link.statistics().sent == 1)
    await link.aclose()
    await bus.aclose()
    await journal.append(*events(2, 3))
    bus, link = await join(nats_server, journal)

    assert await take(heard, 2) == [2, 3]
    await link.drain()
    assert take_ready(heard) == []
    await bus.aclose()


async def test_what_is_emitted_while_the_server_dies_again_and_again_arrives_once_and_in_order(
    journal, own_server, machine
):
    server = own_server()
    there, other = await machine("there", server.url)
    heard = there.subscribe(capacity=10_000)
    await other.ready()
    bus = edr.Bus(node="here")
    link = edr.links.NatsLink(bus, server.url, name="out", journal=journal, receive=(), timeout=5)
    await link.start()
    for round_ in range(5):
        await journal.append(*events(*range(100 * round_, 100 * round_ + 100)))
        await until(lambda n=round_: link.statistics().sent >= 100 * n)
        server.kill()
        await server.restart()
        await link.ready()
        await other.ready()
    await until(lambda: link.statistics().sent == 500)

    counts = link.statistics()
    assert (counts.offered, counts.uncertain, counts.pending) == (500, 0, 0)
    found = []
    async with asyncio.timeout(10):
        while not found or found[-1] != 499:
            found += await take(heard, 1)
    # The server had each; it kept none for a subscriber that was not there.
    assert found == sorted(set(found))
    assert len(found) > 400
    await link.drain()
    await bus.aclose()


async def test_a_drain_leaves_in_the_journal_what_cannot_be_sent(journal, own_server):
    server = own_server()
    server.kill()
    bus, link = await join(server, journal, timeout=0.2)
    await journal.append(*events(1, 2))
    await until(lambda: journal.statistics().last == 2)
    await link.drain()

    assert link.statistics().sent == 0
    (status,) = await journal.consumers()
    assert status.lag == 2
    await bus.aclose()
