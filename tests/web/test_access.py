from datetime import UTC, datetime, timedelta

import pytest
from starlette.requests import HTTPConnection

from edr.web import Grant
from edr.web.access import MAX_HEADERS, MAX_QUERY, Access
from edr.web.authentication import Authentication, Identity
from edr.web.origins import Origins
from edr.web.refusals import RefusedError
from edr.web.tickets import Tickets

OPS = "https://ops.example.net"
VALID = {"authorization": "Bearer acme"}


@pytest.fixture
def access():
    def grant_of(token, peer):
        return Grant(token) if token else None

    return Access(Authentication(grant_of), Tickets(), Origins([OPS]))


def connection(query="", **headers):
    listed = {"host": "localhost"} | {n.replace("_", "-"): v for n, v in headers.items()}
    encoded = [(name.encode(), value.encode()) for name, value in listed.items()]
    scope = {"type": "http", "scheme": "http", "headers": encoded, "client": ("10.0.0.1", 5)}
    return HTTPConnection(scope | {"query_string": query.encode()})


async def identify(access, connection):
    access.check(connection)
    return await access.identify(connection, access.peer_of(connection, "sse"))


async def refusal_of(access, connection):
    with pytest.raises(RefusedError) as caught:
        await identify(access, connection)
    return caught.value


@pytest.mark.parametrize("name", [
    "token", "access_token", "Access-Token", "api_key", "jwt", "authorization", "%74oken", "edr",
])  # fmt: skip
async def test_token_in_the_url_is_refused_even_with_a_header(access, name):
    refusal = await refusal_of(access, connection(f"{name}=s3cret", **VALID))

    assert (refusal.status, refusal.code) == (400, "token_in_url")
    assert "s3cret" not in str(refusal)


async def test_query_is_removed_from_the_scope(access):
    one = connection("ticket=t", **VALID)
    access.check(one)

    assert one.scope["query_string"] == b""
    assert one.query_params["ticket"] == "t"


@pytest.mark.parametrize(("query", "headers", "status"), [
    ("a=" + "x" * MAX_QUERY, {}, 413),
    ("", {"x": "x" * MAX_HEADERS}, 431),
    ("", {"host": "evil.example"}, 421),
    ("", {"origin": "null"}, 403),
])  # fmt: skip
async def test_connection_is_checked_before_the_token(access, query, headers, status):
    assert (await refusal_of(access, connection(query, **headers))).status == status


@pytest.mark.parametrize("header", ["Basic eDp5", "Bearer", "Bearer a b", "acme", "Bearer \xe4"])
async def test_header_of_another_form_gives_401(access, header):
    assert (await refusal_of(access, connection(authorization=header))).status == 401


async def test_token_is_read_from_the_header(access):
    assert (await identify(access, connection(authorization="bearer a"))).grant == Grant("a")


async def test_cookie_is_read_for_permitted_pages_only(access):
    cookie = {"cookie": "a=b; edr=acme"}
    same = {"sec_fetch_site": "same-origin"}

    assert (await identify(access, connection(origin=OPS, **cookie))).grant == Grant("acme")
    assert (await identify(access, connection(**same, **cookie))).grant == Grant("acme")
    assert (await refusal_of(access, connection(**cookie))).status == 401


async def test_ticket_admits_one_connection(access):
    ticket = access.tickets.issue(Identity(Grant("acme"), "acme"))

    assert (await identify(access, connection(f"ticket={ticket}"))).grant == Grant("acme")
    refusal = await refusal_of(access, connection(f"ticket={ticket}"))
    assert refusal.status == 401
    assert ticket not in str(refusal)


async def test_ticket_of_an_expired_grant_is_refused(access):
    expired = Grant("acme", expires=datetime.now(UTC) - timedelta(seconds=1))
    ticket = access.tickets.issue(Identity(expired, "acme"))

    assert (await refusal_of(access, connection(f"ticket={ticket}"))).status == 401


def test_peer_has_the_address_and_the_origin(access):
    assert access.peer_of(connection(origin=OPS), "sse") == ("10.0.0.1", OPS, "sse")


@pytest.mark.parametrize(("query", "headers", "has"), [
    ("", {}, False),
    ("ticket=x", {}, True),
    ("", VALID, True),
    ("", {"cookie": "edr=x"}, False),
])  # fmt: skip
def test_has_credentials(access, query, headers, has):
    assert access.has_credentials(connection(query, **headers)) is has


@pytest.mark.parametrize("name", ["authorization", "host", "origin", "sec-fetch-site"])
async def test_header_that_decides_must_not_be_sent_twice(access, name):
    one = connection(**VALID)
    one.scope["headers"] += [(name.encode(), b"localhost"), (name.encode(), b"b")]
    refusal = await refusal_of(access, one)

    assert (refusal.status, refusal.detail) == (400, f"the header {name} must be sent once")
