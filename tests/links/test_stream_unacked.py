"""``Unacked``: each entry is being handled, waits after a nack, or is ready again."""

from math import inf

import pytest

from edr.journal import Entry
from edr.links.stream_retention import EPOCH
from edr.links.stream_unacked import NACK_TOLERANCE, Unacked


@pytest.fixture
def unacked():
    return Unacked()


@pytest.fixture
def entry_at(make_event):
    return lambda position, delivery=1, **fields: Entry(
        position, EPOCH, make_event(**fields), delivery
    )


def test_entry_is_removed_with_the_subject_of_its_last_message(unacked, entry_at):
    unacked.add(entry_at(3), b"ack.3")
    assert unacked.on_message(3, b"ack.again.3", 0.0) is None

    assert unacked.remove(3) == "ack.again.3"
    assert unacked.remove(3) is None


def test_nacked_entry_is_ready_again_after_the_delay(unacked, entry_at):
    unacked.add(entry_at(3), b"ack.3")
    assert unacked.nack(3, 7.0) == "ack.3"

    assert unacked.on_message(3, b"ack.early.3", 2.0) == 5.0
    again = unacked.on_message(3, b"ack.3", 7.0 - NACK_TOLERANCE / 2)
    assert (again.position, again.delivery) == (3, 2)


def test_second_nack_has_no_effect_until_it_is_returned_again(unacked, entry_at):
    unacked.add(entry_at(3), b"ack.3")
    unacked.nack(3, 0.0)
    assert unacked.nack(3, 9.0) is None
    unacked.on_message(3, b"ack.3", 0.0)
    assert unacked.nack(3, 9.0) is None
    assert unacked.is_returned(3)

    assert unacked.nack(3, 9.0) == "ack.3"


def test_entry_acknowledged_while_it_is_ready_is_not_returned(unacked, entry_at):
    unacked.add(entry_at(3, 2), b"ack.3", is_ready=True)
    unacked.remove(3)

    assert not unacked.is_returned(3)


def test_entries_before_the_first_of_the_stream_are_dropped(unacked, entry_at):
    for position in (3, 5, 8):
        unacked.add(entry_at(position), b"ack")

    assert unacked.drop_before(8) == 2
    assert list(unacked) == [8]
    assert (unacked.first(99), Unacked().first(99)) == (8, 99)


def test_keep_drops_entries_and_ready_ones_wait_for_a_message(unacked, entry_at):
    unacked.add(entry_at(3, app_name="rare"), b"ack")
    unacked.add(entry_at(4), b"ack")
    unacked.add(entry_at(5, 2, app_name="rare"), b"ack", is_ready=True)
    unacked.keep(lambda entry: entry.event.app_name == "rare")
    assert list(unacked) == [3, 5]

    assert unacked.on_message(3, b"ack", -inf) is None
    assert unacked.on_message(5, b"ack", 0.0).delivery == 2
