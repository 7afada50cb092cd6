import json

import orjson

KEY = "edr.ok.info.*"


async def test_client_shows_its_name_metadata_and_subscriptions(
    connect, emit, request_of, blackhole
):
    async with connect(blackhole, headers={"origin": "https://ui.example.net"}) as client:
        request = request_of("subscribe", "branch", KEY, name="wallboard", metadata={"v": 1})
        await client.ask(request)
        await emit(1, account_id="branch")
        await client.text()
        (shown,) = blackhole.clients()

    assert (shown.is_authenticated, shown.account) == (True, "reseller")
    assert (shown.address, shown.origin) == ("203.0.113.7", "https://ui.example.net")
    assert (shown.name, shown.metadata) == ("wallboard", {"v": 1})
    assert [tuple(each) for each in shown.subscriptions] == [("branch", KEY, 0, 1)]


async def test_client_without_a_token_is_shown(connect, blackhole):
    async with connect(blackhole):
        (shown,) = blackhole.clients()

    assert (shown.is_authenticated, shown.account) == (False, None)
    assert shown.subscriptions == ()


async def test_client_has_the_form_of_the_gateway(connect, request_of, blackhole):
    async with connect(blackhole) as client:
        await client.ask(request_of("subscribe", "branch", KEY, name="wallboard"))
        document = blackhole.clients()[0].to_json()

    assert json.loads(json.dumps(document)) == document
    assert document["transport"] == "blackhole"
    assert document["details"] == {"is_authenticated": True, "name": "wallboard", "metadata": None}
    assert document["subscriptions"] == [
        {"account_id": "branch", "key": KEY, "behind": 0, "sent": 0}
    ]


async def test_deep_metadata_can_be_listed(connect, request_of, blackhole):
    async with connect(blackhole) as client:
        deep = "[" * 253 + "]" * 253
        frame = json.dumps(request_of("ping"))[:-1]
        client.send(f'{frame},"metadata":{deep}}}')
        await client.json()
        [listed] = blackhole.clients()

        assert listed.metadata is not None
        assert orjson.dumps({"clients": [listed.to_json()]})  # it can write 254 levels
