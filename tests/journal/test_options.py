"""The arguments of cursors and consumers, the same for each journal."""

from datetime import UTC, datetime, timedelta

import pytest

from edr.journal.options import check_consumer, check_start


@pytest.mark.parametrize(
    "start",
    [
        {},
        {"after": 0},
        {"last": 5},
        {"since": timedelta(hours=1)},
        {"since": datetime(2020, 1, 1, tzinfo=UTC)},
    ],
    ids=str,
)
def test_a_start_is_one_place_or_none(start):
    check_start(**dict.fromkeys(("after", "since", "last")) | start)


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        ({"after": 1, "last": 1}, "at most one of after, since and last must be given"),
        ({"after": -1}, "after must be an integer of at least 0, got -1"),
        ({"last": True}, "last must be an integer of at least 0, got True"),
        ({"since": datetime(2020, 1, 1)}, "since must be an aware datetime or a timedelta"),
        ({"since": "1h"}, "since must be an aware datetime or a timedelta, got '1h'"),
    ],
    ids=str,
)
def test_a_start_that_is_refused(start, reason):
    with pytest.raises(ValueError, match=reason):
        check_start(**dict.fromkeys(("after", "since", "last")) | start)


@pytest.mark.parametrize("start", ["oldest", "now", 0, 7])
def test_a_consumer_starts_at_a_word_or_a_position(start):
    check_consumer("audit", start, 1)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("", "now", 1), "a consumer's name must be"),
        (("a", "newest", 1), "start must be an integer of at least 0, got 'newest'"),
        (("a", -1, 1), "start must be an integer of at least 0, got -1"),
        (("a", "now", 0), "max_unacked must be an integer of at least 1, got 0"),
    ],
)
def test_a_consumer_that_is_refused(arguments, reason):
    with pytest.raises(ValueError, match=reason):
        check_consumer(*arguments)
