"""A NATS server that refuses some events gets all the others, and each refused one is counted."""

import contextlib

import pytest
from support.consuming import take, until

import edr
from edr.journal import SqliteJournal

pytestmark = pytest.mark.slow  # they start their own servers
pytest.importorskip("nats", reason="needs nats: pip install 'edr[nats]'")

outboxes = pytest.mark.parametrize("outbox", ["memory", "journal"])

DENYING = """
authorization {
  users: [
    { user: all, password: pw }
    { user: some, password: pw, permissions: { publish: { deny: ["edr.*.denied.>"] } } }
  ]
}
"""


@contextlib.asynccontextmanager
async def bus_with(outbox, tmp_path):
    if outbox == "memory":
        async with edr.Bus(node="here") as bus:
            yield bus, {}
    else:
        journal = SqliteJournal(tmp_path / "journal")
        async with edr.Bus(node="here", journal=journal) as bus:
            yield bus, {"journal": journal}


async def emit(bus, n, app="app", **body):
    await bus.emit(app, "1", "ok", "info", {"n": n, **body})


async def listener(machine, url):
    there, link = await machine("there", url)
    events = there.subscribe(capacity=1000)
    await link.ready()
    return events


def is_balanced(counts):
    out = counts.sent + counts.uncertain + sum(counts.dropped.values()) + counts.pending
    return counts.offered == out


@outboxes
async def test_an_event_too_large_for_the_server_stops_no_other(
    machine, own_server, tmp_path, outbox, caplog
):
    server = own_server(config="max_payload: 50000")
    events = await listener(machine, server.url)
    async with bus_with(outbox, tmp_path) as (bus, options):
        _, link = await machine("here", server.url, bus=bus, receive=(), **options)
        for n in range(20):
            await emit(bus, n, text="x" * (60_000 if n % 10 == 7 else 1))
        await until(lambda: link.statistics().sent == 18)
        await link.drain()
        counts = link.statistics()

    assert await take(events, 18) == [n for n in range(20) if n % 10 != 7]
    assert counts.dropped == {"too_large": 2}
    assert (counts.uncertain, counts.reconnects) == (0, 0)
    assert is_balanced(counts)
    assert "exceed the server's max_payload of 50000" in caplog.text


@outboxes
async def test_an_event_not_permitted_stops_no_other(machine, own_server, tmp_path, outbox, caplog):
    server = own_server(config=DENYING)
    events = await listener(machine, server.url.replace("//", "//all:pw@"))
    url = server.url.replace("//", "//some:pw@")
    async with bus_with(outbox, tmp_path) as (bus, options):
        _, link = await machine("here", url, bus=bus, receive=(), **options)
        for n in range(20):
            await emit(bus, n, app="denied" if n % 10 == 7 else "app")
        await until(lambda: link.statistics().sent == 18)
        await link.drain()
        counts = link.statistics()

    assert await take(events, 18) == [n for n in range(20) if n % 10 != 7]
    assert counts.dropped == {"not_permitted": 2}
    assert (counts.uncertain, counts.reconnects) == (0, 0)
    assert is_balanced(counts)
    assert 'permissions violation for publish to "edr.~.denied' in caplog.text


@outboxes
async def test_an_event_that_no_server_wants_counts_as_sent(machine, own_server, tmp_path, outbox):
    server = own_server()
    async with bus_with(outbox, tmp_path) as (bus, options):
        _, link = await machine("here", server.url, bus=bus, receive=(), **options)
        await emit(bus, 1)
        await until(lambda: link.statistics().sent == 1)


@outboxes
async def test_an_event_that_cannot_be_encoded_stops_no_other(
    machine, own_server, tmp_path, outbox, monkeypatch
):
    from edr.links import nats

    subject_of = nats.subject_of

    def subject_of_some(event, *args):
        return subject_of(event, *args) if event.body["n"] != 1 else 1 / 0

    monkeypatch.setattr(nats, "subject_of", subject_of_some)
    server = own_server()
    events = await listener(machine, server.url)
    async with bus_with(outbox, tmp_path) as (bus, options):
        _, link = await machine("here", server.url, bus=bus, receive=(), **options)
        for n in range(3):
            await emit(bus, n)
        assert await take(events, 2) == [0, 2]
        await link.drain()

    assert link.statistics().dropped == {"invalid": 1}
