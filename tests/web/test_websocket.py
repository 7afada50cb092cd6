"""The session of one WebSocket, over an ASGI channel in memory and with virtual time."""

import asyncio
import json
import logging
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import websockets
from hypothesis import given
from hypothesis import strategies as st
from support.memory_socket import Closed, MemorySocket
from support.session_model import SessionModel
from support.shuffled_loop import run
from support.stream_clients import turns

from edr import Binding, Bus, Event
from edr.web import Gateway, Grant, Limits
from edr.web.frames import ERRORS
from edr.web.websocket import CLOSE_CODES

OWN_PAGE = {"origin": "http://localhost"}


def grant_of(token, peer):
    """The token is the account; ``all`` is an operator."""
    if token is None:
        return None
    return Grant.everything() if token == "all" else Grant(token)


class World:
    """A bus and its gateway."""

    def __init__(self, **options):
        self.bus = Bus(node="n")
        self.gateway = Gateway(self.bus, **{"authenticate": grant_of, **options})

    def connect(self, token="all", **options):
        return MemorySocket(self.gateway, token=token, **options)

    def publish(self, *ns, severity="ok", size=0, **fields):
        for n in ns:
            self.bus.publish_nowait(
                Event(
                    app_name="app",
                    app_version="1",
                    severity=severity,
                    verbosity="info",
                    body={"n": n, "x": "x" * size},
                    **fields,
                )
            )

    @property
    def cursor(self):
        return f"{self.gateway._context.streams.id}-"


def in_world(**options):
    """Run a test with a gateway of these options, in virtual time."""

    def decorate(test):
        async def scenario():
            world = World(**options)
            try:
                await test(world)
            finally:
                await world.gateway.stop()
                await world.bus.aclose()

        def run_test():
            run(scenario, 1)

        run_test.__name__ = test.__name__
        return run_test

    return decorate


# Authentication


@in_world()
async def test_a_token_in_the_header_is_answered_by_hello(world):
    async with world.connect("reseller") as socket:
        assert await socket.next() == {"is": "hello", "edr": 1, "account": "reseller", "node": "n"}
    assert socket.texts == ['{"is":"hello","edr":1,"account":"reseller","node":"n"}']


@in_world()
async def test_a_token_in_the_first_frame_is_answered_by_hello(world):
    async with world.connect(None) as socket:
        hello = await socket.ask(do="hello", token="all")
        assert hello == {"is": "hello", "edr": 1, "account": None, "node": "n"}


@in_world()
async def test_a_cookie_of_the_own_page_is_a_token(world):
    headers = {**OWN_PAGE, "cookie": "edr=reseller"}
    async with world.connect(None, headers=headers) as socket:
        assert (await socket.next())["account"] == "reseller"


@in_world()
async def test_a_cookie_without_an_origin_is_no_token(world):
    async with world.connect(None, headers={"cookie": "edr=reseller"}) as socket:
        await turns()
        assert socket.has_nothing


@in_world()
async def test_a_request_before_hello_is_refused(world):
    async with world.connect(None) as socket:
        error = await socket.ask(do="ping", n=1)
        assert (error["is"], error["code"]) == ("error", "hello_required")
        assert (await socket.ask(do="hello", token="all"))["is"] == "hello"


@in_world()
async def test_a_client_without_hello_is_closed_after_5_s(world):
    loop = asyncio.get_running_loop()
    async with world.connect(None) as socket:
        began = loop.time()
        assert await socket.next() == Closed(4408, "no_hello")
        assert loop.time() - began == pytest.approx(5)


@in_world()
async def test_requests_before_hello_do_not_extend_its_time(world):
    loop = asyncio.get_running_loop()
    async with world.connect(None) as socket:
        began = loop.time()
        await asyncio.sleep(4)
        await socket.ask(do="ping", n=1)
        assert await socket.next() == Closed(4408, "no_hello")
        assert loop.time() - began == pytest.approx(5)


