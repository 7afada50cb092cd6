import asyncio

import orjson
import pytest

import edr
from edr.adapters.measures import Measures
from edr.journal import SqliteJournal
from edr.web import Gateway, Grant


async def test_stop_says_bye_and_ends_each_response(serve, client_of, publish):
    gateway, server = await serve()
    stream, _ = await client_of(server).events()
    publish(1)
    await gateway.stop()
    event, bye = await stream.rest()

    assert event.n == 1
    assert (bye.event, bye.data) == ("bye", {"reason": "stopping"})
    assert stream.is_complete
    assert gateway.statistics().closed == {"stopping": 1}


async def test_stopped_gateway_leaves_the_bus(serve, client_of, bus):
    gateway, server = await serve()
    await client_of(server).events()
    await gateway.stop()

    assert bus.services == ()


async def test_stopped_gateway_refuses_clients(serve, client_of):
    gateway, server = await serve()
    await gateway.start()
    await gateway.stop()
    answer = await client_of(server).get("/events")

    assert answer.status == 503
    assert (await answer.error())["code"] == "stopping"


async def test_drain_of_the_bus_ends_the_streams_after_the_last_event(serve, client_of, publish):
    bus = edr.Bus()
    _, server = await serve(on=bus)
    stream, _ = await client_of(server).events()
    publish(1, on=bus)
    await bus.drain()

    assert [block.event for block in await stream.rest()] == ["message", "bye"]


@pytest.mark.parametrize(("path", "status"), [("/x", 404), ("/events/", 200), ("/EVENTS", 404)])
async def test_path_has_a_route_or_is_not_found(serve, client_of, path, status):
    _, server = await serve()

    assert (await client_of(server).get(path)).status == status


async def test_page_needs_no_token(serve, client_of):
    _, server = await serve()
    client = client_of(server, None)
    page, script = await client.get("/"), await client.get("/viewer/main.js")

    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    assert (await client.request("POST", "/")).status == 405


async def test_gateway_without_a_viewer_has_no_page(serve, client_of):
    _, server = await serve(viewer=False)

    assert (await client_of(server).get("/")).status == 404


async def test_other_methods_are_refused(serve, client_of):
    _, server = await serve()
    answer = await client_of(server).request("DELETE", "/events")

    assert answer.status == 405
    assert answer.headers["allow"] == "GET, POST"


async def test_gateway_may_be_made_before_a_loop_runs():
    bus = await asyncio.to_thread(edr.Bus)
    gateway = await asyncio.to_thread(lambda: Gateway(bus, authenticate=lambda *_: None))
    async with gateway:
        assert gateway.statistics().clients == 0
    await bus.aclose()


@pytest.mark.parametrize("options", [{"heartbeat": 0}, {"send_timeout": "1"}, {"ring": 0}])
async def test_option_must_be_valid(bus, options):
    with pytest.raises(ValueError, match="must be"):
        Gateway(bus, authenticate=lambda *_: None, **options)


async def test_preflight_names_the_origin(serve, client_of):
    origin = "https://ops.example.net"
    _, server = await serve(origins=[origin])
    client = client_of(server, None)
    allowed = await client.request("OPTIONS", "/events", {"Origin": origin})
    refused = await client.request("OPTIONS", "/events", {"Origin": "https://evil.example"})

    assert allowed.status == 204
    assert allowed.headers["access-control-allow-origin"] == origin
    assert allowed.headers["vary"] == "Origin"
    assert refused.status == 403
    assert "access-control-allow-origin" not in refused.headers


async def test_bindings_of_the_gateway_limit_every_client(serve, client_of, publish):
    _, server = await serve(edr.Binding(app_name="shown"))
    stream, _ = await client_of(server).events()
    publish(1)
    publish(2, app_name="shown")

    assert (await stream.block()).n == 2


async def test_metrics_have_the_counts_of_the_gateway(serve, client_of, bus, publish):
    _, server = await serve()
    stream, _ = await client_of(server).events()
    publish(1)
    await stream.block()
    measured = {each.name: each.values for each in Measures(bus).read()}

    assert measured["gateway_clients"] == {("default", "web"): 1}
    assert measured["gateway_sent"] == {("default", "web"): 1}
    assert measured["gateway_closed"]["default", "web", "slow"] == 0


def test_gateway_without_a_bus_uses_the_default_bus_of_each_loop():
    gateway = Gateway(authenticate=lambda token, peer: Grant.everything())

    async def shown():
        await gateway.start()
        await edr.emit("app", "1", "ok", "info", {})
        sent = []

        async def send(message):
            sent.append(message)

        headers = [(b"host", b"localhost")]
        scope = {"type": "http", "method": "GET", "path": "/recent", "query_string": b""}
        await gateway(scope | {"scheme": "http", "headers": headers}, None, send)
        await edr.default_bus().aclose()
        return len(orjson.loads(sent[1]["body"])["events"])

    assert [asyncio.run(shown()) for _ in range(2)] == [1, 1]


async def test_closed_bus_is_a_refusal(serve, client_of):
    bus = edr.Bus()
    _, server = await serve(on=bus)
    await bus.aclose()

    assert (await client_of(server).get("/recent")).status == 503


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_client_that_leaves_during_its_request_is_not_counted(
    serve, client_of, method, caplog
):
    gateway, server = await serve(authenticate=lambda *_: asyncio.sleep(0.1, Grant.everything()))
    request = client_of(server).request(method, "/recent", {"Content-Length": "9"}, b"")
    task = asyncio.create_task(request)
    while not gateway._context.counts.total:
        await asyncio.sleep(0)
    task.cancel()
    while gateway._context.counts.total:
        await asyncio.sleep(0.01)

    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_journal_that_is_not_open_is_a_refusal(tmp_path, bus, serve, client_of):
    _, server = await serve(journal=SqliteJournal(tmp_path / "journal"))
    answer = await client_of(server).get("/events")

    assert answer.status == 503
    assert (await answer.error())["code"] == "journal_failed"
