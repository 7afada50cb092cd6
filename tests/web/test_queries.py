import asyncio

import pytest

from edr.streams import Missed, Record, Taken
from edr.web import queries as module


def numbers(document):
    return [each["event"]["body"]["n"] for each in document["events"]]


async def test_recent_returns_the_last_events_that_match(serve, client_of, publish):
    gateway, server = await serve()
    publish(*range(60))
    publish(99, app_name="other")
    client = client_of(server)

    assert numbers(await (await client.get("/recent", app_name="app", last=2)).json()) == [58, 59]
    assert len(numbers(await (await client.post("/recent")).json())) == module.DEFAULT_LAST
    assert gateway._context.streams.statistics().places == 0


async def test_recent_continues_after_a_cursor(serve, client_of, publish):
    _, server = await serve()
    publish(1, 2, 3)
    client = client_of(server)
    first = await (await client.get("/recent", last=3)).json()
    publish(4)
    rest = await (await client.get("/recent", after=first["cursor"])).json()

    assert numbers(rest) == [4]
    assert not rest["more"]
    assert "gap" not in rest


async def test_recent_reports_a_gap_or_fails(serve, client_of, publish):
    _, server = await serve(ring=2)
    publish(1, 2, 3)
    client = client_of(server)
    document = await (await client.get("/recent", after="0-0")).json()
    answer = await client.get("/recent", after="0-0", on_gap="fail")

    assert document["gap"] == {"reason": "restarted", "missed": None}
    assert numbers(document) == [2, 3]
    assert answer.status == 410


async def test_recent_of_too_many_bytes_has_more(serve, client_of, publish, monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 1000)
    _, server = await serve()
    publish(*range(20))
    client, seen, more, after = client_of(server), [], True, None
    while more:
        query = {"last": 20} if after is None else {"after": after}
        document = await (await client.get("/recent", **query)).json()
        seen += numbers(document)
        more, after = document["more"], document["cursor"]

    assert seen == list(range(20))


async def test_recent_shows_a_tenant_its_own_events(serve, client_of, publish):
    _, server = await serve()
    publish(1)
    publish(2, account_id="acme")
    publish(3, account_id="globex")
    document = await (await client_of(server, "acme").get("/recent")).json()

    assert numbers(document) == [2]


class DamagedPlace:
    """A place whose journal is damaged after its first events."""

    def __init__(self, make_event):
        event = make_event()
        one, two = (Record(n, f"x-{n}", event, event.to_json()) for n in (1, 5))
        self.cursor, self.behind, self.is_current = "x-5", 0, False
        missed = Missed(3, "expired", "x-4")
        self._taken = [Taken(None, [one]), Taken(missed, [two]), Taken(None, [])]

    def take(self, limit=256, max_bytes=0):
        return self._taken.pop(0)


async def test_recent_ends_before_a_gap(make_event):
    document = await module._read(  # a damage at this place is hard to make
        DamagedPlace(make_event), asyncio.Event(), fails_on_gap=False
    )

    assert [each["cursor"] for each in document["events"]] == ["x-1"]
    assert (document["cursor"], document["more"]) == ("x-1", True)


async def test_ticket_opens_one_stream(serve, client_of, publish):
    _, server = await serve()
    answer = await (await client_of(server, "acme").post("/ticket")).json()
    without = client_of(server, None)
    _, hello = await without.events(ticket=answer["ticket"])
    again = await without.get("/events", ticket=answer["ticket"])

    assert answer["expires_in"] == 30
    assert hello.data["account"] == "acme"
    assert again.status == 401


async def test_ticket_does_not_give_another_ticket(serve, client_of):
    _, server = await serve()
    answer = await (await client_of(server, "acme").post("/ticket")).json()
    again = await client_of(server, None).post(f"/ticket?ticket={answer['ticket']}")

    assert (again.status, (await again.error())["path"]) == (400, "ticket")


@pytest.mark.parametrize(("method", "path"), [("GET", "/ticket"), ("POST", "/ticket?token=x")])
async def test_ticket_is_made_by_post_without_a_token_in_the_url(serve, client_of, method, path):
    _, server = await serve()

    assert (await client_of(server).request(method, path)).status in (400, 405)


async def test_explain_shows_operators_every_receiver(serve, client_of, publish, bus):
    _, server = await serve()
    publish(1)
    client = client_of(server)
    [last] = (await (await client.get("/recent")).json())["events"]
    async with bus.subscribe(severity="critical", name="pager"):
        document = await (await client.get("/explain", cursor=last["cursor"])).json()
    results = {each["name"]: each for each in document["results"]}

    assert document["event"]["body"] == {"n": 1}
    assert results["pager"]["mismatches"][0]["path"] == "severity"
    assert results["web"]["matches"] is True


async def test_explain_shows_a_tenant_its_own_bindings_only(serve, client_of, publish, bus):
    _, server = await serve()
    publish(1, account_id="acme", account_tree=("secret",))
    publish(2, account_id="globex")
    client = client_of(server, "acme")
    other = (await (await client_of(server).get("/recent")).json())["events"][1]
    [last] = (await (await client.get("/recent")).json())["events"]
    async with bus.subscribe(account_id="secret", name="secret"):
        answer = await client.get("/explain", cursor=last["cursor"], app_name="x")
        text = (await answer.body()).decode()
    hidden = await client.get("/explain", cursor=other["cursor"])

    assert '"path":"app_name"' in text
    assert "secret" not in text
    assert hidden.status == 404