@in_world(authenticate=lambda token, peer: None)
async def test_a_wrong_token_is_closed_with_4401(world):
    async with world.connect("wrong") as socket:
        assert await socket.next() == Closed(4401, "not_authenticated")
    async with world.connect(None) as socket:
        assert await socket.ask(do="hello", token="wrong") == Closed(4401, "not_authenticated")
    assert world.gateway.statistics().refused == {"not_authenticated": 2}


def failing(token, peer):
    raise RuntimeError("secret")


@in_world(authenticate=failing)
async def test_an_authenticator_that_fails_is_closed_with_1013(world):
    async with world.connect("secret") as socket:
        assert await socket.next() == Closed(1013, "authenticator_failed")


@in_world()
async def test_a_second_hello_is_answered_and_a_second_token_refused(world):
    async with world.connect() as socket:
        hello = await socket.next()
        assert await socket.ask(do="hello") == hello
        assert (await socket.ask(do="hello", token="x"))["code"] == "already_authenticated"


# The handshake


@in_world(origins=["https://ops.example.net"])
async def test_a_foreign_origin_is_refused_in_the_handshake(world):
    for origin in ("https://evil.example", "null", "https://ops.example.net.evil.example"):
        async with world.connect(headers={"origin": origin}) as socket:
            assert socket.answer.status == 403
            assert socket.answer.body["error"]["code"] == "foreign_origin"
    async with world.connect(headers={"origin": "https://ops.example.net"}) as socket:
        assert socket.answer is None


@in_world()
async def test_a_server_without_the_extension_refuses_with_403(world):
    async with world.connect(headers={"host": "evil.example"}, can_refuse=False) as socket:
        assert socket.answer.status == 403


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"headers": {"host": "evil.example"}}, 421),
        ({"query": "token=all"}, 400),
        ({"headers": {"x-large": "x" * 40_000}}, 431),
        ({"path": "/other"}, 404),
    ],
)
def test_a_handshake_is_refused_with_a_status(options, status):
    @in_world()
    async def refused(world):
        async with world.connect(**options) as socket:
            assert socket.answer.status == status

    refused()


@in_world()
async def test_a_ticket_admits_one_connection_and_is_not_logged(world):
    context = world.gateway._running_context()
    identity = await context.access.authentication.identify("reseller", None)
    query = f"ticket={context.access.tickets.issue(identity)}"
    async with world.connect(None, query=query) as socket:
        assert (await socket.next())["account"] == "reseller"
        assert socket.scope["query_string"] == b""  # a server logs it at the handshake
    async with world.connect(None, query=query) as socket:
        assert await socket.next() == Closed(4401, "not_authenticated")


@in_world(limits=Limits(per_address=1))
async def test_a_client_above_a_limit_is_closed_with_1013(world):
    async with world.connect() as first:
        await first.next()
        async with world.connect() as socket:
            assert await socket.next() == Closed(1013, "too_many_clients")
        async with world.connect(address="127.0.0.2") as socket:
            assert (await socket.next())["is"] == "hello"
    async with world.connect() as socket:
        assert (await socket.next())["is"] == "hello"


@in_world(limits=Limits(per_account=1))
async def test_an_account_above_its_limit_is_closed_with_1013(world):
    async with world.connect("a") as first, world.connect("a") as second, world.connect("b"):
        assert (await first.next())["is"] == "hello"
        assert await second.next() == Closed(1013, "too_many_clients")


@in_world()
async def test_a_gateway_that_has_stopped_refuses_with_503(world):
    await world.gateway.stop()
    async with world.connect() as socket:
        assert socket.answer.status == 503


@in_world()
async def test_a_gateway_of_a_closed_bus_refuses_with_503(world):
    await world.bus.aclose()
    async with world.connect() as socket:
        assert socket.answer.status == 503


# Subscriptions


@asynccontextmanager
async def subscribed(world, *ids, token="all", **fields):
    """Connect, and subscribe with these ids."""
    async with world.connect(token) as socket:
        await socket.next()
        for name in ids:
            assert (await socket.ask(do="subscribe", id=name, **fields))["is"] == "subscribed"
        yield socket


@in_world()
async def test_subscribed_has_the_cursor(world):
    world.publish(1, 2)
    async with world.connect() as socket:
        await socket.next()
        answer = await socket.ask(do="subscribe", id="a", bindings=[{"severity": "warning"}])
        assert answer == {"is": "subscribed", "id": "a", "cursor": world.cursor + "2"}


