"""The events of a sink: from a journal, or from a subscription."""

import asyncio

import pytest
from contracts.journal import event, events, numbers
from support.consuming import until

import edr
from edr.journal import ConsumerInUseError, SqliteJournal
from edr.sinks import JournalIntake, QueueIntake, Recording

APP, RARE = edr.Binding(app_name="app"), edr.Binding(app_name="rare")


@pytest.fixture
async def journal(tmp_path):
    async with SqliteJournal(tmp_path / "journal", sync="process") as journal:
        yield journal


async def test_a_new_consumer_begins_with_new_events(journal):
    await journal.append(event(1))
    intake = JournalIntake(journal, "sink:a", [APP])
    await intake.open(1)
    await journal.append(event(2))

    assert numbers(await intake.take(10)) == [2]
    await intake.aclose()


async def test_unacknowledged_entries_are_returned_after_a_restart(journal):
    intake = JournalIntake(journal, "sink:a", [APP])
    await intake.open(1)
    await journal.append(*events(1, 2, 3))
    taken = await intake.take(3)
    intake.ack(taken[0])
    await intake.aclose()
    again = JournalIntake(journal, "sink:a", [APP])
    await again.open(1)

    assert numbers(await again.take(10)) == [2, 3]
    await again.aclose()


async def test_a_batch_may_be_larger_than_the_default_of_consumers(journal):
    intake = JournalIntake(journal, "sink:a", [APP])
    await intake.open(2000)
    await journal.append(*events(*range(2000)))
    taken = []
    while len(taken) < 2000:
        taken += await intake.take(2000)

    assert numbers(taken) == list(range(2000))
    await intake.aclose()


async def test_two_sinks_cannot_have_one_consumer(journal):
    intake = JournalIntake(journal, "sink:a")
    await intake.open(1)

    with pytest.raises(ConsumerInUseError):
        await JournalIntake(journal, "sink:a").open(1)
    await intake.aclose()


async def test_behind_is_zero_at_the_end_only(journal):
    intake = JournalIntake(journal, "sink:a", [APP])
    await intake.open(1)
    await journal.append(*events(1, 2))
    before = intake.behind()
    await intake.take(10)
    await journal.append(event(3, "rare"))
    taking = asyncio.ensure_future(intake.take(10))
    await until(lambda: intake.behind() == 0)
    taking.cancel()

    assert before == 2
    await intake.aclose()


async def test_shutdown_leaves_later_entries_to_the_next_start(journal):
    intake = JournalIntake(journal, "sink:a", [APP])
    await intake.open(1)
    await journal.append(*events(1, 2))
    intake.shutdown()
    await journal.append(event(3))
    taken = [await intake.take(1), await intake.take(1), await intake.take(1)]
    for entries in taken:
        intake.ack(*entries)
    await intake.aclose()
    again = JournalIntake(journal, "sink:a", [APP])
    await again.open(1)

    assert [numbers(entries) for entries in taken] == [[1], [2], []]
    assert numbers(await again.take(10)) == [3]
    await again.aclose()


async def test_rebinding_stores_the_new_events_before_it_reads_them(tmp_path):
    """Mutant: rebind without widening what the journal stores."""
    journal = SqliteJournal(tmp_path / "j", sync="process")
    async with edr.Bus(node="test", journal=journal) as bus:
        intake = JournalIntake(journal, "sink:a", [APP], recording=Recording(bus))
        await intake.open(1)
        await bus.publish(event(1, "rare"))
        rebinding = asyncio.ensure_future(intake.rebind(RARE))
        await asyncio.sleep(0)
        while not rebinding.done():
            await bus.publish(event(2, "rare"))
            await bus.publish(event(3))
            await asyncio.sleep(0)
        await bus.publish(event(4, "rare"))
        await bus.publish(event(5))
        await journal.flush()
        stored = numbers([e async for e in journal.cursor(after=0, live=False)])
        taken = []
        while not taken or taken[-1] != 4:  # a slow rebind leaves more than one take
            entries = await intake.take(100)
            intake.ack(*entries)
            taken += numbers(entries)
        await intake.aclose()

        assert stored[0] == 2  # 1 was emitted before
        assert stored[-1] == 4
        assert 3 in stored
        assert taken == [n for n in stored if n in (2, 4)]


async def test_a_queue_drops_the_oldest_and_reports_it(bus):
    intake = QueueIntake(bus, [APP], capacity=2)
    await intake.open(1)
    for n in range(4):
        await bus.publish(event(n))

    assert numbers(await intake.take(10)) == [2, 3]
    assert intake.lost() == {"overflow": 2}


async def test_a_queue_ends_after_its_last_event(bus):
    intake = QueueIntake(bus, [APP])
    await intake.open(1)
    await bus.publish(event(1))
    intake.shutdown()

    assert numbers(await intake.take(10)) == [1]
    assert await intake.take(10) == []


async def test_a_rebound_queue_gets_what_the_new_bindings_match(bus):
    intake = QueueIntake(bus, [APP])
    await intake.open(1)
    await intake.rebind(RARE)
    await bus.publish(event(1))
    await bus.publish(event(2, "rare"))

    assert numbers(await intake.take(10)) == [2]
    assert intake.bindings == (RARE,)
