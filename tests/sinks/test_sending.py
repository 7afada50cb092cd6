"""The parts of a batch that is not delivered at once."""

from datetime import UTC, datetime

import pytest
from contracts.journal import event, numbers

from edr.journal import Entry
from edr.sinks import RejectError
from edr.sinks.sending import Sending

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def sending_of(count):
    return Sending([Entry(n, NOW, event(n)) for n in range(count)])


def sent(sending, answer):
    """Send all parts; ``answer(numbers)`` returns an error or None. Return each attempt."""
    attempts = []
    while sending.has_parts:
        batch = numbers(sending.first)
        attempts.append(batch)
        sending.began()
        error = answer(batch)
        if error is None:
            sending.delivered()
        else:
            sending.rejected(error)
    return attempts


def refused(sending):
    return [(each.entry.event.body["n"], each.reason, each.attempts) for each in sending.refused]


def test_a_delivered_batch_is_done():
    sending = sending_of(3)

    assert numbers(sending.delivered()) == [0, 1, 2]
    assert not sending


def test_a_refused_batch_is_sent_one_by_one():
    sending = sending_of(3)
    attempts = sent(sending, lambda batch: RejectError("bad") if 1 in batch else None)

    assert attempts == [[0, 1, 2], [0], [1], [2]]
    assert refused(sending) == [(1, "bad", 2)]


def test_a_batch_that_is_too_large_is_halved():
    sending = sending_of(5)
    too_large = RejectError("413", too_large=True)
    attempts = sent(sending, lambda batch: too_large if len(batch) > 2 or 4 in batch else None)

    assert attempts == [[0, 1, 2, 3, 4], [0, 1, 2], [0, 1], [2], [3, 4], [3], [4]]
    assert refused(sending) == [(4, "413", 3)]


def test_named_events_are_refused_and_the_others_sent_again():
    sending = sending_of(4)
    answers = [RejectError({1: "x", 3: "y"}), None]
    attempts = sent(sending, lambda _: answers.pop(0))

    assert attempts == [[0, 1, 2, 3], [0, 2]]
    assert refused(sending) == [(1, "x", 1), (3, "y", 1)]


def test_the_others_are_not_sent_again_if_the_sink_delivered_them():
    sending = sending_of(3)
    sending.began()

    assert numbers(sending.rejected(RejectError({1: "x"}, delivered=True))) == [0, 2]
    assert not sending.has_parts


@pytest.mark.parametrize("indexes", [{}, {7: "x"}, {-1: "x"}])
def test_a_rejection_of_no_event_ends_too(indexes):
    sending = sending_of(2)
    attempts = sent(sending, lambda _: RejectError(indexes))

    assert attempts == [[0, 1], [0], [1]]
    assert [each[0] for each in refused(sending)] == [0, 1]


def test_expired_entries_are_given_up_with_the_last_error():
    sending = sending_of(3)
    sending.expire(lambda entry: entry.position < 2, "503")

    assert numbers(sending.first) == [2]
    assert refused(sending) == [(n, "not delivered in time: 503", 0) for n in (0, 1)]
    assert all(each.is_expired for each in sending.refused)


def test_removed_entries_are_not_sent():
    sending = sending_of(3)
    sending.rejected(RejectError("bad"))

    assert numbers(sending.remove(lambda entry: entry.position == 1)) == [1]
    assert sent(sending, lambda _: None) == [[0], [2]]