@in_world()
async def test_events_have_all_ids_and_their_cursor(world):
    async with subscribed(world, "a", "b") as socket:
        world.publish(1, 2)
        frame = await socket.next()
        assert [(each["to"], each["cursor"]) for each in frame["events"]] == [
            (["a", "b"], world.cursor + "1"),
            (["a", "b"], world.cursor + "2"),
        ]


@in_world()
async def test_an_answer_is_before_the_events_that_come_from_it(world):
    world.publish(1, 2, 3)
    async with world.connect() as socket:
        await socket.next()
        assert (await socket.ask(do="subscribe", id="a", last=2))["is"] == "subscribed"
        assert await socket.next_events() == ["2:a", "3:a"]


@in_world()
async def test_a_client_continues_after_its_cursor(world):
    world.publish(1, 2, 3)
    async with subscribed(world, "a", after=world.cursor + "1") as socket:
        assert await socket.next_events() == ["2:a", "3:a"]


@in_world()
async def test_an_unknown_cursor_is_reported_as_restarted(world):
    world.publish(1)
    async with subscribed(world, "a", after="other-7") as socket:
        gap = await socket.next()
        assert gap == {
            "is": "gap",
            "to": ["a"],
            "reason": "restarted",
            "missed": None,
            "cursor": world.cursor + "0",
        }
        assert await socket.next_events() == ["1:a"]


@in_world()
async def test_no_event_of_a_subscription_follows_unsubscribed(world):
    async with subscribed(world, "a", "b") as socket:
        world.publish(1)
        await socket.next_events()
        socket.send(do="unsubscribe", id="a")
        world.publish(2)
        assert await socket.next() == {"is": "unsubscribed", "id": "a"}
        assert await socket.next_events() == ["2:b"]


@in_world()
async def test_rebind_continues_from_the_cursor(world):
    async with subscribed(world, "a", bindings=[{"severity": "warning"}]) as socket:
        world.publish(1, severity="warning")
        assert await socket.next_events() == ["1:a"]
        answer = await socket.ask(do="rebind", id="a", bindings=[{}])
        assert answer == {"is": "subscribed", "id": "a", "cursor": world.cursor + "1"}
        world.publish(2)
        assert await socket.next_events() == ["2:a"]


@in_world(limits=Limits(subscriptions=2))
async def test_a_fault_is_answered_and_the_connection_continues(world):
    async with subscribed(world, "a") as socket:
        for code, path, frame in [
            ("unknown_request", "do", {"do": "publish"}),
            ("invalid_request", "id", {"do": "subscribe", "id": 7}),
            ("duplicate_id", "id", {"do": "subscribe", "id": "a"}),
            ("unknown_id", "id", {"do": "unsubscribe", "id": "b"}),
            ("unknown_id", "id", {"do": "rebind", "id": "b"}),
            (
                "invalid_binding",
                "bindings[0].severity",
                {"do": "subscribe", "id": "b", "bindings": [{"severity": "x"}]},
            ),
        ]:
            error = await socket.ask(**frame)
            assert (error["is"], error["code"], error["path"]) == ("error", code, path)
        await socket.ask(do="subscribe", id="b")
        assert (await socket.ask(do="subscribe", id="c"))["code"] == "too_many_subscriptions"
        assert await socket.ask(do="ping", n=1) == {"is": "pong", "n": 1}


@in_world()
async def test_requests_are_answered_in_order(world):
    async with world.connect() as socket:
        await socket.next()
        socket.send(
            {"do": "ping", "n": 1},
            {"do": "subscribe", "id": "a"},
            {"do": "nonsense"},
            {"do": "unsubscribe", "id": "a"},
            b'{"do":"ping","n":2}',
        )
        kinds = [(await socket.next())["is"] for _ in range(5)]
        assert kinds == ["pong", "subscribed", "error", "unsubscribed", "pong"]


