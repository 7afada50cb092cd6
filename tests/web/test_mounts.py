"""The gateway in the applications of three frameworks, on a real server."""

import pytest
from starlette.applications import Starlette
from support.web_grants import grant_of

from edr.web import Gateway, Server


def fastapi_app(gateway):
    app = pytest.importorskip("fastapi").FastAPI()
    app.mount("/edr", gateway)
    return app


def starlette_app(gateway):
    app = Starlette()
    app.mount("/edr", gateway)
    return app


def litestar_app(gateway):
    litestar = pytest.importorskip("litestar")
    handler = litestar.asgi("/edr", is_mount=True, copy_scope=False)(gateway)
    # Its own configuration of logging would replace the level and the handlers of the root logger.
    return litestar.Litestar([handler], logging_config=None)


@pytest.fixture(params=[fastapi_app, starlette_app, litestar_app])
def mounted(request, bus, stack):
    """Serve an application with a gateway at ``/edr``; return the gateway and the server."""

    async def mounted(**options):
        gateway = Gateway(bus, authenticate=grant_of, **options)
        server = Server(request.param(gateway), "127.0.0.1:0")
        await stack.enter_async_context(server)
        stack.push_async_callback(gateway.stop)
        return gateway, server

    return mounted


async def test_mounted_gateway_streams_and_resumes(mounted, client_of, publish):
    _, server = await mounted()
    client = client_of(server, prefix="/edr")
    stream, _ = await client.events(app_name="app")
    publish(1, 2)
    first = await stream.block()
    again, hello = await client.events({"Last-Event-ID": first.id})

    assert first.n == 1
    assert hello.data["resumed"] is True
    assert (await again.block()).n == 2


async def test_mounted_gateway_has_its_other_routes(mounted, client_of, publish):
    _, server = await mounted()
    client = client_of(server, prefix="/edr")
    publish(1)
    recent = await (await client.post("/recent/", {"last": 1})).json()
    ticket = await (await client.post("/ticket")).json()
    admitted = await client_of(server, None, prefix="/edr").get("/events", ticket=ticket["ticket"])

    assert [each["event"]["body"]["n"] for each in recent["events"]] == [1]
    assert admitted.status == 200
    assert (await client.get("/nothing")).status == 404


async def test_stop_ends_the_streams_of_a_mounted_gateway(mounted, client_of):
    gateway, server = await mounted()
    stream, _ = await client_of(server, prefix="/edr").events()
    await gateway.stop()

    assert [block.event for block in await stream.rest()] == ["bye"]
    assert stream.is_complete
