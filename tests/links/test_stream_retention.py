"""``RetentionBounds``: a loss is excluded only where retention cannot have caused it."""

from datetime import timedelta

import pytest

from edr.links.stream_retention import EPOCH, MAX_REMOVAL_RATE, RetentionBounds

DAY = timedelta(days=1)


def make_bounds(**config):
    bounds = RetentionBounds()
    defaults = {"discard": "old", "max_bytes": -1, "max_msgs": -1, "max_age": 0}
    info = {
        "config": defaults | config,
        "state": {"first_seq": 11, "last_seq": 20},
        "ts": "2026-01-02T00:00:00+00:00",
    }
    bounds.note(info, asked_at=100.0)
    return bounds


@pytest.mark.parametrize(
    ("config", "can_remove"),
    [
        ({}, False),
        ({"max_bytes": 1000}, True),
        ({"max_msgs": 10}, True),
        ({"max_age": 10**9}, True),
        ({"max_msgs": 10, "discard": "new"}, False),
    ],
)
def test_retention_removes_entries_only_under_a_limit(config, can_remove):
    assert make_bounds(**config).can_remove is can_remove


def test_entries_before_the_first_are_not_kept():
    bounds = make_bounds()

    assert bounds.keeps_all_after(10, EPOCH, now=1e9)
    assert not bounds.keeps_all_after(9, EPOCH, now=100.0)


def test_bounded_stream_keeps_what_removal_cannot_have_reached():
    bounds = make_bounds(max_msgs=10)
    position = 10 + MAX_REMOVAL_RATE

    assert bounds.keeps_all_after(position, EPOCH, now=101.0)
    assert not bounds.keeps_all_after(position, EPOCH, now=101.1)


def test_entries_are_kept_until_they_reach_the_age():
    bounds = make_bounds(max_age=86_400 * 10**9)
    recorded_at = bounds.at - DAY + timedelta(seconds=5)

    assert bounds.keeps_all_after(15, recorded_at, now=104.0)
    assert not bounds.keeps_all_after(15, recorded_at, now=105.0)