@in_world()
async def test_a_tenant_receives_only_its_events(world):
    async with subscribed(world, "a", token="branch") as socket:
        world.publish(1)
        world.publish(2, account_id="other", account_tree=["root"])
        world.publish(3, account_id="branch", account_tree=["root", "reseller"])
        event = (await socket.next())["events"][0]["event"]
        assert event["body"]["n"] == 3
        assert event.get("account_tree", []) == []
        assert "reseller" not in socket.texts[-1]


@in_world(limits=Limits(batch=2000))
async def test_a_frame_has_at_most_batch_bytes(world):
    async with subscribed(world, "a", "b") as socket:
        world.publish(*range(100))
        found = []
        while len(found) < 100:
            found += await socket.next_events()
        assert found == [f"{n}:a+b" for n in range(100)]
        assert max(map(len, socket.texts)) <= 2000
        assert len(socket.texts) < 50


@in_world(limits=Limits(batch=2000))
async def test_a_larger_event_is_alone_in_its_frame(world):
    async with subscribed(world, "a") as socket:
        world.publish(1)
        world.publish(2, size=5000)
        world.publish(3)
        frames = [await socket.next_events() for _ in range(3)]
        assert frames == [["1:a"], ["2:a"], ["3:a"]]


# Explain


@in_world()
async def test_explain_lists_every_receiver_for_an_operator(world):
    mailer = world.bus.subscribe(Binding(app_name="other"), name="mailer")
    world.publish(1)
    async with subscribed(world, "a", bindings=[{"severity": "warning"}]) as socket:
        answer = await socket.ask(do="explain", id="q", cursor=world.cursor + "1")
        assert (answer["is"], answer["id"], answer["cursor"]) == (
            "explained",
            "q",
            world.cursor + "1",
        )
        own, other, _gateway = answer["results"]
        assert (own["kind"], own["name"], own["matches"]) == ("client", "a", False)
        assert other["name"] == mailer.name
        assert other["mismatches"][0]["path"] == "app_name"


@in_world()
async def test_explain_shows_a_tenant_its_own_subscriptions(world):
    rival = world.bus.subscribe(Binding(account_id="rival"), name="rival")
    world.publish(1, account_id="a")
    world.publish(2, account_id="rival")
    async with subscribed(world, "s", token="a") as socket:
        answer = await socket.ask(do="explain", id="q", cursor=world.cursor + "1")
        assert [each["name"] for each in answer["results"]] == ["s"] != [rival.name]
        error = await socket.ask(do="explain", id="q", cursor=world.cursor + "2")
        unknown = await socket.ask(do="explain", id="q", cursor=world.cursor + "9")
        assert error == unknown
        assert error["code"] == "not_found"


# Heartbeats


@in_world()
async def test_a_heartbeat_has_the_newest_cursor_of_all(world):
    async with subscribed(world, "a", "b", bindings=[{"severity": "warning"}]) as socket:
        world.publish(1, 2, 3)
        assert await socket.next() == {"is": "at", "to": ["a", "b"], "cursor": world.cursor + "3"}


@in_world()
async def test_a_rare_subscription_next_to_a_busy_one_has_heartbeats(world):
    async with subscribed(world, "rare", bindings=[{"severity": "warning"}]) as socket:
        await socket.ask(do="subscribe", id="busy")
        for n in range(40):
            world.publish(n)
            frame = await socket.next()
            if frame["is"] == "at":
                break
            await asyncio.sleep(1)
        assert "rare" in frame["to"]
        assert 14 <= n <= 20


@in_world()
async def test_a_connection_without_subscriptions_has_no_heartbeat(world):
    async with world.connect() as socket:
        await socket.next()
        await asyncio.sleep(100)
        assert socket.has_nothing


# The end


@in_world()
async def test_a_stop_says_bye_and_closes_with_1001(world):
    async with subscribed(world, "a") as socket:
        world.publish(1)
        await world.gateway.stop()
        assert await socket.next_events() == ["1:a"]
        assert await socket.next() == {"is": "bye", "reason": "stopping"}
        assert await socket.next() == Closed(1001, "stopping")
    assert world.gateway.statistics().closed == {"stopping": 1}


