import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from edr.testing import run
from edr.web import Grant, Peer
from edr.web.authentication import Authentication, Identity, Renewal
from edr.web.refusals import RefusedError

PEER = Peer("10.0.0.1", None, "sse")
SENT = "s3cret-token"


async def hangs(token, peer):
    await asyncio.Event().wait()


def raises(token, peer):
    raise ValueError(f"the token {token} is not in the database")


async def ends_by_a_cancellation(token, peer):
    raise asyncio.CancelledError(token)


def raises_a_cancellation(token, peer):
    raise asyncio.CancelledError(token)


async def test_authenticator_may_be_sync_or_async():
    async def later(token, peer):
        return Grant(token)

    for authenticate in (lambda token, peer: Grant(token), later):
        identity = await Authentication(authenticate).identify("acme", PEER)
        assert identity.grant == Grant("acme")


@pytest.mark.parametrize("grant", [None, Grant("a", expires=datetime(2020, 1, 1, tzinfo=UTC))])
async def test_client_without_a_valid_grant_gets_401(grant):
    with pytest.raises(RefusedError) as caught:
        await Authentication(lambda token, peer: grant).identify(SENT, PEER)

    assert caught.value.status == 401
    assert SENT not in str(caught.value)


@pytest.mark.parametrize("authenticate", [
    hangs,
    raises,
    ends_by_a_cancellation,
    raises_a_cancellation,
    lambda token, peer: token,
    lambda token, peer: Grant("a", expires=datetime(2999, 1, 1)),
    lambda token, peer: Grant("a", expires=32_503_680_000),
])  # fmt: skip
def test_authenticator_that_fails_gives_503_without_the_token(authenticate, caplog):
    async def main():
        with pytest.raises(RefusedError) as caught:
            await Authentication(authenticate).identify(SENT, PEER)
        return caught.value

    refusal = run(main)
    assert refusal.status == 503
    assert "authenticator of a gateway" in caplog.text
    assert SENT not in caplog.text + repr(refusal)
    assert refusal.__cause__ is None


def test_authenticator_that_does_not_end_is_not_waited_for():
    async def main():
        ends = asyncio.Event()

        async def ignores_a_cancellation(token, peer):
            with suppress(asyncio.CancelledError):
                await ends.wait()
            await ends.wait()
            raise ValueError(token)

        with pytest.raises(RefusedError):
            await Authentication(ignores_a_cancellation).identify(SENT, PEER)
        took = asyncio.get_running_loop().time()
        ends.set()
        await asyncio.sleep(0)
        return took

    assert run(main) == pytest.approx(5)


@pytest.mark.parametrize("token", ["", "a b", "a\n", "a\0", "\xe4", "x" * 10_000])
async def test_text_that_cannot_be_a_token_is_refused(token):
    calls = []
    with pytest.raises(RefusedError) as caught:
        await Authentication(lambda *args: calls.append(args)).identify(token, PEER)

    assert (caught.value.status, calls) == (401, [])


def test_identity_does_not_show_its_token():
    assert SENT not in repr(Identity(Grant("a"), SENT))


class Clock:
    """The wall clock, by the virtual time of the loop."""

    def __init__(self):
        self.start = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self):
        return self.start + timedelta(seconds=asyncio.get_running_loop().time())


def ended_after(answers, *, expires_in=None, limit=1000.0):
    """Renew with these answers, the last one repeated; return the seconds until the end."""

    async def main():
        loop = asyncio.get_running_loop()
        clock, left, ended = Clock(), list(answers), loop.create_future()
        expires = None if expires_in is None else clock() + timedelta(seconds=expires_in)

        def authenticate(token, peer):
            answer = left.pop(0) if len(left) > 1 else left[0]
            return answer(clock) if callable(answer) else answer

        renewal = Renewal(
            Authentication(authenticate, clock=clock),
            Identity(Grant("acme", expires=expires), SENT),
            PEER,
            lambda: ended.set_result(loop.time()),
        )
        started = loop.time()
        renewal.start()
        await asyncio.wait([ended], timeout=limit)
        renewal.close()
        return ended.result() - started if ended.done() else None

    return run(main)


def fails(clock):
    raise OSError("no database")


def test_grant_is_renewed_each_minute_until_it_is_refused():
    assert 54 <= ended_after([None]) <= 60
    assert 162 <= ended_after([Grant("acme"), Grant("acme"), None]) <= 180
    assert ended_after([Grant("acme")]) is None


@pytest.mark.parametrize("other", [Grant("globex"), Grant.everything()])
def test_grant_of_another_account_ends_the_stream(other):
    assert ended_after([other]) <= 60


def test_grant_is_renewed_when_it_expires():
    assert ended_after([None], expires_in=5) == pytest.approx(5)


def test_stream_continues_until_it_expires_when_renewal_fails():
    assert ended_after([fails], expires_in=150) == pytest.approx(150)
    assert ended_after([fails]) is None


def test_renewal_that_is_cancelled_ends_nothing_before_the_expiry():
    async def is_cancelled(clock):
        raise asyncio.CancelledError

    assert ended_after([is_cancelled], expires_in=150) == pytest.approx(150)


def test_grants_that_expire_at_once_are_renewed_once_a_second():
    calls = []

    def short(clock):
        calls.append(clock())
        return Grant("acme", expires=clock() + timedelta(milliseconds=1))

    ended_after([short], expires_in=0.001, limit=10)
    assert len(calls) <= 12


async def test_renew_does_not_call_for_a_stream_that_has_ended():
    calls = []
    authentication = Authentication(lambda token, _: calls.append(token))
    renewal = Renewal(authentication, Identity(Grant("acme"), SENT), PEER, lambda: None)
    renewal.start()
    renewal.close()
    await authentication.renew()

    assert calls == []
