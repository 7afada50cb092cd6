"""Grants that end while streams run."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from edr.web import Grant, authentication


@pytest.fixture(autouse=True)
def renew_often(monkeypatch):
    monkeypatch.setitem(authentication.Renewal.__init__.__kwdefaults__, "interval", 0.05)


class Accounts:
    """An authenticator whose answer changes."""

    def __init__(self):
        self.grant = Grant("acme")
        self.fails = False

    def __call__(self, token, peer):
        if self.fails:
            raise OSError("no database")
        return self.grant


@pytest.mark.parametrize("answer", [None, Grant("globex"), Grant.everything()])
async def test_stream_ends_when_its_grant_ends(serve, client_of, publish, answer):
    accounts = Accounts()
    gateway, server = await serve(authenticate=accounts)
    stream, _ = await client_of(server).events()
    accounts.grant = answer
    bye = await stream.block()
    publish(1, account_id="acme")

    assert (bye.event, bye.data) == ("bye", {"reason": "grant"})
    assert await stream.rest() == []
    assert gateway.statistics().closed == {"grant": 1}


async def test_stream_with_a_failing_authenticator_ends_when_it_expires(serve, client_of):
    accounts = Accounts()
    accounts.grant = Grant("acme", expires=datetime.now(UTC) + timedelta(seconds=0.3))
    _, server = await serve(authenticate=accounts)
    client = client_of(server)
    stream, _ = await client.events()
    started = asyncio.get_running_loop().time()
    accounts.fails = True
    refused = await client.get("/events")

    assert refused.status == 503
    assert (await stream.block()).data == {"reason": "grant"}
    assert asyncio.get_running_loop().time() - started > 0.1


async def test_account_that_is_moved_is_seen_from_the_next_event(serve, client_of, publish):
    _, server = await serve()
    stream, _ = await client_of(server, "reseller").events()
    publish(1, account_id="branch", account_tree=("reseller",))
    publish(2, account_id="branch", account_tree=("other",))
    publish(3, account_id="branch", account_tree=("reseller",))

    assert [block.n for block in await stream.blocks(2)] == [1, 3]


async def test_renew_ends_the_streams_without_a_grant_at_once(
    serve, client_of, publish, monkeypatch
):
    monkeypatch.setitem(authentication.Renewal.__init__.__kwdefaults__, "interval", 60.0)
    accounts = {"one": Grant("one"), "two": Grant("two")}
    gateway, server = await serve(authenticate=lambda token, _: accounts.get(token))
    kept, _ = await client_of(server, "one").events()
    ended, _ = await client_of(server, "two").events()
    del accounts["two"]
    await gateway.renew()
    publish(1, account_id="one")

    assert (await ended.block()).data == {"reason": "grant"}
    assert (await kept.block()).n == 1


async def test_renew_does_not_use_the_answer_of_an_earlier_call(serve, client_of):
    answers, first = [None, Grant("acme"), Grant("acme")], asyncio.Event()

    async def authenticate(token, peer):
        answer = answers.pop()
        if len(answers) == 1:  # the renewal that begins by itself has an old answer
            first.set()
            await asyncio.get_running_loop().create_future()
        return answer

    gateway, server = await serve(authenticate=authenticate)
    stream, _ = await client_of(server).events()
    await first.wait()
    await gateway.renew()

    assert (await stream.block()).data == {"reason": "grant"}