@in_world()
async def test_the_end_of_the_bus_says_bye_after_the_last_event(world):
    async with subscribed(world, "a") as socket:
        world.publish(1)
        await world.bus.aclose()
        assert await socket.next_events() == ["1:a"]
        assert await socket.next() == {"is": "bye", "reason": "stopping"}
        assert await socket.next() == Closed(1001, "stopping")


@in_world()
async def test_a_stop_ends_a_client_that_does_not_read(world):
    loop = asyncio.get_running_loop()
    async with subscribed(world, "a") as socket:
        socket.room.clear()
        world.publish(1)
        await turns()
        began = loop.time()
        await world.gateway.stop()
        assert loop.time() - began <= 1
        assert socket.task.done()


async def test_a_grant_that_ends_closes_with_4403():
    grants = [Grant("a"), None]

    async def scenario():
        world = World(authenticate=lambda token, peer: grants.pop(0))
        async with world.connect() as socket:
            await socket.next()
            assert await socket.next() == {"is": "bye", "reason": "grant"}
            assert await socket.next() == Closed(4403, "grant")
        await world.bus.aclose()

    await asyncio.to_thread(run, scenario, 1)


@pytest.mark.parametrize(
    ("frames", "closed"),
    [
        (["no JSON"], Closed(1008, "not_json")),
        (["[]"], Closed(1008, "not_json")),
        ([b"\xff"], Closed(1008, "not_json")),
        (['{"do":"ping","n":1}'] * 41, Closed(1008, "too_many_frames")),
        (['"' + "x" * 65_536 + '"'], Closed(1009, "too_large")),
        (['"' + "ü" * 32_768 + '"'], Closed(1009, "too_large")),
    ],
)
@pytest.mark.parametrize("token", ["all", None], ids=["session", "before-hello"])
def test_a_fault_of_the_protocol_closes(frames, closed, token):
    @in_world()
    async def closes(world):
        async with world.connect(token) as socket:
            socket.send(*frames)
            while isinstance(found := await socket.next(), dict):
                pass
            assert found == closed

    closes()


@in_world()
async def test_20_frames_per_second_are_allowed(world):
    async with world.connect() as socket:
        await socket.next()
        for _ in range(10):
            for n in range(20):
                assert await socket.ask(do="ping", n=n) == {"is": "pong", "n": n}
            await asyncio.sleep(1.001)


@in_world(send_timeout=10.0)
async def test_a_client_that_does_not_read_is_given_up(world):
    loop = asyncio.get_running_loop()
    async with subscribed(world, "a") as socket:
        socket.room.clear()
        world.publish(1)
        began = loop.time()
        while not world.gateway.statistics().closed and loop.time() - began < 13:
            await asyncio.sleep(0.1)
        assert world.gateway.statistics().closed == {"slow": 1}
        assert loop.time() - began > 9
        socket.room.set()
        assert await socket.next() == Closed(1013, "slow")


@in_world()
async def test_a_heartbeat_has_a_time_limit(world):
    async with subscribed(world, "a", bindings=[{"severity": "warning"}]) as socket:
        socket.room.clear()
        await asyncio.sleep(30)
        assert world.gateway.statistics().closed == {"slow": 1}
        socket.room.set()


@in_world(ring=10, history=False)
async def test_a_client_that_does_not_read_is_told_what_it_missed(world):
    async with subscribed(world, "a") as socket:
        socket.room.clear()
        world.publish(1)
        await asyncio.sleep(1)
        world.publish(*range(2, 100))
        socket.room.set()
        assert await socket.next_events() == ["1:a"]
        assert (await socket.next())["missed"] == 88
        assert await socket.next_events() == [f"{n}:a" for n in range(90, 100)]


