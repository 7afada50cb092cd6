from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edr.app.config import Secret
from edr.app.config.values import (
    DAY,
    any_of,
    byte_size,
    check_url,
    choice,
    duration,
    duration_text,
    number,
    or_unlimited,
    plain_text,
    secret,
    size_text,
    url_with,
    whole_number,
)

INFO = SimpleNamespace(context={"folder": Path("/etc/edr")})
size, time = byte_size(0), duration(0)


@pytest.mark.parametrize(
    ("text", "found"),
    [(5, 5), ("5", 5), ("5 B", 5), ("1KiB", 1024), (" 1.5 MiB ", 1572864), ("2 GiB", 2 << 30)],
)
def test_a_size(text, found):
    assert size.check(text, INFO) == found


@pytest.mark.parametrize("text", ["", "1 MB", "1 mib", "-1", -1, 1.5, True, None, "0.3 B", "1e3"])
def test_a_size_that_is_refused(text):
    with pytest.raises(ValueError, match="must be"):
        size.check(text, INFO)


@pytest.mark.parametrize(
    ("text", "found"),
    [(1.5, 1.5), ("30s", 30), ("1h 30m", 5400), ("1h30m", 5400), ("0.5 d", 43200), (0, 0)],
)
def test_a_duration(text, found):
    assert time.check(text, INFO) == found


@pytest.mark.parametrize(
    "text", ["", "5", "1 week", "m", -1, True, None, float("nan"), float("inf"), 10**400, "1.2.3s"]
)
def test_a_duration_that_is_refused(text):
    with pytest.raises(ValueError, match="must be"):
        time.check(text, INFO)


@given(st.integers(0, 1 << 50))
def test_a_size_is_written_as_it_is_read(found):
    assert size.check(size_text(found), INFO) == found


@given(st.floats(0, 3650 * DAY) | st.integers(0, 3650 * DAY).map(float))
def test_a_duration_is_written_as_it_is_read(found):
    assert time.check(duration_text(found), INFO) == found


def test_a_range_is_named():
    with pytest.raises(ValueError, match=r"must be from 4 KiB to 1 MiB, got '2 MiB'"):
        byte_size(4096, 1 << 20).check("2 MiB", INFO)
    with pytest.raises(ValueError, match=r"must be from 1 s to 60 s, got 0"):
        duration(1, 60).check(0, INFO)


@pytest.mark.parametrize("value", [True, 1.0, "1", None, 11, -1])
def test_a_whole_number_is_one_of_its_range(value):
    with pytest.raises(ValueError, match="must be a whole number from 0 to 10"):
        whole_number(0, 10).check(value, INFO)


@pytest.mark.parametrize("value", [True, "1", None, 11, float("nan")])
def test_a_number_is_one_of_its_range(value):
    with pytest.raises(ValueError, match="must be a number from 0 to 10"):
        number(0, 10).check(value, INFO)


def test_unlimited_is_none():
    limit = or_unlimited(time)

    assert limit.check("unlimited", INFO) is None
    assert limit.write(None) == "unlimited"
    assert limit.check("1m", INFO) == 60


def test_a_choice_names_the_nearest():
    with pytest.raises(ValueError, match="must be post, put or patch, got 'pots'; did you mean"):
        choice("post", "put", "patch").check("pots", INFO)


@pytest.mark.parametrize(
    ("options", "text"), [(["a"], "a"), (["a", "b"], "a or b"), (["a", "b", "c"], "a, b or c")]
)
def test_any_of(options, text):
    assert any_of(options) == text


@pytest.mark.parametrize("value", ["a\nb", "\x7f", "\ud800", "", 5, "x" * 4097])
def test_text_that_is_refused(value):
    with pytest.raises(ValueError, match="must") as raised:
        plain_text(value)

    assert str(raised.value).isprintable()


def test_a_secret_file_is_relative_to_the_configuration():
    assert secret({"file": "a"}, INFO) == Secret(file=Path("/etc/edr/a"))


@pytest.mark.parametrize(
    "value", ["CANARY", {"env": "CANARY-1"}, {"CANARY": "env"}, {"env": "A", "file": "CANARY"}, 5]
)
def test_a_secret_that_is_refused_is_not_shown(value):
    with pytest.raises(ValueError, match="must be") as raised:
        secret(value, INFO)

    assert "CANARY" not in str(raised.value)


@pytest.mark.parametrize(
    "value",
    [
        "https://user:CANARY@host",
        "https://user@CANARY",
        "ftp://CANARY",
        "CANARY",
        "https://user:CA/NARY@host",
        "https://[CANARY",
        "https://host:CANARY",
        "https://",
        "https://a b/CANARY",
        "https://a/\nCANARY",
    ],
)
def test_a_url_that_is_refused_is_not_shown(value):
    with pytest.raises(ValueError, match="must") as raised:
        url_with("http", "https").check(value, INFO)

    assert "CANARY" not in str(raised.value)
    assert "NARY" not in str(raised.value)


def test_a_url_is_kept():
    assert url_with("https").check("HTTPS://a:1/b?c=d", INFO) == "HTTPS://a:1/b?c=d"
    assert check_url("https://a", ["https"]) is None
