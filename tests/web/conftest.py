"""A gateway on a real server, and HTTP clients of it."""

from contextlib import AsyncExitStack

import pytest
from support.browser import browser_session, browser_tab
from support.sse_client import HttpClient
from support.web_grants import OPERATOR, grant_of

from edr.web import Gateway, Server


@pytest.fixture
async def stack():
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def serve(bus, stack):
    """Start a gateway of the bus on a server; return both."""

    async def serve(*bindings, on=bus, listen="127.0.0.1:0", **options):
        gateway = Gateway(on, *bindings, **{"authenticate": grant_of, **options})
        server = Server(gateway, listen)
        await stack.enter_async_context(server)
        return gateway, server

    return serve


@pytest.fixture
def client_of(stack):
    """Return an HTTP client of a server, with this token."""

    def client_of(server, token=OPERATOR, **options):
        client = HttpClient(server.port, token, **options)
        stack.callback(client.close)
        return client

    return client_of


@pytest.fixture(scope="module")
def browser_url():
    """One browser for all tests of a module."""
    with browser_session() as session:
        yield session


@pytest.fixture
async def browser(browser_url):
    """The browser, with an empty page."""
    async with browser_tab(browser_url) as browser:
        yield browser


@pytest.fixture
def publish(bus, make_event):
    """Publish events with these numbers."""

    def publish(*ns, on=bus, app_name="app", **fields):
        for n in ns:
            on.publish_nowait(make_event(app_name, body={"n": n}, **fields))

    return publish
