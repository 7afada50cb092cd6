import asyncio

import pytest
from support.consuming import ticks, until
from support.nats_server import NatsServer, find_server

import edr
from edr.journal import SqliteJournal
from edr.sources import JetStreamSource


@pytest.fixture
async def upstream(tmp_path):
    """A journal that another process would write. The source opens the second object."""
    journals = []

    def make(**options):
        options = {"sync": "process", "linger": 0, **options}
        journals.append(SqliteJournal(tmp_path / "upstream", edr.Binding.everything(), **options))
        return journals[-1]

    yield make
    for journal in journals:
        await journal.aclose()


@pytest.fixture
async def source_of(ingest):
    made = []

    def source_of(journal, *bindings, **options):
        options = {"consumer": "here", "start": "oldest", **options}
        made.append(JetStreamSource("events", ingest, journal, *bindings, **options))
        return made[-1]

    yield source_of
    for source in made:
        await source.aclose()


@pytest.fixture
def events(make_event):
    return lambda *numbers, **fields: [make_event(body={"n": n}, **fields) for n in numbers]


async def fill(journal, events):
    async with journal:
        await journal.append(*events)


async def test_stored_entries_are_acknowledged(upstream, source_of, events, journal):
    given = events(*range(600))
    await fill(upstream(), given)
    source = source_of(upstream())
    await source.start()
    await source.start()
    await until(lambda: source.statistics().accepted == 600)
    await source.drain()

    assert journal.stored == given
    async with upstream() as again:
        assert (await again.consumers())[0].lag == 0
    assert source.statistics().state == "stopped"


async def test_entries_are_not_acknowledged_before_they_are_stored(
    upstream, source_of, events, journal
):
    await fill(upstream(), events(1, 2))
    journal.hold()
    source = source_of(upstream())
    await source.start()
    await until(lambda: len(journal.accepted) == 2)
    await source.aclose()
    async with upstream() as again:
        assert (await again.consumers())[0].lag == 2
    journal.release()
    await ticks()

    source = source_of(upstream())
    await source.start()
    await until(lambda: source.statistics().accepted == 2)
    assert journal.numbers == [1, 2, 1, 2]


async def test_stop_stores_and_acknowledges_what_was_read(upstream, source_of, events, journal):
    await fill(upstream(), events(1))
    journal.hold()
    source = source_of(upstream())
    await source.start()
    await until(lambda: journal.accepted)
    stopping = asyncio.ensure_future(source.drain())
    await ticks()
    assert source.statistics().state == "stopping"
    journal.release()
    await stopping

    async with upstream() as again:
        assert (await again.consumers())[0].lag == 0


async def test_stop_gives_up_entries_that_cannot_be_stored(upstream, source_of, events, journal):
    await fill(upstream(), events(1))
    journal.hold()
    source = source_of(upstream())
    await source.start()
    await until(lambda: journal.accepted)
    journal.fail("disk full")
    await source.drain()

    async with upstream() as again:
        assert (await again.consumers())[0].lag == 1


async def test_same_entries_are_published_until_they_are_stored(
    upstream, source_of, events, journal, monkeypatch
):
    monkeypatch.setattr("edr.sources.ingest.RECHECK", 0)
    given = events(1, 2)
    await fill(upstream(), given)
    journal.hold()
    source = source_of(upstream())
    await source.start()
    await until(lambda: len(journal.accepted) == 2)
    journal.fail("disk full")
    journal.release()
    await ticks(20)
    assert journal.stored == []
    journal.error = None
    await until(lambda: source.statistics().accepted == 2)

    assert journal.stored == given


async def test_nothing_is_read_while_the_journal_cannot_store(upstream, source_of, events, journal):
    await fill(upstream(), events(1))
    journal.error = "disk full"
    source = source_of(upstream())
    await source.start()
    for _ in range(20):
        await asyncio.sleep(0.001)
    assert source.status()["state"] == "waiting"
    await source.drain()

    assert journal.stored == []


