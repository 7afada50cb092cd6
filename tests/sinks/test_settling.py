"""Settling: acknowledged after it is delivered or stored, and counted."""

import asyncio
import logging
from datetime import UTC, datetime

import pytest
from contracts.journal import event
from support.sinks import MemoryIntake, MemoryLog

import edr
from edr.delivery import FaultLog
from edr.journal import Entry, JournalError
from edr.sinks import DeadLetters, RetryError
from edr.sinks.alerts import Alerts
from edr.sinks.sending import Refused
from edr.sinks.settling import Settlement


@pytest.fixture
def intake():
    return MemoryIntake(MemoryLog())


@pytest.fixture
def settlement(intake, tmp_path):
    log = FaultLog("sink 's'", logging.getLogger("edr.sinks"))
    letters = DeadLetters(tmp_path / "s.jsonl")
    return Settlement("s", intake, letters, Alerts(None, "sink", "s", log), log)


def entries(*numbers):
    return [Entry(n, datetime.now(UTC), event(n)) for n in numbers]


def numbers_of(letters):
    return [letter.event.body["n"] for letter in letters.read()]


def test_delivered_entries_are_counted_and_acknowledged(settlement, intake):
    settlement.deliver(entries(1, 2))

    assert (settlement.delivered, intake.log.acked) == (2, [1, 2])


def test_refused_entries_are_counted_by_reason(settlement, intake):
    first, second, third = entries(1, 2, 3)
    refused = [Refused(first, "bad", 1), Refused(second, "old", 1, True), Refused(third, "bad", 1)]

    asyncio.run(settlement.refuse(refused))

    assert settlement.lost() == {"rejected": 2, "expired": 1}
    assert settlement.rejected == 3
    assert (intake.log.acked, numbers_of(settlement.dead_letters)) == ([1, 2, 3], [1, 2, 3])


def test_entries_that_cannot_be_stored_are_not_acknowledged(settlement, intake, tmp_path):
    (tmp_path / "file").touch()
    settlement.dead_letters = DeadLetters(tmp_path / "file" / "s.jsonl")

    with pytest.raises(RetryError, match="dead letters cannot be stored"):
        asyncio.run(settlement.refuse([Refused(*entries(1), "bad", 1)]))

    assert (intake.log.acked, settlement.rejected) == ([], 0)


def test_delivered_letters_are_removed_and_not_acknowledged(settlement, intake):
    first, second = entries(1, 2)

    async def scenario():
        await settlement.refuse([Refused(first, "bad", 1), Refused(second, "bad", 1)])
        intake.log.acked.clear()
        await settlement.deliver_letters([first])

    asyncio.run(scenario())

    assert (numbers_of(settlement.dead_letters), intake.log.acked) == ([2], [])


def test_a_failed_acknowledgement_is_logged(settlement, intake, caplog, monkeypatch):
    def ack(*entries):
        raise JournalError("closed")

    monkeypatch.setattr(intake, "ack", ack)

    settlement.ack(entries(1))

    assert "could not acknowledge events: closed" in caplog.text


def test_events_in_memory_are_lost_at_the_end(settlement, caplog):
    settlement.drop(0)
    quiet = not caplog.text
    settlement.drop(3)

    assert quiet
    assert settlement.lost() == {"closed": 3}
    assert "closed and dropped 3 undelivered events" in caplog.text


def test_missed_entries_are_logged(settlement, caplog):
    async def scenario():
        settlement.missed(edr.Gap(7))

    asyncio.run(scenario())

    assert "missed 7 entries, which the journal removed" in caplog.text
