"""A bus and its journal, together. The bus's side alone is in tests/bus/test_recording.py."""

import asyncio

import pytest
from contracts.journal import all_of, numbers, take

import edr
from edr.journal import JournalUnusableError, SqliteJournal


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal"


async def emit(bus, n, **options):
    return await bus.emit("app", "1", "ok", "info", {"n": n}, **options)


async def test_what_is_emitted_durably_is_there_when_it_returns(path):
    async with edr.Bus(journal=SqliteJournal(path), node="here") as bus:
        journal = bus._tap.journal
        subscription = bus.subscribe()
        assert await emit(bus, 1, durable=True) == 1
        (entry,) = await all_of(journal)

        assert entry.event == await anext(subscription)
        assert bus.statistics().journal.appended == 1
        await subscription.aclose()


async def test_positions_rise_in_the_order_of_the_emits_of_all_kinds(path):
    async with edr.Bus(journal=SqliteJournal(path, max_pending=20)) as bus:
        journal = bus._tap.journal
        order = []
        subscription = bus.subscribe(capacity=10_000)

        async def emitter(start):
            for n in range(start, start + 50):
                await emit(bus, n, durable=n % 3 == 0)
                if n % 7 == 0:
                    await asyncio.sleep(0)

        await asyncio.gather(*[emitter(start) for start in range(0, 500, 50)])
        order = [(await anext(subscription)).body["n"] for _ in range(500)]
        await journal.flush()

        assert numbers(await all_of(journal)) == order
        await subscription.aclose()


async def test_the_end_of_the_bus_stores_what_was_emitted_and_closes_the_journal(path):
    async with edr.Bus(journal=SqliteJournal(path)) as bus:
        for n in range(100):
            await emit(bus, n)
    async with SqliteJournal(path) as journal:
        assert numbers(await all_of(journal)) == list(range(100))
        assert journal.statistics().last == 100  # closed cleanly: no position was skipped


async def test_a_journal_that_cannot_be_opened_is_told_when_the_bus_begins(path):
    path.write_text("in the way")
    bus = edr.Bus(journal=SqliteJournal(path))
    with pytest.raises(JournalUnusableError):
        await bus.__aenter__()
    await bus.aclose()


@pytest.mark.slow
async def test_a_consumer_of_the_journal_that_hangs_holds_up_no_emit(path):
    async with edr.Bus(journal=SqliteJournal(path)) as bus:
        journal = bus._tap.journal
        async with await journal.consumer("slow", max_unacked=1) as consumer:
            await emit(bus, 0, durable=True)
            await anext(consumer)
            for n in range(1, 5000):
                await emit(bus, n)
            await emit(bus, 5000, durable=True)
            async with journal.cursor(after=0) as reading:
                assert numbers(await take(reading, 5001)) == list(range(5001))


async def test_a_durable_publish_returns_when_the_event_is_stored(path, make_event):
    async with edr.Bus(journal=SqliteJournal(path)) as bus:
        subscription = bus.subscribe()
        event = make_event(body={"n": 1})
        assert await bus.publish(event, durable=True) == 1
        entries = await all_of(bus.journal)

        assert [entry.event for entry in entries] == [event]
        assert await anext(subscription) == event
        await subscription.aclose()


async def test_a_durable_publish_without_a_journal_raises(bus, make_event):
    assert bus.journal is None
    with pytest.raises(ValueError, match="needs a journal"):
        await bus.publish(make_event(), durable=True)


async def test_record_widens_what_the_journal_of_a_running_bus_stores(path):
    async with edr.Bus(journal=SqliteJournal(path, edr.Binding(severity="warning"))) as bus:
        await emit(bus, 1)
        bus.record()
        await emit(bus, 2)
        await bus.journal.flush()

        assert numbers(await all_of(bus.journal)) == [2]
        assert bus.journal.bindings == (edr.Binding.everything(),)
