"""The web gateway as a part: access, reload, and its end."""

import hashlib
import json
from contextlib import suppress

import pytest
from support.sse_client import HttpClient

from app.conftest import BASIC, line, send
from edr.app.config import ConfigurationError
from edr.app.gateway import TokenGrants
from edr.sources import Tokens
from edr.web import Grant, Peer

WEB = BASIC + '[web]\nlisten = "127.0.0.1:0"\ntokens_file = "tokens.jsonl"\n'
EVERYTHING = {"rights": ["watch_everything"]}


@pytest.fixture
def write_tokens(tmp_path):
    """Write a file of tokens, such as ``acme={"account": "acme", "rights": ["watch"]}``."""

    def write(**tokens):
        path = tmp_path / "tokens.jsonl"
        digests = {each: hashlib.sha256(each.encode()).hexdigest() for each in tokens}
        lines = [json.dumps({"sha256": digests[name], **tokens[name]}) for name in tokens]
        path.write_text("\n".join(lines))
        path.chmod(0o600)
        return path

    return write


@pytest.fixture
def client_of():
    """Return a client of the server of an application, with this token."""
    clients = []

    def client_of(application, token="all"):
        [server] = [
            each
            for each in (*application._servers, *application._early_servers)  # the free port
            if hasattr(each, "address")
        ]
        clients.append(HttpClient(int(server.address.rpartition(":")[2]), token))
        return clients[-1]

    yield client_of
    for each in clients:
        each.close()


@pytest.fixture
def emit(tmp_path):
    """Send events with these numbers, which are in the journal then."""

    async def emit(*ns, **fields):
        await send(tmp_path / "in.sock", *(line(n, **fields) for n in ns))

    return emit


def test_a_token_has_the_grant_of_its_rights(write_tokens):
    expires = {"expires": "2100-01-01T00:00:00Z"}
    tokens = {
        "acme": {"account": "acme", "rights": ["watch"], **expires},
        "all": {"account": "acme", "rights": ["emit", "watch_everything"], **expires},
        "sender": {"account": "acme", "rights": ["emit"]},
        "old": {"rights": ["watch_everything"], "expires": "2020-01-01T00:00:00Z"},
    }
    grants = TokenGrants(Tokens(write_tokens(**tokens)))
    found = {each: grants(each, Peer("", None, "sse")) for each in (*tokens, "unknown", None)}
    granted = {each: grant for each, grant in found.items() if grant is not None}

    assert granted == {"acme": Grant("acme"), "all": Grant.everything()}
    assert [each.expires.year for each in granted.values()] == [2100, 2100]


async def test_a_client_receives_the_events_of_its_account(running, write_tokens, client_of, emit):
    write_tokens(acme={"account": "acme", "rights": ["watch"]}, all=EVERYTHING)
    async with running(WEB) as app:
        acme, _ = await client_of(app, "acme").events()
        everything, _ = await client_of(app).events()
        refused = await client_of(app, "other").get("/events")
        await emit(1)
        await emit(2, account_id="acme")

        assert (await acme.block()).n == 2
        assert [(await everything.block()).n for _ in range(2)] == [1, 2]
        assert refused.status == 401


async def test_the_journal_stores_the_events_of_sinks_and_the_gateway(
    running, configured, write_tokens
):
    write_tokens(all=EVERYTHING)
    sink = BASIC + 'bindings = [{ severity = "critical" }]\n'
    web = WEB.replace(BASIC, sink)
    async with running(web + 'bindings = [{ app_name = "acdc" }]\n') as app:
        for n, name in enumerate(("acdc", "other")):
            await app.bus.emit(name, "1", "ok", "info", {"n": n})  # a source stores every event
        await app.reload(configured(web + 'bindings = [{ app_name = "other" }]\n'))
        for n, name in enumerate(("acdc", "other"), 2):
            await app.bus.emit(name, "1", "ok", "info", {"n": n})
        await app.bus.journal.flush()
        async with app.bus.journal.cursor(after=0, live=False) as cursor:
            stored = [entry.event.body["n"] async for entry in cursor]

    assert stored == [0, 3]


async def test_a_reload_ends_the_clients_without_access_only(
    running, configured, write_tokens, client_of, emit
):
    one, two = {"account": "one", "rights": ["watch"]}, {"account": "two", "rights": ["watch"]}
    write_tokens(one=one, two=two)
    async with running(WEB) as app:
        kept, _ = await client_of(app, "one").events()
        ended, _ = await client_of(app, "two").events()
        write_tokens(one=one)
        result = await app.reload(configured(WEB))
        bye = await ended.block()
        await emit(1, account_id="one")

        assert (bye.event, bye.data) == ("bye", {"reason": "grant"})
        assert (await kept.block()).n == 1
        assert result.changed == ()