async def test_refused_entries_are_counted_and_acknowledged(upstream, source_of, events, journal):
    await fill(upstream(), events(1, 2, 3))
    journal.refuses = {2}
    source = source_of(upstream())
    await source.start()
    await until(lambda: source.statistics().accepted == 2)
    await source.drain()

    assert source.status()["lost"] == {"refused": 1}
    async with upstream() as again:
        assert (await again.consumers())[0].lag == 0


async def test_bindings_select_entries(upstream, source_of, events, journal):
    await fill(upstream(), [*events(1), *events(2, severity="warning")])
    source = source_of(upstream(), edr.Binding(severity="warning"))
    await source.start()
    await until(lambda: source.statistics().accepted)
    await source.drain()

    assert journal.numbers == [2]
    assert tuple(source.bindings) == ()


async def test_lost_entries_are_counted(upstream, source_of, events, journal):
    async with upstream(max_events=300) as writer:
        async with await writer.consumer("here"):
            pass
        for first in range(0, 1000, 50):
            await writer.append(*events(*range(first, first + 50)))
    source = source_of(upstream())
    await source.start()
    await until(lambda: 999 in journal.numbers)
    await source.drain()
    statistics = source.statistics()

    assert statistics.missed == 1000 - statistics.accepted > 0
    assert source.status()["lost"] == {"missed": statistics.missed}


async def test_journal_that_cannot_be_opened_is_tried_again(
    upstream, source_of, events, journal, monkeypatch, caplog
):
    monkeypatch.setattr("edr.sources.jetstream.FIRST_PAUSE", 0.001)
    writer = upstream()
    await fill(writer, events(1))
    other = upstream()
    await other.open()  # it is in use
    source = source_of(upstream())
    await source.start()
    await until(lambda: source.status()["state"] == "retrying")
    await other.aclose()
    await until(lambda: source.statistics().accepted == 1)

    assert "could not read its journal, trying again in" in caplog.text
    assert source.status()["state"] == "running"


async def test_fault_of_a_client_library_is_tried_again(
    upstream, source_of, events, journal, monkeypatch
):
    monkeypatch.setattr("edr.sources.jetstream.FIRST_PAUSE", 0.001)
    await fill(upstream(), events(1))
    source_journal = upstream()
    open_, faults = source_journal.open, [OSError("reset"), ValueError("odd")]

    async def faulty():
        if faults:
            raise faults.pop()
        await open_()

    monkeypatch.setattr(source_journal, "open", faulty)
    source = source_of(source_journal)
    await source.start()
    await until(lambda: source.statistics().accepted == 1)

    assert faults == []


async def test_stop_ends_a_pause(upstream, source_of):
    other = upstream()
    await other.open()
    source = source_of(upstream())
    await source.start()
    await until(lambda: source.status()["state"] == "retrying")
    await source.drain()

    assert source.status()["state"] == "stopped"


async def test_source_that_was_not_started_stops(upstream, source_of):
    source = source_of(upstream())
    await source.drain()
    await source.drain()

    assert source.status()["state"] == "stopped"


@pytest.mark.slow
async def test_stream_of_a_server_is_read_after_an_outage(tmp_path, source_of, events, journal):
    links = pytest.importorskip("edr.links.jetstream", reason="needs nats")
    if find_server() is None:
        pytest.skip("needs nats: no nats-server is installed")
    server = NatsServer(tmp_path, jetstream=True).start()
    try:
        async with links.JetStreamJournal(
            server.url, "EVENTS", create=True, max_bytes=1 << 24
        ) as writer:
            await writer.append(*events(*range(100)))
            source = source_of(links.JetStreamJournal(server.url, "EVENTS"))
            await source.start()
            await until(lambda: source.statistics().accepted == 100, within=60)
            server.kill()
            server.start()
            await writer.append(*events(100))
            await until(lambda: 100 in journal.numbers, within=120)
            await source.drain()

        assert sorted(set(journal.numbers)) == list(range(101))
    finally:
        server.kill()
