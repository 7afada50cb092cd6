"""The outbox in a journal, by itself."""

import asyncio
from datetime import UTC, datetime

import pytest
from support.consuming import until
from support.shuffled_loop import run

import edr
from edr.bus import Gap
from edr.delivery import JournalOutbox
from edr.journal import ConsumerInUseError, Entry, JournalError, SqliteJournal


def event_of(n, node="here"):
    fields = {"app_name": "app", "app_version": "1", "severity": "ok", "verbosity": "info"}
    return edr.Event(**fields, body={"n": n}, node=node)


@pytest.fixture
async def journal(tmp_path):
    async with SqliteJournal(tmp_path / "journal") as journal:
        yield journal


async def open_outbox(journal, *, node=None, errors=None):
    return await JournalOutbox.open(
        journal, "out", [edr.Binding()], node=node, on_error=(errors or []).append
    )


async def take(outbox):
    event = await outbox.peek()
    return event.body["n"], outbox.take()


def is_balanced(outbox):
    counts = outbox.statistics()
    return counts.offered == counts.sent + sum(counts.dropped.values()) + counts.pending


async def test_confirmed_events_are_not_sent_after_a_restart(journal):
    outbox = await open_outbox(journal)
    await journal.append(*map(event_of, range(4)))
    _, tag = await take(outbox)
    await take(outbox)
    await take(outbox)
    outbox.confirm(tag)
    outbox.confirm_oldest(1)
    assert is_balanced(outbox)
    assert await outbox.remaining() == 2
    await outbox.aclose()

    again = await open_outbox(journal)
    assert [(await take(again))[0] for _ in range(2)] == [2, 3]
    await again.aclose()


async def test_events_in_flight_at_a_loss_are_sent_again_in_their_order(journal):
    outbox = await open_outbox(journal)
    await journal.append(*map(event_of, range(3)))
    await take(outbox)
    await take(outbox)
    await outbox.peek()
    outbox.on_connection_lost()
    assert (outbox.in_flight, outbox.pending) == (0, 3)

    assert [(await take(outbox))[0] for _ in range(3)] == [0, 1, 2]
    assert outbox.statistics().uncertain == 0
    assert is_balanced(outbox)
    await outbox.aclose()


async def test_events_of_other_nodes_are_skipped_and_counted(journal):
    outbox = await open_outbox(journal, node="here")
    await journal.append(event_of(1, node="there"), event_of(2))
    assert (await take(outbox))[0] == 2

    counts = outbox.statistics()
    assert (counts.offered, counts.skipped) == (1, 1)
    await outbox.aclose()


async def test_dropped_events_are_acknowledged_and_counted_by_reason(journal):
    outbox = await open_outbox(journal)
    await journal.append(*map(event_of, range(3)))
    await outbox.peek()
    outbox.drop("invalid")
    _, tag = await take(outbox)
    outbox.give_up(tag, "refused")
    await take(outbox)
    outbox.settle_oldest(1, 1, "refused")

    assert outbox.statistics().dropped == {"invalid": 1, "refused": 2}
    assert is_balanced(outbox)
    await asyncio.wait_for(outbox.drain(), 5)
    assert await outbox.remaining() == 0
    await outbox.aclose()


async def test_drain_waits_for_each_event_that_the_journal_is_about_to_store(journal):
    outbox = await open_outbox(journal)
    for n in range(3):
        journal.append_nowait(event_of(n))
    draining = asyncio.create_task(outbox.drain())
    for _ in range(3):
        await take(outbox)
    await asyncio.sleep(0.05)
    assert not draining.done()
    outbox.confirm_oldest(3)
    await until(draining.done)
    assert await outbox.peek() is None
    await outbox.aclose()


async def test_one_name_belongs_to_one_outbox(journal):
    outbox = await open_outbox(journal)
    with pytest.raises(ConsumerInUseError):
        await open_outbox(journal)
    await outbox.aclose()


class FailingConsumer:
    """Fails ``faults`` times and then returns one event."""

    position = 0

    def __init__(self, faults):
        self.faults = faults

    async def take(self, _limit):
        if self.faults:
            self.faults -= 1
            raise JournalError("the disk is gone")
        return [Entry(1, datetime.now(UTC), event_of(1))]


def test_a_journal_that_cannot_be_read_is_read_again_after_growing_delays():
    async def main():
        errors = []
        outbox = JournalOutbox(None, FailingConsumer(10), None, errors.append)
        assert (await take(outbox))[0] == 1
        assert [str(each) for each in errors] == ["the disk is gone"] * 10
        return asyncio.get_running_loop().time()

    assert run(main) == pytest.approx(0.05 * 63 + 4 * 2.0, abs=2.0)


async def test_drain_after_a_restart_waits_for_entries_that_were_read_before(journal):
    outbox = await open_outbox(journal)
    await journal.append(*map(event_of, range(3)))
    await take(outbox)
    await outbox.aclose()
    again = await open_outbox(journal)
    draining = asyncio.create_task(again.drain())
    await asyncio.sleep(0.05)
    assert not draining.done()
    assert [(await take(again))[0] for _ in range(3)] == [0, 1, 2]
    again.confirm_oldest(3)
    await asyncio.wait_for(draining, 5)
    await again.aclose()


