"""A bus for the lifetime of an ASGI application, and a context for each request."""

import asyncio
import re
import signal
import warnings
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

import edr
from edr.adapters.asgi import ContextMiddleware, lifespan, method_and_path
from edr.journal import SqliteJournal

httpx = pytest.importorskip("httpx")
starlette = pytest.importorskip("starlette")

from starlette.applications import Starlette  # noqa: E402
from starlette.background import BackgroundTask  # noqa: E402
from starlette.middleware import Middleware  # noqa: E402
from starlette.responses import PlainTextResponse, StreamingResponse  # noqa: E402
from starlette.routing import Route, WebSocketRoute  # noqa: E402

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it prefers a successor of httpx
    from starlette.testclient import TestClient

HEX = r"[0-9a-f]{32}"


def account_of(scope):
    return dict(scope["headers"]).get(b"x-account", b"").decode() or None


async def emit(bus, **body):
    await bus.emit("shop", "1.0", "ok", "info", body)


def served(*routes, **options):
    """Make a Starlette application with the middleware."""
    options = {"account": account_of} | options
    return Starlette(routes=routes, middleware=[Middleware(ContextMiddleware, **options)])


async def get(app, path="/", **headers):
    """Send a GET request; ``x_account`` is the header ``x-account``."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.get(path, headers=named)


def endpoint(bus):
    async def order(request):
        await emit(bus, order=1)
        return PlainTextResponse("done")

    return order


# Requests


async def test_an_event_has_the_account_and_the_request_id(bus):
    events = bus.subscribe()
    response = await get(served(Route("/", endpoint(bus))), x_account="acme", x_request_id="r-1")
    event = await anext(events)

    assert (event.account_id, event.body) == ("acme", {"request_id": "r-1", "order": 1})
    assert response.headers.get_list("x-request-id") == ["r-1"]


@pytest.mark.parametrize("unsafe", ["", "a b", "<b>", 'a"b', "x" * 129, "é".encode()])
async def test_an_unsafe_request_id_is_replaced(bus, unsafe):
    events = bus.subscribe()
    response = await get(served(Route("/", endpoint(bus))), x_request_id=unsafe)
    event = await anext(events)

    assert re.fullmatch(HEX, event.body["request_id"])
    assert response.headers["x-request-id"] == event.body["request_id"]


async def test_each_request_without_an_id_gets_a_new_one(bus):
    app = served(Route("/", endpoint(bus)))
    ids = {(await get(app)).headers["x-request-id"] for _ in range(3)}

    assert len(ids) == 3
    assert all(re.fullmatch(HEX, each) for each in ids)


async def test_the_header_of_the_request_id_can_be_another(bus):
    app = served(Route("/", endpoint(bus)), header="X-Trace")
    response = await get(app, x_trace="t1", x_request_id="r1")

    assert response.headers["x-trace"] == "t1"
    assert "x-request-id" not in response.headers


def test_the_name_of_the_header_is_checked():
    with pytest.raises(ValueError, match=r"header must be the name of a header, got 'a b'"):
        ContextMiddleware(None, header="a b")


async def test_a_request_id_that_the_application_sets_stays(bus):
    async def own(request):
        return PlainTextResponse("done", headers={"X-Request-ID": "own"})

    response = await get(served(Route("/", own)), x_request_id="r1")

    assert response.headers.get_list("x-request-id") == ["own"]


async def test_the_account_function_may_be_async(bus):
    async def account(scope):
        await asyncio.sleep(0)
        return "acme"

    events = bus.subscribe()
    await get(served(Route("/", endpoint(bus)), account=account))

    assert (await anext(events)).account_id == "acme"


async def test_a_request_without_an_account_has_none(bus):
    events = bus.subscribe()
    await get(served(Route("/", endpoint(bus))))
    await get(served(Route("/", endpoint(bus)), account=None))

    assert [(await anext(events)).account_id for _ in range(2)] == [None, None]


async def test_further_fields_are_in_each_body(bus):
    events = bus.subscribe()
    app = served(Route("/orders", endpoint(bus)), fields=method_and_path)
    await get(app, "/orders", x_request_id="r1")

    wanted = {"request_id": "r1", "method": "GET", "path": "/orders", "order": 1}
    assert (await anext(events)).body == wanted


async def test_an_exception_of_the_handler_passes_through(bus):
    async def fail(request):
        raise LookupError("no such order")

    with pytest.raises(LookupError, match="no such order"):
        await get(served(Route("/", fail)), x_account="acme")

    assert edr.current_context() == (None, {})


async def test_an_exception_of_the_account_function_passes_through(bus):
    def refuse(scope):
        raise PermissionError("who?")

    with pytest.raises(PermissionError, match=r"who\?"):
        await get(served(Route("/", endpoint(bus)), account=refuse))


# What a request starts


async def test_tasks_threads_and_background_tasks_have_the_context(bus):
    async def order(request):
        task = asyncio.create_task(emit(bus, by="task"))
        await asyncio.to_thread(bus.emit_nowait, "shop", "1.0", "ok", "info", {"by": "thread"})
        await task
        return PlainTextResponse("done", background=BackgroundTask(emit, bus, by="background"))

    events = bus.subscribe()
    await get(served(Route("/", order)), x_account="acme", x_request_id="r1")
    seen = [await anext(events) for _ in range(3)]

    assert {event.body["by"] for event in seen} == {"task", "thread", "background"}
    assert {(each.account_id, each.body["request_id"]) for each in seen} == {("acme", "r1")}


async def test_the_generator_of_a_stream_has_the_context(bus):
    async def lines():
        for n in range(2):
            await emit(bus, line=n)
            yield f"{n}\n"

    async def stream(request):
        return StreamingResponse(lines())

    events = bus.subscribe()
    response = await get(served(Route("/", stream)), x_request_id="r1")

    assert response.text == "0\n1\n"
    assert response.headers["x-request-id"] == "r1"
    assert [(await anext(events)).body["request_id"] for _ in range(2)] == ["r1", "r1"]


def test_a_websocket_has_the_context_and_the_id(edr_bus):
    async def talk(websocket):
        await websocket.accept()
        async for text in websocket.iter_text():
            await edr.emit("shop", "1.0", "ok", "info", {"text": text})
            await websocket.send_text(text)

    app = served(WebSocketRoute("/", talk))
    headers = {"x-account": "acme", "x-request-id": "r1"}
    with TestClient(app) as client, client.websocket_connect("/", headers=headers) as websocket:
        websocket.send_text("hello")
        assert websocket.receive_text() == "hello"
        assert (b"x-request-id", b"r1") in websocket.extra_headers

    edr_bus.assert_emitted(account_id="acme", body={"request_id": ["r1"], "text": ["hello"]})


async def test_other_scopes_are_passed_on_unchanged():
    calls = []

    async def app(*args):
        calls.append(args)

    scope, receive, send = {"type": "lifespan"}, object(), object()
    await ContextMiddleware(app)(scope, receive, send)

    assert calls == [(scope, receive, send)]


REQUESTS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 4)), min_size=1, max_size=8)


@given(REQUESTS)
def test_concurrent_requests_keep_their_own_fields(requests):
    async def main():
        async with edr.Bus() as bus:
            events = bus.subscribe()

            async def app(scope, receive, send):
                number = scope["number"]
                for _ in range(requests[number][1]):
                    await asyncio.sleep(0)
                    await emit(bus, number=number)
                await asyncio.create_task(emit(bus, number=number))

            def headers(number):
                account = requests[number][0].encode()
                return [(b"x-account", account), (b"x-request-id", b"r%d" % number)]

            serve = ContextMiddleware(app, account=account_of)
            scopes = [
                {"type": "http", "number": n, "headers": headers(n)} for n in range(len(requests))
            ]
            await asyncio.gather(*[serve(scope, None, None) for scope in scopes])
            assert edr.current_context() == (None, {})
            return events.take(1000)

    events = asyncio.run(main())
    assert len(events) == sum(count + 1 for _, count in requests)
    for event in events:
        number = event.body["number"]
        assert event.body["request_id"] == f"r{number}"
        assert event.account_id == requests[number][0]


# The lifespan


@asynccontextmanager
async def running(made):
    """Enter a lifespan as a framework does."""
    async with made(object()) as state:
        yield state


async def test_the_lifespan_drains_the_bus_at_its_end():
    seen = []

    async with running(lifespan()):
        bus = edr.default_bus()
        bus.on(app_name="shop")(lambda event: seen.append(event.body["n"]))
        for n in range(100):
            await emit(bus, n=n)

    assert seen == list(range(100))
    assert bus.closed


async def test_the_lifespan_can_run_again_in_the_same_loop():
    for _ in range(2):
        async with running(lifespan()):
            assert await edr.emit("shop", "1.0", "ok", "info", {}) == 0


async def test_the_lifespan_of_the_application_is_inside():
    log = []

    @asynccontextmanager
    async def own(app):
        log.append("begin")
        yield {"database": "db"}
        await edr.emit("shop", "1.0", "ok", "info", {})

    async with running(lifespan(own)) as state:
        edr.default_bus().on(app_name="shop")(lambda event: log.append("event"))
        assert state == {"database": "db"}

    assert log == ["begin", "event"]


async def test_the_lifespan_opens_and_closes_its_journal(tmp_path):
    made = lifespan(journal=lambda: SqliteJournal(tmp_path / "events.journal"))
    for _ in range(2):
        async with running(made):
            await edr.emit("shop", "1.0", "ok", "info", {}, durable=True)

    async with SqliteJournal(tmp_path / "events.journal") as journal:
        assert len([entry async for entry in journal.cursor(after=0, live=False)]) == 2


async def test_a_journal_in_use_stops_the_start(tmp_path):
    async with SqliteJournal(tmp_path / "events.journal") as journal:
        await journal.open()
        with pytest.raises(edr.journal.JournalInUseError):
            async with running(lifespan(journal=lambda: SqliteJournal(journal.path))):
                pytest.fail("it started")

    assert edr.default_bus().closed


class Recorded:
    """A service that records its life cycle."""

    def __init__(self, bus, log):
        self.bus = bus
        self.log = log

    async def start(self):
        self.bus.add_service(self, "recorded")
        self.log.append("start")

    async def drain(self, timeout=None):
        self.log.append("drain")
        return 0

    async def aclose(self):
        self.log.append("aclose")

    def statistics(self):
        return None


async def test_services_start_in_order_and_end_after_the_drain():
    log = []

    async def second(bus):
        log.append("second")

    services = [lambda bus: Recorded(bus, log), second]
    async with running(lifespan(services=services)):
        edr.default_bus().on(app_name="shop")(lambda event: log.append("event"))
        await edr.emit("shop", "1.0", "ok", "info", {})

    assert log == ["start", "second", "event", "drain", "aclose"]


async def test_expose_is_a_service_of_the_lifespan(tmp_path, monkeypatch):
    if not hasattr(asyncio, "open_unix_connection"):
        pytest.skip("needs Unix sockets")
    monkeypatch.setenv("EDR_RUNTIME_DIR", str(tmp_path))
    async with running(lifespan(services=[edr.control.expose])):
        assert list(tmp_path.glob("*.sock"))

    assert not list(tmp_path.glob("*.sock"))


async def test_a_service_that_fails_stops_the_start():
    async def fail(bus):
        raise OSError("no broker")

    with pytest.raises(OSError, match="no broker"):
        async with running(lifespan(services=[fail])):
            pytest.fail("it started")

    assert edr.default_bus().closed


async def test_an_error_of_the_application_drains_and_is_raised():
    seen = []

    @asynccontextmanager
    async def own(app):
        yield
        raise OSError("no disk")

    with pytest.raises(OSError, match="no disk"):
        async with running(lifespan(own)):
            edr.default_bus().on(app_name="shop")(lambda event: seen.append(event))
            await edr.emit("shop", "1.0", "ok", "info", {})

    assert len(seen) == 1


async def test_a_cancelled_lifespan_closes_the_bus():
    entered = asyncio.Event()

    async def serve():
        async with running(lifespan()):
            edr.default_bus().bind(edr.Binding(), lambda event: asyncio.Event().wait())
            await edr.emit("shop", "1.0", "ok", "info", {})
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(serve())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 5)

    assert edr.default_bus().closed


async def test_the_drain_ends_at_its_timeout(caplog):
    async with running(lifespan(drain_timeout=0.01)):
        edr.default_bus().bind(edr.Binding(), lambda event: asyncio.Event().wait(), name="hangs")
        await edr.emit("shop", "1.0", "ok", "info", {})

    assert edr.default_bus().closed
    assert "'hangs' 1" in caplog.text


async def test_the_lifespan_runs_a_given_bus(bus):
    async with running(lifespan(bus=bus, services=[lambda served: Recorded(served, [])])):
        assert len(bus.services) == 1

    assert bus.closed


def test_a_given_bus_has_a_journal_of_its_own():
    with pytest.raises(ValueError, match="journal must be that of the given bus"):
        lifespan(bus=edr.Bus(), journal=lambda: None)


async def test_the_lifespan_restores_the_signal_handlers():
    before = signal.getsignal(signal.SIGINT)
    async with running(lifespan(before_exit=print)):
        assert signal.getsignal(signal.SIGINT) != before

    assert signal.getsignal(signal.SIGINT) == before


# Frameworks


async def order():
    await edr.emit("shop", "1.0", "ok", "info", {"order": 1})
    return "done"


def fastapi_app():
    fastapi = pytest.importorskip("fastapi")
    app = fastapi.FastAPI(lifespan=lifespan())
    app.add_middleware(ContextMiddleware, account=account_of)
    app.get("/")(order)
    return app


def starlette_app():
    async def respond(request):
        return PlainTextResponse(await order())

    middleware = [Middleware(ContextMiddleware, account=account_of)]
    return Starlette(routes=[Route("/", respond)], lifespan=lifespan(), middleware=middleware)


def litestar_app():
    litestar = pytest.importorskip("litestar")

    @litestar.get("/")
    async def respond() -> str:
        return await order()

    middleware = [litestar.middleware.DefineMiddleware(ContextMiddleware, account=account_of)]
    return litestar.Litestar(
        [respond],
        lifespan=[lifespan()],
        middleware=middleware,
        logging_config=None,  # it would change the loggers of all tests
    )


@pytest.mark.parametrize("make", [fastapi_app, starlette_app, litestar_app])
def test_a_framework_runs_lifespan_and_middleware(make, edr_bus):
    app = make()
    for _ in range(2):
        with TestClient(app) as client:
            response = client.get("/", headers={"x-account": "acme", "x-request-id": "r1"})
            assert response.status_code == 200
            assert response.headers["x-request-id"] == "r1"

    wanted = {"request_id": ["r1"], "order": [1]}
    edr_bus.assert_emitted(account_id="acme", body=wanted, times=2)


def test_a_dependency_of_fastapi_can_set_the_account(edr_bus):
    fastapi = pytest.importorskip("fastapi")
    app = fastapi.FastAPI(lifespan=lifespan())
    app.add_middleware(ContextMiddleware)

    async def authenticated(x_account: str = fastapi.Header()):
        with edr.context(x_account):
            yield

    app.get("/", dependencies=[fastapi.Depends(authenticated)])(order)
    with TestClient(app) as client:
        client.get("/", headers={"x-account": "acme", "x-request-id": "r1"})

    edr_bus.assert_emitted(account_id="acme", body={"request_id": ["r1"]})
