import asyncio
import json

import pytest
from support.stream_clients import Calls

from edr.streams import Grant, Streams
from edr.web.authentication import Authentication
from edr.web.blackhole import replies
from edr.web.blackhole.session import BURST, Services, Session
from edr.web.limits import ClientCounts, Limits
from edr.web.peer import Peer

PEER = Peer("203.0.113.7", None, "blackhole")
GRANTS = {
    "T-reseller": Grant("reseller"),
    "T-reseller-2": Grant("reseller"),
    "T-branch": Grant("branch"),
    "T-root": Grant.everything(),
}
KEY = "edr.ok.info.acdc"


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


class Authenticator:
    def __init__(self):
        self.calls = []
        self.fails = False

    def __call__(self, token, peer):
        self.calls.append(token)
        if self.fails:
            raise RuntimeError(f"no database for {token}")
        return GRANTS.get(token)


@pytest.fixture
def authenticator():
    return Authenticator()


@pytest.fixture
async def make(bus, authenticator):
    sessions = []
    limits = Limits(per_account=2)
    counts = ClientCounts(limits)

    def make(**options):
        services = Services(
            bus, Streams(bus), Authentication(authenticator), limits, clock=Clock(), **options
        )
        session = Session(
            services,
            PEER,
            "203.0.113.7:50123",
            counts.enter(PEER.address),
            on_ready=Calls(),
            on_grant_end=Calls(),
        )
        session.services = services
        sessions.append(session)
        return session

    yield make
    for session in sessions:
        session.close()


async def ask(session, document):
    text = document if isinstance(document, str) else json.dumps(document)
    return json.loads(await session.answer(text))


async def error(session, document):
    reply = await ask(session, document)
    assert reply["status"] == "error"
    return reply["data"]["errors"][0]


async def data(session, document):
    reply = await ask(session, document)
    assert reply["status"] == "success", reply
    return reply["data"]


def targets(session):
    return [(each.account_id, each.text) for each, _ in session.subscriptions]


# Authentication


async def test_ping_needs_a_token_too(make, request_of):
    assert await error(make(), request_of("ping", who=None)) == "authentication token required"


async def test_ping_has_the_bytes_of_kazoo(make, request_of):
    assert await make().answer(json.dumps(request_of("ping"))) == (
        '{"action":"reply","request_id":"R","status":"success","data":{"response":"pong"}}'
    )


async def test_error_does_not_contain_the_token(make, request_of):
    text = await make().answer(json.dumps(request_of("ping", who="T-secret")))

    assert json.loads(text)["data"]["errors"] == ["failed to authenticate token"]
    assert "secret" not in text


async def test_connection_stays_authenticated_after_an_error(make, request_of):
    session = make()

    assert await error(session, request_of("subscribe")) == replies.NO_DATA
    assert await data(session, request_of("ping", who=None)) == {"response": "pong"}


async def test_connection_stays_authenticated_after_a_wrong_token(make, request_of):
    session = make()
    await data(session, request_of("ping"))

    assert await error(session, request_of("ping", who="wrong")) == replies.TOKEN_NOT_VALID
    assert await data(session, request_of("ping", who=None)) == {"response": "pong"}


async def test_token_is_checked_once(make, request_of, authenticator):
    session = make()
    for _ in range(3):
        await data(session, request_of("ping"))

    assert authenticator.calls == ["T-reseller"]


async def test_new_token_of_the_same_account_is_accepted(make, request_of, authenticator):
    session = make()
    await data(session, request_of("ping"))
    await data(session, request_of("ping", who="T-reseller-2"))
    await data(session, request_of("ping", who="T-reseller-2"))

    assert authenticator.calls == ["T-reseller", "T-reseller-2"]


async def test_token_of_another_account_is_an_error(make, request_of):
    session = make()
    await data(session, request_of("ping"))

    assert await error(session, request_of("ping", who="T-branch")) == replies.OTHER_ACCOUNT
    assert session.account == "reseller"


async def test_authenticator_that_fails_is_an_error(make, request_of, authenticator, caplog):
    authenticator.fails = True

    assert await error(make(), request_of("ping")) == replies.AUTHENTICATOR_FAILED
    assert "T-reseller" not in caplog.text


async def test_connections_of_an_account_are_limited(make, request_of):
    for _ in range(2):
        await data(make(), request_of("ping"))
    session = make()

    assert "this account" in await error(session, request_of("ping"))
    assert not session.is_authenticated


# Commands


