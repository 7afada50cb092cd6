"""The embedded journal keeps the contract."""

import pytest

from contracts.consumers import ConsumerContract
from contracts.journal import JournalContract, StorageContract, event
from edr.journal import SqliteJournal
from edr.journal.batch import RejectedError
from edr.journal.store import BlockStore


class TestSqliteJournal(JournalContract, ConsumerContract, StorageContract):
    @pytest.fixture(params=["process", pytest.param("disk", marks=pytest.mark.slow)])
    async def make_journal(self, tmp_path, request):
        made = []

        def make(**options):
            made.append(SqliteJournal(tmp_path / "journal", sync=request.param, **options))
            return made[-1]

        yield make
        for journal in made:
            await journal.aclose()

    @pytest.fixture
    def make_refused(self, monkeypatch):
        """SQLite refuses what is beyond its limits; here it refuses a body with ``refused``."""
        append = BlockStore.append

        def refusing(store, events, *args):
            if any("refused" in each.body for each in events):
                raise RejectedError("too large for SQLite")
            return append(store, events, *args)

        monkeypatch.setattr(BlockStore, "append", refusing)
        return lambda n: event(n, body={"refused": True})
