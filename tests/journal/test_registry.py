import asyncio

import pytest
from contracts.journal import event

from edr.journal import ConsumerInUseError, JournalError, SqliteJournal
from edr.journal import registry as registry_module
from edr.journal.consumer import ACK_LIMIT


@pytest.fixture
async def journal(tmp_path):
    async with SqliteJournal(tmp_path / "journal") as journal:
        await journal.append(event(1), event(2))
        yield journal


async def test_name_is_reserved_while_a_consumer_is_opened(journal):
    opening = asyncio.create_task(journal.consumer("a"))
    await asyncio.sleep(0)
    with pytest.raises(ConsumerInUseError):
        await journal.consumer("a")
    consumer = await opening
    with pytest.raises(ConsumerInUseError):
        await journal.forget("a")
    await consumer.aclose()
    await journal.forget("a")
    assert await journal.consumers() == ()


async def test_name_is_free_again_after_a_failed_open(journal):
    with pytest.raises(JournalError):
        await journal.consumer("a", start=99)
    assert (await journal.consumer("a")).name == "a"


async def test_acks_are_stored_by_the_timer(journal, monkeypatch):
    monkeypatch.setattr(registry_module, "ACK_INTERVAL", 0.0)
    consumer = await journal.consumer("a")
    consumer.ack(await anext(consumer))
    while journal._store.consumers["a"].position < 1:  # the stored state has no public view
        await asyncio.sleep(0)


async def test_many_acks_are_stored_at_once(journal, monkeypatch):
    monkeypatch.setattr(registry_module, "ACK_INTERVAL", 1000.0)
    await journal.append(*map(event, range(3, 2 * ACK_LIMIT + 1)))
    consumer = await journal.consumer("a", start="oldest")
    entries = await consumer.take(2 * ACK_LIMIT)
    consumer.ack(*entries[: ACK_LIMIT - 1])
    assert journal._store.consumers["a"].position == 0  # the stored state has no public view
    consumer.ack(entries[ACK_LIMIT - 1])
    async with asyncio.timeout(30):
        while journal._store.consumers["a"].position < ACK_LIMIT:
            await asyncio.sleep(0)