async def test_another_tokens_file_ends_clients_without_access(
    running, configured, write_tokens, client_of, emit
):
    path = write_tokens(all=EVERYTHING)
    path.rename(path.with_name("other.jsonl"))
    write_tokens(all=EVERYTHING, two=EVERYTHING)
    async with running(WEB) as app:
        kept, _ = await client_of(app).events()
        ended, _ = await client_of(app, "two").events()
        result = await app.reload(configured(WEB.replace("tokens.jsonl", "other.jsonl")))
        await emit(1)

        assert (await ended.block()).data == {"reason": "grant"}
        assert (await kept.block()).n == 1
        assert result.changed == (("replaced", "gateway web"),)


async def test_a_new_gateway_continues_at_the_cursors(
    running, configured, write_tokens, client_of, emit
):
    write_tokens(all=EVERYTHING)
    async with running(WEB) as app:
        stream, _ = await client_of(app).events()
        await emit(1)
        await stream.block()
        await app.reload(configured(WEB + "viewer = false\n"))
        [bye] = await stream.rest()
        await emit(2)
        again, hello = await client_of(app).events({"Last-Event-ID": stream.last_id})

        assert (bye.event, bye.data, hello.data["resumed"]) == ("bye", {"reason": "stopping"}, True)
        assert (await again.block()).n == 2
        assert (await client_of(app).get("/")).status == 404


async def test_a_reload_to_an_unusable_function_keeps_the_gateway(
    running, configured, write_tokens, client_of, emit
):
    write_tokens(all=EVERYTHING)
    async with running(WEB) as app:
        stream, _ = await client_of(app).events()
        text = WEB.replace('tokens_file = "tokens.jsonl"', 'authenticate = "no_such:function"')
        result = await app.reload(configured(text))
        await emit(1)

        assert (await stream.block()).n == 1
        assert [name for name, _ in result.failed] == ["gateway web"]


def grant_of(token, peer):
    return Grant.everything() if token == "all" and peer.transport == "sse" else None


async def test_a_function_gives_access(running, client_of):
    text = WEB.replace('tokens_file = "tokens.jsonl"', f'authenticate = "{__name__}:grant_of"')
    async with running(text) as app:
        _, hello = await client_of(app).events()
        refused = await client_of(app, "other").get("/events")

    assert (hello.event, refused.status) == ("hello", 401)


async def test_a_function_that_does_not_exist_ends_the_start(configured, running):
    text = WEB.replace('tokens_file = "tokens.jsonl"', f'authenticate = "{__name__}:nothing"')

    with pytest.raises(ConfigurationError, match=r"web +authenticate cannot be used"):
        async with running(text):
            pass


async def test_the_stop_says_bye_after_the_last_event(running, write_tokens, client_of, emit):
    write_tokens(all=EVERYTHING)
    async with running(WEB) as app:
        stream, _ = await client_of(app).events()
        await emit(1)
        app.stop()
        blocks = await stream.rest()

    assert [each.event for each in blocks] == ["message", "bye"]
    assert blocks[-1].data == {"reason": "stopping"}


async def test_one_address_has_both_servers(running, write_tokens, client_of, emit):
    write_tokens(all=EVERYTHING)
    async with running('http = { listen = "127.0.0.1:0" }\n' + WEB) as app:
        client = client_of(app)
        _, hello = await client.events()
        ready = (await (await client.get("/readyz")).body()).decode()
        metrics = (await (await client.get("/metrics")).body()).decode()
        page = await client.get("/")

        assert (hello.event, page.status) == ("hello", 200)
        assert "gateway web: running\n" in ready
        assert metrics.count('edr_gateway_clients{bus="edr",gateway="web"} 1.0') == 1


async def test_requests_before_the_gateway_is_made_are_503(
    running, write_tokens, client_of, monkeypatch
):
    write_tokens(all=EVERYTHING)
    monkeypatch.setattr("edr.app.application.Application._make_parts", lambda _: None)
    async with running('http = { listen = "127.0.0.1:0" }\n' + WEB) as app:
        answer = await client_of(app).get("/events")

    assert (answer.status, answer.headers["retry-after"]) == (503, "5")


async def test_clients_of_blackhole_have_a_path(running, write_tokens, client_of, emit):
    websockets = pytest.importorskip("websockets", reason="needs the package websockets")
    write_tokens(all=EVERYTHING)
    async with running(WEB + 'blackhole = "/"\n') as app:
        url = f"ws://127.0.0.1:{client_of(app).port}/"
        async with websockets.connect(url) as connection:
            request = {"action": "ping", "auth_token": "all", "request_id": "1", "data": {}}
            await connection.send(json.dumps(request))
            answer = json.loads(await connection.recv())
            app.stop()
            with suppress(websockets.ConnectionClosed):
                await connection.recv()

    assert answer["status"] == "success"
    assert connection.close_code == 1001
