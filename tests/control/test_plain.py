import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

import edr
from edr.control import plain as module
from edr.control.plain import plain, text

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.text(st.characters(exclude_categories=()))
    | st.datetimes()
    | st.timedeltas(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
)


@given(VALUES)
def test_every_value_becomes_json(value):
    assert json.loads(orjson.dumps(plain(value))) == plain(value)


@pytest.mark.parametrize(
    "url",
    [
        "amqp://user:secret@host/x",
        "nats://secret@host",
        "amqp://user:sec/ret@host",
        "amqp://user:sec#re@t@host",
        "cannot connect to 'postgresql+psycopg://u:secret@db:5432/app': timeout",
    ],
)
def test_the_user_and_the_password_of_a_url_are_not_shown(url):
    shown = text(url)

    assert "sec" not in shown
    assert "user" not in shown
    assert "://…@" in shown


def test_other_text_is_not_changed():
    for each in ("https://host/path", "a@b.example", "12 @ 3", "grüße \u2028"):
        assert text(each) == each


def test_a_long_text_is_cut_after_its_password_was_removed():
    url = f"{'x' * (module.MAX_TEXT - 20)} amqp://user:{'s' * 100}@host"

    assert "sss" not in text(url)
    assert len(text("x" * 10**6)) == module.MAX_TEXT + 1


def test_text_takes_time_in_proportion_to_its_length():
    text("a" * 10**7 + "@")
    text("a://" * 10**6 + "@")


def test_large_and_deep_values_are_cut():
    deep = []
    for _ in range(10_000):
        deep = [deep]

    assert len(plain(range(10**9))) == module.MAX_ITEMS
    assert orjson.dumps(plain(deep)).count(b"[") < 200
    assert plain(2**70) == str(2**70)
    assert plain(math.inf) is None


@dataclass
class Counts:
    lost: dict
    state: edr.Severity


class Position(NamedTuple):
    at: int


def test_objects_of_the_program_become_objects():
    assert plain(Counts({"full": 2}, edr.Severity.OK)) == {"lost": {"full": 2}, "state": "ok"}
    assert plain(Position(3)) == {"at": 3}
    assert plain({"t": datetime(2026, 1, 1, tzinfo=UTC), "d": timedelta(seconds=2)}) == {
        "t": "2026-01-01T00:00:00+00:00",
        "d": 2.0,
    }
    assert plain(object).startswith("<class")
