import pytest
from hypothesis import given
from hypothesis import strategies as st

from edr.app.config.quantities import (
    DAY,
    byte_size,
    duration,
    duration_text,
    number,
    or_unlimited,
    size_text,
    whole_number,
)

size, time = byte_size(0), duration(0)


@pytest.mark.parametrize(
    ("text", "found"),
    [(5, 5), ("5", 5), ("5 B", 5), ("1KiB", 1024), (" 1.5 MiB ", 1572864), ("2 GiB", 2 << 30)],
)
def test_a_size(text, found):
    assert size.check(text, None) == found


@pytest.mark.parametrize("text", ["", "1 MB", "1 mib", "-1", -1, 1.5, True, None, "0.3 B", "1e3"])
def test_a_size_that_is_refused(text):
    with pytest.raises(ValueError, match="must be"):
        size.check(text, None)


@pytest.mark.parametrize(
    ("text", "found"),
    [(1.5, 1.5), ("30s", 30), ("1h 30m", 5400), ("1h30m", 5400), ("0.5 d", 43200), (0, 0)],
)
def test_a_duration(text, found):
    assert time.check(text, None) == found


@pytest.mark.parametrize(
    "text", ["", "5", "1 week", "m", -1, True, None, float("nan"), float("inf"), 10**400, "1.2.3s"]
)
def test_a_duration_that_is_refused(text):
    with pytest.raises(ValueError, match="must be"):
        time.check(text, None)


@given(st.integers(0, 1 << 50))
def test_a_size_is_written_as_it_is_read(found):
    assert size.check(size_text(found), None) == found


@given(st.floats(0, 3650 * DAY) | st.integers(0, 3650 * DAY).map(float))
def test_a_duration_is_written_as_it_is_read(found):
    assert time.check(duration_text(found), None) == found


def test_a_range_is_named():
    with pytest.raises(ValueError, match=r"must be from 4 KiB to 1 MiB, got '2 MiB'"):
        byte_size(4096, 1 << 20).check("2 MiB", None)
    with pytest.raises(ValueError, match=r"must be from 1 s to 60 s, got 0"):
        duration(1, 60).check(0, None)


@pytest.mark.parametrize("value", [True, 1.0, "1", None, 11, -1])
def test_a_whole_number_is_one_of_its_range(value):
    with pytest.raises(ValueError, match="must be a whole number from 0 to 10"):
        whole_number(0, 10).check(value, None)


@pytest.mark.parametrize("value", [True, "1", None, 11, float("nan")])
def test_a_number_is_one_of_its_range(value):
    with pytest.raises(ValueError, match="must be a number from 0 to 10"):
        number(0, 10).check(value, None)


def test_unlimited_is_none():
    limit = or_unlimited(time)

    assert limit.check("unlimited", None) is None
    assert limit.write(None) == "unlimited"
    assert limit.check("1m", None) == 60
