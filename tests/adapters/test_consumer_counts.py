import asyncio

import pytest

import edr
from edr.adapters.consumer_counts import ConsumerCounts
from edr.journal import SqliteJournal


@pytest.fixture
async def journalled(tmp_path):
    async with edr.Bus(journal=SqliteJournal(tmp_path / "journal")) as bus:
        bus.enter()
        yield bus


def names(consumers):
    return [consumer.name for consumer in consumers]


async def test_reading_in_a_thread_waits_for_the_state(journalled):
    counts = ConsumerCounts()
    async with await journalled.journal.consumer("billing"):
        assert names(await asyncio.to_thread(counts.read, journalled)) == ["billing"]


async def test_reading_in_the_loop_returns_the_state_of_the_reading_before(journalled):
    counts = ConsumerCounts()
    async with await journalled.journal.consumer("billing"):
        assert names(counts.read(journalled)) == []
        await counts._asking  # no public way to wait for it
        assert names(counts.read(journalled)) == ["billing"]
        await counts._asking


async def test_bus_without_a_journal_has_no_consumers(bus):
    bus.enter()

    assert ConsumerCounts().read(bus) == ()
