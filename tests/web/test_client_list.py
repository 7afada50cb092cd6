from edr import Binding


async def test_clients_are_listed_with_their_subscriptions(serve, client_of, publish):
    gateway, server = await serve()
    stream, _ = await client_of(server, "acme").events(app_name="app")
    publish(1, account_id="acme")
    event = await stream.block()
    [client] = gateway.clients()
    [subscription] = client.subscriptions

    assert (client.account, client.address, client.transport) == ("acme", "127.0.0.1", "sse")
    assert subscription.bindings == (Binding(app_name="app"),)
    assert (subscription.cursor, subscription.sent, subscription.behind) == (event.id, 1, 0)
    assert gateway.counts.by_account == {"acme": 1}


async def test_gateway_without_clients_lists_none(serve):
    gateway, _ = await serve()

    assert gateway.clients() == []
