"""``Start``: the place where a cursor starts, checked."""

from datetime import UTC, datetime, timedelta

import pytest

from edr.links.stream_start import Start, start_of


@pytest.mark.parametrize(
    "wrong",
    [
        {"after": 1, "last": 1},
        {"after": -1},
        {"last": -1},
        {"since": timedelta(seconds=-1)},
        {"since": datetime(2020, 1, 1)},
    ],
    ids=str,
)
def test_start_of_refuses_wrong_starts(wrong):
    with pytest.raises(ValueError, match="must"):
        start_of(**dict.fromkeys(("after", "since", "last")) | wrong)


def test_start_without_a_place_is_now():
    assert start_of(None, None, None).is_now
    assert not start_of(0, None, None).is_now


def test_start_since_a_duration_is_a_time():
    start = start_of(None, timedelta(hours=1), None)

    assert abs(datetime.now(UTC) - timedelta(hours=1) - start.since) < timedelta(minutes=1)
    assert start == Start(None, start.since, None)