@in_world()
async def test_a_client_that_does_not_read_is_not_read(world):
    """Its answers would be stored without a limit."""
    async with world.connect() as socket:
        await socket.next()
        socket.room.clear()
        for n in range(8):
            socket.send(*[{"do": "ping", "n": n}] * 19)
            await asyncio.sleep(1)
        assert socket._incoming.qsize() > 100
        socket.room.set()
        assert [(await socket.next())["n"] for n in range(30)] == [n // 19 for n in range(30)]


@in_world()
async def test_a_client_that_leaves_is_removed(world):
    async with subscribed(world, "a", "b") as socket:
        assert world.gateway.statistics().clients == 1
        socket.leave()
        await asyncio.wait([socket.task])
        assert world.gateway.statistics().clients == 0
        assert world.gateway._context.streams.statistics().places == 0
    assert world.gateway.statistics().closed == {"left": 1}


@in_world()
async def test_a_fault_of_the_session_closes_with_1011(world):
    with pytest.raises(AttributeError):  # the server logs it
        async with subscribed(world, "a") as socket:
            (client,) = world.gateway._context.clients
            client.identity.grant = None
            socket.send(do="hello")
            assert await socket.next() == Closed(1011, "failed")
    assert world.gateway.statistics().closed == {"failed": 1}


texts = st.text(max_size=20) | st.binary(max_size=20)
ids = st.sampled_from(["a", "b", "c", 1, ""])
fields = st.fixed_dictionaries(
    {"do": st.sampled_from(["subscribe", "rebind", "unsubscribe", "explain", "ping", "x"])},
    optional={
        "id": ids,
        "bindings": st.sampled_from([[{}], [{"severity": "x"}], [{"app_name": "app"}], 7]),
        "after": st.sampled_from(["x", "0-0", "9" * 3000, 1]),
        "last": st.sampled_from([0, 3, -1]),
        "cursor": st.sampled_from(["x", "0-0"]),
        "n": st.integers() | st.none(),
    },
)
ANSWERS = {"error", "subscribed", "unsubscribed", "pong", "explained"}


@given(frames=st.lists(fields | texts, min_size=1, max_size=12))
def test_each_frame_is_answered_or_closes(frames):
    @in_world()
    async def is_answered(world):
        world.publish(1, 2, 3)
        async with world.connect() as socket:
            await socket.next()
            for frame in frames:
                socket.send(frame)
                while (answer := await socket.next()) not in CLOSED:
                    if answer["is"] in ANSWERS:
                        assert answer.get("do", frame["do"]) == frame["do"]
                        break
                else:
                    assert not isinstance(frame, dict)
                    return

    is_answered()


CLOSED = (Closed(1008, "not_json"),)


def test_received_and_missed_are_all_matches():
    """Of a client that subscribes, rebinds and reconnects at random, and reads slowly."""
    run_sessions(range(2), 10, history=False, steps=120)


@pytest.mark.slow
@pytest.mark.parametrize("history", [True, False], ids=["history", "no-history"])
@pytest.mark.parametrize("size", [3, 10, 400])
def test_received_and_missed_are_all_matches_often(size, history):
    run_sessions(range(2, 10), size, history=history, steps=200)


def run_sessions(seeds, size, *, history, steps):
    shared = 0
    for seed in seeds:

        async def scenario(seed=seed):
            nonlocal shared
            model = SessionModel(seed, size=size, history=history)
            await model.run(steps)
            shared += model.shared

        run(scenario, seed)
    assert shared > 5


def test_the_manual_has_each_close_code_and_each_error():
    manual = Path(__file__).parents[2] / "docs" / "web.md"
    text = manual.read_text(encoding="utf-8").partition("## WebSocket")[2].partition("\n## ")[0]
    rows = [line.split("|")[1:3] for line in text.splitlines() if line.startswith("|")]
    for reason, code in CLOSE_CODES.items():
        assert any(f"`{reason}`" in means and str(code) in first for first, means in rows), reason
    for error in ERRORS:
        assert any(f"`{error}`" in first for first, _ in rows), error


# On a server


@pytest.fixture
async def server(serve):
    _, server = await serve(origins=["https://ops.example.net"])
    return server


def connect(server, token="all", **options):
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    url = server.url.replace("http", "ws", 1) + "/ws"
    return websockets.connect(url, additional_headers=headers, proxy=None, **options)


async def received(client):
    async with asyncio.timeout(20):
        return json.loads(await client.recv())


async def asked(client, **request):
    await client.send(json.dumps(request))
    return await received(client)


async def closed(client):
    """Read until the connection is closed; return the code and the reason."""
    async with asyncio.timeout(20):
        with suppress(websockets.ConnectionClosed):
            while True:
                await client.recv()
    return client.close_code, client.close_reason


@pytest.mark.slow
async def test_a_client_of_a_server_receives_events_and_returns(server, publish):
    async with connect(server) as client:
        assert (await received(client))["is"] == "hello"
        await asked(client, do="subscribe", id="a")
        publish(1, 2)
        frame = await received(client)
        cursor = frame["events"][0]["cursor"]
    publish(3)
    async with connect(server, None) as client:
        await asked(client, do="hello", token="all")
        await asked(client, do="subscribe", id="a", after=cursor)
        frame = await received(client)
        assert [each["event"]["body"]["n"] for each in frame["events"]] == [2, 3]


@pytest.mark.slow
@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
async def test_a_foreign_origin_is_refused_by_a_server(server, origin):
    with pytest.raises(websockets.InvalidStatus) as caught:
        await connect(server, origin=origin)
    assert caught.value.response.status_code == 403
    assert json.loads(caught.value.response.body)["error"]["code"] == "foreign_origin"


@pytest.mark.slow
async def test_a_page_of_the_own_site_is_served_with_its_cookie(server):
    async with websockets.connect(
        server.url.replace("http", "ws", 1) + "/ws",
        origin=server.url,
        additional_headers={"Cookie": "edr=reseller"},
        proxy=None,
    ) as client:
        assert (await received(client))["account"] == "reseller"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (["no JSON"], 1008),
        (['{"do":"ping","n":1}'] * 60, 1008),
        (["x" * 70_000], 1009),
    ],
)
async def test_a_server_closes_with_the_code(server, frames, code):
    async with connect(server) as client:
        await received(client)
        for frame in frames:
            await client.send(frame)
        assert (await closed(client))[0] == code


