"""Pauses between attempts."""

from edr._util.backoff import Backoff


def test_pauses_double_up_to_the_longest():
    pauses = Backoff(1.0, 5.0)

    assert [pauses.next() for _ in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_reset_starts_over():
    pauses = Backoff(0.5, 5.0)
    pauses.next()
    pauses.reset()

    assert pauses.next() == 0.5


def test_first_pause_is_at_most_the_longest():
    assert Backoff(60.0, 30.0).next() == 30.0


def test_no_first_pause_is_no_pause_at_all():
    pauses = Backoff(0.0, 30.0)

    assert [pauses.next() for _ in range(3)] == [0.0, 0.0, 0.0]
