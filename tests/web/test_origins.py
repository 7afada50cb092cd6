import pytest
from starlette.requests import HTTPConnection

from edr.web.origins import Origins
from edr.web.refusals import RefusedError

OPS = "https://ops.example.net"


def connection(scheme="http", **headers):
    listed = {"host": "localhost:8490"} | {n.replace("_", "-"): v for n, v in headers.items()}
    encoded = [(name.encode(), value.encode()) for name, value in listed.items()]
    return HTTPConnection({"type": "http", "scheme": scheme, "headers": encoded})


def status_of(check, *args):
    try:
        check(*args)
    except RefusedError as exc:
        return exc.status
    return 200


@pytest.mark.parametrize(("host", "status"), [
    ("localhost", 200),
    ("LOCALHOST:8490", 200),
    ("127.0.0.1:1", 200),
    ("[::1]:1", 200),
    ("10.1.2.3", 200),
    ("ops.example.net", 200),
    ("ops.example.net.", 200),
    ("evil.example", 421),
    ("ops.example.net.evil.example", 421),
    ("localhost@evil.example", 421),
    ("", 421),
])  # fmt: skip
def test_host_must_be_a_name_of_the_gateway(host, status):
    assert status_of(Origins([OPS]).check_host, connection(host=host)) == status


def test_given_hosts_replace_the_default_ones():
    origins = Origins(hosts=["events.example.net"])

    assert status_of(origins.check_host, connection(host="events.example.net:443")) == 200
    assert status_of(origins.check_host, connection(host="10.1.2.3")) == 421
    assert status_of(Origins(hosts=["*"]).check_host, connection(host="any.example")) == 200


@pytest.mark.parametrize(("headers", "status"), [
    ({}, 200),
    ({"origin": OPS}, 200),
    ({"origin": OPS, "sec_fetch_site": "cross-site"}, 200),
    ({"origin": "http://localhost:8490"}, 200),
    ({"origin": "http://localhost:8491"}, 403),
    ({"origin": "https://localhost:8490"}, 403),
    ({"origin": "null"}, 403),
    ({"origin": "https://evil.example"}, 403),
    ({"origin": OPS + ".evil.example"}, 403),
    ({"sec_fetch_site": "same-origin"}, 200),
    ({"sec_fetch_site": "none"}, 200),
    ({"sec_fetch_site": "cross-site"}, 403),
    ({"sec_fetch_site": "same-site"}, 403),
])  # fmt: skip
def test_page_of_another_site_is_refused(headers, status):
    assert status_of(Origins([OPS]).check_origin, connection(**headers)) == status


def test_origin_of_a_websocket_is_that_of_its_page():
    origins = Origins()

    for scheme, origin in (("ws", "http://localhost:8490"), ("wss", "https://localhost:8490")):
        assert status_of(origins.check_origin, connection(scheme, origin=origin)) == 200
        assert status_of(origins.check_origin, connection(scheme, origin="http://a")) == 403


@pytest.mark.parametrize(("headers", "own"), [
    ({}, False),
    ({"origin": OPS}, True),
    ({"origin": "https://evil.example", "sec_fetch_site": "same-origin"}, False),
    ({"sec_fetch_site": "same-origin"}, True),
    ({"sec_fetch_site": "none"}, False),
])  # fmt: skip
def test_cookies_are_for_permitted_pages_only(headers, own):
    assert Origins([OPS]).is_own(connection(**headers)) is own


def test_cors_names_the_origin_and_never_all():
    origins = Origins([OPS])

    allowed = origins.cors(connection(origin=OPS))
    assert allowed["Access-Control-Allow-Origin"] == OPS
    assert allowed["Vary"] == "Origin"
    assert origins.cors(connection(origin="https://evil.example")) == {"Vary": "Origin"}


@pytest.mark.parametrize(
    "origins", [["*"], ["ops.example.net"], ["https://OPS.example.net"], [OPS + "/"]]
)
def test_origin_must_be_a_scheme_and_a_host(origins):
    with pytest.raises(ValueError, match="an origin must be"):
        Origins(origins)


def test_list_of_hosts_must_be_valid():
    with pytest.raises(TypeError, match="hosts must be a list"):
        Origins(hosts="localhost")
    with pytest.raises(ValueError, match="without a port"):
        Origins(hosts=["localhost:80"])


def test_listed_sites_do_not_include_the_name_of_the_host():
    origins = Origins([OPS])

    assert status_of(origins.check_listed, connection(origin=OPS)) == 200
    assert status_of(origins.check_listed, connection()) == 200
    rebound = connection(host="evil.example", origin="http://evil.example")
    assert status_of(origins.check_listed, rebound) == 403