@pytest.mark.slow
async def test_a_server_closes_a_wrong_token_with_4401(serve):
    _, server = await serve(authenticate=lambda token, peer: None)
    async with connect(server) as client:
        assert await closed(client) == (4401, "not_authenticated")


@pytest.mark.slow
async def test_a_stop_of_a_server_says_bye(serve):
    gateway, server = await serve()
    async with connect(server) as client:
        await received(client)
        async with asyncio.timeout(2):
            await gateway.stop()
        assert await received(client) == {"is": "bye", "reason": "stopping"}
        assert await closed(client) == (1001, "stopping")


@pytest.mark.slow
async def test_a_client_that_reads_loses_nothing_next_to_a_stuck_one(serve, stack, publish):
    gateway, server = await serve(send_timeout=1.0, ring=1000)
    stuck = await connect(server)
    stack.callback(stuck.transport.abort)  # a close would wait for its answer
    async with connect(server) as client:
        for each in (client, stuck):
            await received(each)
            await asked(each, do="subscribe", id="a")
        stuck.transport.pause_reading()
        numbers, sent = [], 0
        while not gateway.statistics().closed or len(numbers) < sent:
            if not gateway.statistics().closed:
                publish(*range(sent, sent + 500), account_id="a", account_tree=["x" * 900])
                sent += 500
            while len(numbers) < sent:
                frame = await received(client)
                assert frame["is"] == "events"
                numbers += [each["event"]["body"]["n"] for each in frame["events"]]
        assert numbers == list(range(sent))
        assert gateway.statistics().closed == {"slow": 1}


@pytest.mark.slow
async def test_a_ticket_is_in_no_log(serve, client_of, caplog):
    caplog.set_level(logging.DEBUG)
    gateway, server = await serve()
    context = gateway._running_context()
    identity = await context.access.authentication.identify("all", None)
    ticket = context.access.tickets.issue(identity)
    url = server.url.replace("http", "ws", 1) + f"/ws?ticket={ticket}"
    async with websockets.connect(url, proxy=None) as client:
        await received(client)
    logged = [each.getMessage() for each in caplog.records if each.name != "websockets.client"]
    assert [each for each in logged if '"WebSocket /ws" [accepted]' in each]
    assert ticket not in "".join(logged)