async def test_closed_journal_ends_the_outbox(journal):
    outbox = await open_outbox(journal)
    peeking = asyncio.create_task(outbox.peek())
    await asyncio.sleep(0)
    await journal.aclose()
    assert await peeking is None
    assert await outbox.peek() is None


async def test_entries_that_were_read_ahead_come_again_after_a_restart(journal):
    outbox = await open_outbox(journal)
    await journal.append(*map(event_of, range(100)))
    for _ in range(10):
        await take(outbox)
    outbox.confirm_oldest(10)
    assert outbox.pending > 0
    assert is_balanced(outbox)
    await outbox.aclose()
    again = await open_outbox(journal)
    assert [(await take(again))[0] for _ in range(90)] == list(range(10, 100))
    await again.aclose()


async def test_reasons_without_an_event_are_not_reported(journal):
    outbox = await open_outbox(journal)
    await journal.append(event_of(0))
    await take(outbox)
    outbox.settle_oldest(1, 0, "not_permitted")

    assert outbox.statistics().dropped == {}
    assert outbox.statistics().sent == 1
    await outbox.aclose()


class Letters:
    """Keeps dropped entries while the disk has room."""

    def __init__(self, *, has_room=True):
        self.has_room = asyncio.Event()
        if has_room:
            self.has_room.set()
        self.attempts = 0
        self.kept = []

    async def keep(self, dropped):
        self.attempts += 1
        if not self.has_room.is_set():
            raise OSError("disk full")
        self.kept += [(entry.event.body["n"], text) for entry, text in dropped]


async def open_with(journal, letters):
    return await JournalOutbox.open(
        journal, "out", [edr.Binding()], node=None, on_error=print, keep_dropped=letters.keep
    )


async def test_dropped_events_are_kept_with_the_words_of_the_receiver(journal):
    letters = Letters()
    outbox = await open_with(journal, letters)
    await journal.append(*map(event_of, range(2)))
    await outbox.peek()
    outbox.drop("invalid", "no key")
    _, tag = await take(outbox)
    outbox.give_up(tag, "refused")
    await until(lambda: not outbox.pending)

    assert letters.kept == [(0, "invalid: no key"), (1, "refused")]
    assert is_balanced(outbox)
    await outbox.aclose()


async def test_an_event_that_is_not_kept_is_not_acknowledged(journal, monkeypatch):
    monkeypatch.setattr("edr.delivery.dropped_entries.CLOSE_TIMEOUT", 0.01)
    letters = Letters(has_room=False)
    outbox = await open_with(journal, letters)
    await journal.append(event_of(0))
    await outbox.peek()
    outbox.drop("invalid")
    await until(lambda: letters.attempts)
    assert (outbox.pending, outbox.statistics().dropped) == (1, {})
    await outbox.aclose()

    again = await open_with(journal, letters)
    assert (await asyncio.wait_for(take(again), 5))[0] == 0
    await again.aclose()


async def test_an_event_is_kept_once_the_disk_has_room(journal, monkeypatch):
    monkeypatch.setattr("edr.delivery.dropped_entries.FIRST_DELAY", 0.001)
    letters = Letters(has_room=False)
    outbox = await open_with(journal, letters)
    await journal.append(event_of(0))
    await outbox.peek()
    outbox.drop("invalid")
    await until(lambda: letters.attempts)
    letters.has_room.set()
    await until(lambda: not outbox.pending)

    assert letters.kept == [(0, "invalid")]
    await outbox.aclose()


async def test_events_that_may_be_refused_are_kept_all(journal):
    letters = Letters()
    outbox = await open_with(journal, letters)
    await journal.append(*map(event_of, range(3)))
    for _ in range(3):
        await take(outbox)
    outbox.settle_oldest(3, 1, "not_permitted")
    await until(lambda: not outbox.pending)

    assert [n for n, _ in letters.kept] == [0, 1, 2]
    assert (outbox.statistics().sent, outbox.statistics().dropped) == (2, {"not_permitted": 1})
    await outbox.aclose()


class WithAGap:
    """A consumer that returns a gap before its entries."""

    def __init__(self, consumer):
        self._consumer = consumer
        self._gaps = [Gap(3)]

    def __getattr__(self, name):
        return getattr(self._consumer, name)

    async def take(self, count):
        gaps, self._gaps = self._gaps, []
        return [*gaps, *await self._consumer.take(count)]


async def test_entries_that_retention_removed_are_counted(journal):
    consumer = WithAGap(await journal.consumer("out", edr.Binding()))
    outbox = JournalOutbox(journal, consumer, None, print)
    await journal.append(event_of(0))
    assert (await take(outbox))[0] == 0

    assert outbox.statistics().dropped == {"retention": 3}
    assert is_balanced(outbox)
    await outbox.aclose()
