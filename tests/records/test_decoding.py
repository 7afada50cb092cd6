"""``decoded`` and ``completed`` accept only what pydantic accepts, and read it as pydantic does."""

from copy import deepcopy
from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import events, json_values

from edr import Event, InvalidEventError
from edr.records.body import FrozenDict, FrozenList
from edr.records.decoding import completed, decoded

FIELDS = sorted(Event.model_fields)
TIMES = (
    "2026-01-01T00:00:00Z",
    "2026-01-01T00:00:00.5Z",
    "2026-01-01T00:00:00.000001Z",
    "2026-01-01T00:00:00,000001Z",
    "2026-01-01T24:00:00Z",
    "2026-W01-1T00:00:00Z",
    "2026-02-30T00:00:00Z",
    "2026-01-01 00:00:00Z",
    "2026-01-01T00:00:00+02:00",
    "2026-01-01T00:00:00",
    "2026-01-01T00:00+00:00Z",
    "20260101T00:00:00.00000000Z",
    "0000-01-01T00:00:00Z",
    "",
)


NOW = datetime(2026, 1, 2, tzinfo=UTC)


def read_by_pydantic(document):
    return Event.model_validate_json(document, extra="ignore")


def check_agreement(document):
    """Check that both read the same event, or that pydantic alone reads one, or none does."""
    read = decoded(document)
    if read is not None:
        fields, names = read
        expected = read_by_pydantic(document)
        assert fields == expected.__dict__
        assert list(map(type, fields.values())) == list(map(type, expected.__dict__.values()))
        assert list(fields) == list(expected.__dict__)
        assert names == expected.model_fields_set


def check_completed(document):
    """Check that ``completed`` reads the event that pydantic reads, or none."""
    read = completed(deepcopy(document), NOW)
    if read is not None:
        fields, names = read
        expected = Event.model_validate({"timestamp": NOW, **document}, extra="ignore")
        assert fields == expected.__dict__
        assert list(map(type, fields.values())) == list(map(type, expected.__dict__.values()))
        assert names == expected.model_fields_set | (set(FIELDS) - {"traceparent"})


@given(events)
def test_decoded_reads_everything_that_to_json_writes(event):
    assert decoded(event.to_json()) is not None
    check_agreement(event.to_json())


@given(events, st.sampled_from(FIELDS), json_values)
def test_decoded_agrees_with_pydantic_on_a_changed_field(event, field, value):
    check_agreement(orjson.dumps(orjson.loads(event.to_json()) | {field: value}))


@given(events, st.sampled_from(FIELDS), st.text(max_size=3) | st.none() | st.lists(st.text()))
def test_decoded_agrees_with_pydantic_on_a_short_value(event, field, value):
    check_agreement(orjson.dumps(orjson.loads(event.to_json()) | {field: value}))


@pytest.mark.parametrize("field", FIELDS)
def test_decoded_agrees_with_pydantic_on_a_missing_field(make_event, field):
    fields = orjson.loads(make_event().to_json())
    fields.pop(field, None)

    check_agreement(orjson.dumps(fields))


@given(events, st.sets(st.sampled_from(["account_id", "account_tree", "timestamp", "traceparent"])))
def test_completed_reads_an_event_without_some_fields(event, missing):
    document = orjson.loads(event.to_json())
    document = {name: value for name, value in document.items() if name not in missing}

    assert completed(deepcopy(document), NOW) is not None
    check_completed(document)


@given(events, st.sampled_from(FIELDS), json_values | st.text(max_size=3) | st.lists(st.text()))
def test_completed_agrees_with_pydantic_on_a_changed_field(event, field, value):
    check_completed(orjson.loads(event.to_json()) | {field: value, "later": value})


@pytest.mark.parametrize("time", TIMES)
def test_decoded_agrees_with_pydantic_on_a_time(make_event, time):
    fields = orjson.loads(make_event().to_json())

    check_agreement(orjson.dumps(fields | {"timestamp": time}))


@pytest.mark.parametrize(
    "value",
    [
        "1e999",
        "NaN",
        "18446744073709551616",
        "-9223372036854775809",
        '"\\ud800"',
        "[" * 128 + "]" * 128,
    ],
)
def test_decoded_refuses_a_value_that_no_body_may_have(make_event, value):
    document = make_event(body={"x": "here"}).to_json().replace(b'"here"', value.encode())

    assert decoded(document) is None
    with pytest.raises(InvalidEventError):
        Event.from_json(document)


@pytest.mark.parametrize("value", ["18446744073709551615", "-9223372036854775808", "-0.0", "1e308"])
def test_decoded_keeps_the_largest_numbers(make_event, value):
    document = make_event(body={"x": "here"}).to_json().replace(b'"here"', value.encode())

    assert decoded(document) is not None
    check_agreement(document)


def test_decoded_freezes_every_container(make_event):
    fields, _ = decoded(make_event(body={"a": {"b": [[1], {"c": 2}]}}).to_json())

    array = fields["body"]["a"]["b"]
    assert type(fields["body"]["a"]) is FrozenDict
    assert [type(each) for each in (array, *array)] == [FrozenList, FrozenList, FrozenDict]


@pytest.mark.parametrize("document", [b"", b"[]", b"1", b'"text"', b"null", b"{", b"\xff", "{}"])
def test_decoded_returns_none_for_other_json(document):
    assert decoded(document) is None
