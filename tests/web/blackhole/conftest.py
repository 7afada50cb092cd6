import contextlib

import pytest
from support.asgi_websocket import AsgiWebSocket

import edr
from edr.streams import Grant
from edr.web import Blackhole

GRANTS = {
    "T-reseller": Grant("reseller"),
    "T-branch": Grant("branch"),
    "T-root": Grant.everything(),
}
TREE = {"reseller": None, "branch": "reseller", "other": None}


def authenticate(token, peer):
    return GRANTS.get(token)


@pytest.fixture
async def bus():
    bus = edr.Bus(node="kazoo_apps@apps1", accounts=edr.AccountTree(TREE))
    yield bus
    await bus.aclose()


@pytest.fixture
def blackhole(bus):
    return Blackhole(bus, authenticate)


@pytest.fixture
def connect(bus):
    """Connect to a Blackhole with these options, or to the given one."""

    @contextlib.asynccontextmanager
    async def connect(app=None, *, headers=None, **options):
        app = app or Blackhole(bus, options.pop("authenticate", authenticate), **options)
        async with AsgiWebSocket(app, headers=headers) as client:
            client.app = app
            yield client

    return connect


@pytest.fixture
def request_of():
    """Return the document of a request, of the reseller by default."""

    def request_of(action, account_id=None, binding=None, *, who="T-reseller", **members):
        document = {"action": action, "auth_token": who, "request_id": "R", **members}
        if account_id is not None:
            document["data"] = {"account_id": account_id, "binding": binding}
        return {name: value for name, value in document.items() if value is not None}

    return request_of
