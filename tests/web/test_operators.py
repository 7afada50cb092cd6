import pytest
from support.asgi_websocket import AsgiWebSocket

from edr.web import Blackhole, Grant


async def test_clients_are_listed_with_their_subscriptions(serve, client_of, publish):
    _, server = await serve()
    await client_of(server, "acme").events(app_name="acdc")
    publish(1, app_name="acdc", account_id="acme")
    document = await (await client_of(server).get("/clients")).json()
    [client] = document["clients"]
    [subscription] = client["subscriptions"]

    assert (client["account"], client["address"], client["transport"]) == (
        "acme",
        "127.0.0.1",
        "sse",
    )
    assert subscription["bindings"][0]["app_name"] == "acdc"
    assert set(subscription) == {"bindings", "cursor", "behind", "sent", "missed"}
    assert document["by_account"] == {"acme": 1}
    assert document["by_address"] == {"127.0.0.1": 2}


async def test_top_has_the_bus_and_the_gateway(serve, client_of):
    _, server = await serve()
    document = await (await client_of(server).get("/top")).json()

    assert document["bus"]["emits"] == 0
    assert [(part["kind"], part["name"]) for part in document["parts"]] == [("gateway", "web")]


@pytest.mark.parametrize("path", ["/top", "/clients"])
async def test_operator_routes_need_everything(serve, client_of, path):
    _, server = await serve()

    assert (await client_of(server, "acme").get(path)).status == 403


async def test_clients_of_blackhole_are_listed_too(bus, serve, client_of):
    blackhole = Blackhole(bus, lambda *_: Grant("acme"))
    _, server = await serve()
    async with AsgiWebSocket(blackhole) as client:
        await client.ask({"action": "ping", "auth_token": "T", "name": "wallboard"})
        document = await (await client_of(server).get("/clients")).json()

    [listed] = document["clients"]
    assert (listed["transport"], listed["details"]["name"]) == ("blackhole", "wallboard")
    assert document["by_account"] == {"acme": 1}
    assert document["by_address"] == {"127.0.0.1": 1, "203.0.113.7": 1}
