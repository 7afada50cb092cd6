"""The embedded journal keeps the contract."""

import pytest

from contracts.journal import JournalContract
from edr.journal import SqliteJournal


class TestSqliteJournal(JournalContract):
    @pytest.fixture(params=["disk", "process"])
    async def make_journal(self, tmp_path, request):
        made = []

        def make(**options):
            made.append(SqliteJournal(tmp_path / "journal", sync=request.param, **options))
            return made[-1]

        yield make
        for journal in made:
            await journal.aclose()
