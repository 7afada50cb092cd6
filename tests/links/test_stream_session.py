"""``StreamSession``: the stream is verified when it is opened, and at each look later."""

import asyncio

import pytest

pytest.importorskip("nats")
from edr.journal import JournalError, JournalUnusableError
from edr.links import stream_session
from edr.links.stream_api import NO_SUCH_STREAM, StreamError
from edr.links.stream_session import StreamSession

CONFIG = {
    "name": "EVENTS",
    "retention": "limits",
    "subjects": ["edr.>"],
    "duplicate_window": 100,
    "num_replicas": 3,
}


class Server:
    """A server with one stream, or none."""

    def __init__(self):
        self.stream = None

    def make(self, created="today", **config):
        state = {"first_seq": 1, "last_seq": 9, "bytes": 0}
        self.stream = {"config": CONFIG | config, "state": state, "created": created}
        return self.stream


class Connection:
    """A connection that lives until it is ended."""

    def __init__(self):
        self.lost = asyncio.Event()
        self.fault = None

    async def open(self, *_args, **_options):
        pass

    async def abort(self):
        self.lost.set()

    def end(self, fault):
        self.fault = fault
        self.lost.set()


@pytest.fixture
def server(monkeypatch):
    server = Server()

    class Api:
        def __init__(self, connection, _stream, _timeout):
            self.connection = connection

        async def info(self, _timeout=None):
            if server.stream is None:
                raise StreamError({"code": 404, "err_code": NO_SUCH_STREAM})
            return server.stream

        async def make(self, config):
            return server.make(**config)

    monkeypatch.setattr(stream_session, "Connection", Connection)
    monkeypatch.setattr(stream_session, "StreamApi", Api)
    monkeypatch.setattr(stream_session, "INFO_RETRY_DELAYS", (0.0,))
    return server


@pytest.fixture
def ended():
    return []


@pytest.fixture
async def make_session(server, ended):
    async def on_up(_api, _info):
        pass

    made = []

    def make(*, create=False):
        session = StreamSession(
            ["nats://x"],
            "x",
            CONFIG,
            create=create,
            timeout=5.0,
            client={},
            on_up=on_up,
            on_down=lambda _reason: None,
            on_state=lambda: None,
            on_end=ended.append,
            on_violation=lambda _words: None,
        )
        made.append(session)
        return session

    yield make
    for session in made:
        await session.close()


async def test_missing_stream_is_made_only_with_create(make_session, server):
    with pytest.raises(JournalUnusableError, match="create=True makes it"):
        await make_session().open()
    assert server.stream is None

    session = make_session(create=True)
    await session.open()
    assert session.id == "EVENTS@today"


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"no_ack": True}, "its no_ack is True"),
        ({"subjects": ["other.>"]}, "its subjects is"),
        ({"duplicate_window": 99}, "its duplicate_window is"),
    ],
)
async def test_stream_with_a_wrong_setting_is_not_opened(make_session, server, config, words):
    server.make(**config)
    with pytest.raises(JournalUnusableError, match=words):
        await make_session().open()


@pytest.mark.parametrize(
    ("is_deleted", "words"), [(True, "it was deleted"), (False, "deleted and created again")]
)
async def test_session_ends_when_the_stream_is_gone(make_session, server, ended, is_deleted, words):
    server.make()
    session = make_session()
    await session.open()
    server.make(created="tomorrow")
    if is_deleted:
        server.stream = None

    with pytest.raises(JournalUnusableError, match=words):
        await session.look()
    assert len(ended) == 1
    with pytest.raises(JournalUnusableError, match=words):
        session.check_open()


async def test_session_connects_again_after_a_loss(make_session, server):
    server.make()
    session = make_session()
    first = await session.connected()
    first.connection.end(ConnectionError("cut"))
    async with asyncio.timeout(20):
        while session.api in {first, None}:
            await asyncio.sleep(0)

    assert (await session.connected()) is not first


async def test_closed_session_refuses_calls(make_session):
    session = make_session()
    await session.close()

    with pytest.raises(JournalError, match="was closed"):
        await session.connected()
