"""The bindings that the journal of a bus gets from the parts that read it."""

import pytest

import edr
from edr.journal import SqliteJournal
from edr.sinks import Recording

A, B, C = (edr.Binding(app_name=name) for name in "abc")


async def test_the_journal_stores_the_union(tmp_path):
    journal = SqliteJournal(tmp_path / "journal")
    async with edr.Bus(journal=journal) as bus:
        recording = Recording(bus)
        recording.replace("x", [A, B])
        recording.replace("y", [B, C])
        both = set(journal.bindings)
        recording.remove("x")

        assert both == {A, B, C}
        assert set(journal.bindings) == {B, C}


async def test_a_part_that_widens_keeps_its_old_bindings(tmp_path):
    journal = SqliteJournal(tmp_path / "journal")
    async with edr.Bus(journal=journal) as bus:
        recording = Recording(bus)
        recording.replace("x", [A])
        recording.widen("x", [B])
        during = set(journal.bindings)
        recording.replace("x", [B])

        assert during == {A, B}
        assert set(journal.bindings) == {B}
        assert recording["x"] == (B,)


@pytest.mark.parametrize(
    ("options", "is_interest"), [({}, True), ({"wanted": True}, True), ({"wanted": False}, False)]
)
async def test_the_bindings_of_a_part_count_as_interest(tmp_path, options, is_interest):
    async with edr.Bus(journal=SqliteJournal(tmp_path / "journal")) as bus:
        keys = []
        bus.watch_interest(lambda key, _: keys.append(key))
        Recording(bus, **options).replace("sink:a", (A,))

        assert bool(keys) is is_interest