async def test_subscribe_answers_all_keys(make, request_of):
    session = make()

    await data(session, request_of("subscribe", "branch", "edr.critical.error.acdc"))
    answered = await data(session, request_of("subscribe", "reseller", "edr.critical.fatal.*"))

    assert answered["subscribed"] == ["edr.critical.error.acdc"] * 2 + ["edr.critical.fatal.*"]
    assert targets(session) == [
        ("branch", "edr.critical.error.acdc"),
        ("reseller", "edr.critical.fatal.*"),
    ]


async def test_unsubscribe_has_the_bytes_of_kazoo(make, request_of):
    session = make()
    await data(session, request_of("subscribe", "branch", "edr.critical.error.acdc"))
    await data(session, request_of("subscribe", "branch", "edr.critical.fatal.*"))

    request = request_of("unsubscribe", "branch", "edr.critical.error.acdc")
    assert await session.answer(json.dumps(request)) == (
        '{"action":"reply","request_id":"R","status":"success",'
        '"data":{"unsubscribed":["edr.critical.error.acdc"],"subscribed":["edr.critical.fatal.*"]}}'
    )


async def test_unsubscribe_of_something_else_is_an_error(make, request_of):
    session = make()
    await data(session, request_of("subscribe", "branch", KEY))

    request = request_of("unsubscribe", "reseller", KEY)
    assert await error(session, request) == replies.NOT_SUBSCRIBED
    assert targets(session) == [("branch", KEY)]


@pytest.mark.parametrize("action", ["subscribe", "unsubscribe"])
async def test_command_needs_the_account_or_one_above(make, request_of, action):
    session = make()
    await ask(session, request_of("ping"))

    for foreign in ("other", "unknown"):
        assert await error(session, request_of(action, foreign, KEY)) == "unauthorized account id"
    wildcard = request_of(action, "*", KEY)
    assert await error(session, wildcard) == "unauthorized wildcard account id"


async def test_account_below_may_not_subscribe_to_the_one_above(make, request_of):
    request = request_of("subscribe", "reseller", KEY, who="T-branch")

    assert await error(make(), request) == "unauthorized account id"


@pytest.mark.parametrize("account_id", ["*", "other", "unknown"])
async def test_everything_may_subscribe_to_every_account(make, request_of, account_id):
    request = request_of("subscribe", account_id, KEY, who="T-root")

    assert (await data(make(), request))["subscribed"] == [KEY] * 12


async def test_accounts_need_not_be_checked_at_the_subscription(make, request_of, emit):
    session = make(check_accounts=False)
    await data(session, request_of("subscribe", "other", KEY))

    await emit(1, "acdc", account_id="other")

    assert session.take() is None
    assert await error(session, request_of("subscribe", "*", KEY)) == replies.WILDCARD_ACCOUNT


@pytest.mark.parametrize("action", ["noop", None, "SUBSCRIBE", "close"])
async def test_unknown_or_missing_action_is_an_error(make, request_of, action):
    assert await error(make(), request_of(action)) == replies.ACTIONS


async def test_family_that_is_not_served_is_an_error(make, request_of):
    session = make()
    served = request_of("subscribe", "branch", "call.CHANNEL_CREATE.*")
    foreign = request_of("subscribe", "other", "call.CHANNEL_CREATE.*")

    assert await error(session, served) == replies.NO_SUCH_FAMILY
    assert await error(session, foreign) == replies.FOREIGN_ACCOUNT


async def test_request_that_is_no_json_is_an_error(make):
    assert await error(make(), "{") == replies.NOT_AN_OBJECT


# Limits


async def test_frames_beyond_the_rate_are_errors(make, request_of):
    session = make()
    for _ in range(int(BURST)):
        await data(session, request_of("ping"))

    expected = "rate limiting threshold hit for 203.0.113.7:50123!"
    assert await error(session, request_of("ping")) == expected
    assert session.refused == 1
    session.services.clock.now += 1
    await data(session, request_of("ping"))
    assert session.refused == 0


async def test_name_and_metadata_are_kept(make, request_of):
    session = make()
    await ask(session, request_of("ping", who="wrong", name="x"))
    assert session.name is None

    await ask(session, request_of("ping", name="wallboard", metadata={"page": 1}))
    await ask(session, request_of("ping"))

    assert (session.name, session.metadata) == ("wallboard", {"page": 1})


async def test_authentication_that_is_cancelled_leaves_nothing(make, bus, request_of):
    session = make()
    hanging = asyncio.get_running_loop().create_future()
    session.services.authentication = Authentication(lambda *_: hanging)
    task = asyncio.create_task(session.answer(json.dumps(request_of("ping"))))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert not session.is_authenticated
