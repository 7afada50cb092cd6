import copy
import pickle
from datetime import UTC, datetime, timedelta, timezone

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import json_values

from edr import Event, InvalidEvent, Severity, Verbosity
from edr.records.body import FrozenDict
from edr.records.event import Template

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5)
events = st.builds(
    Event,
    app_name=names,
    app_version=names,
    severity=st.sampled_from(Severity),
    verbosity=st.sampled_from(Verbosity),
    body=st.dictionaries(st.text("abc", max_size=2), json_values, max_size=3),
    account_id=st.none() | names,
    account_tree=st.lists(names.map("above ".__add__), max_size=3),
    id=names,
    node=names,
    timestamp=st.datetimes(
        datetime(2, 1, 1), datetime(9998, 1, 1), timezones=st.sampled_from([UTC])
    ),
)


@given(events)
def test_json_there_and_back_gives_an_equal_event(event):
    assert Event.model_validate_json(event.model_dump_json()) == event


@given(events)
def test_the_json_schema_accepts_what_the_event_is(event):
    jsonschema.validate(event.model_dump(mode="json"), Event.model_json_schema())


def test_what_the_bus_sets_is_made_when_it_is_missing(make_event):
    one, other = make_event(), make_event()

    assert len(one.id) == 32
    assert int(one.id, 16) >> 76 & 15 == 7  # the version of the UUID
    assert one.id < other.id
    assert ":" in one.node
    assert one.timestamp.tzinfo is UTC


def test_a_timestamp_becomes_utc(make_event):
    east = timezone(timedelta(hours=2))
    event = make_event(timestamp=datetime(2026, 1, 1, 2, tzinfo=east))

    assert event.timestamp == datetime(2026, 1, 1, tzinfo=UTC)
    assert event.timestamp.tzinfo is UTC
    assert event.model_dump(mode="json")["timestamp"] == "2026-01-01T00:00:00Z"


def test_gregorian_time_counts_from_the_year_zero(make_event):
    event = make_event(timestamp="1970-01-01T00:00:01.999999Z")

    assert event.gregorian_time == 62_167_219_201


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"app_name": ""}, "app_name"),
        ({"app_name": b"app"}, "app_name"),
        ({"app_name": "\ud800"}, "app_name"),
        ({"app_version": 1}, "app_version"),
        ({"account_id": ""}, "account_id"),
        ({"account_tree": ["a", ""]}, "account_tree[1]"),
        ({"account_tree": "abc"}, "account_tree"),
        ({"account_id": "a", "account_tree": ["a", "b"]}, "account_tree"),
        ({"severity": "bad"}, "severity"),
        ({"verbosity": "warning"}, "verbosity"),
        ({"id": ""}, "id"),
        ({"node": ""}, "node"),
        ({"timestamp": datetime(2026, 1, 1)}, "timestamp"),
        ({"timestamp": "2026-01-01T00:00:00"}, "timestamp"),
        ({"timestamp": 1700000000}, "timestamp"),
        ({"timestamp": "0001-01-01T00:00:00+02:00"}, "timestamp"),
        ({"body": []}, "body"),
        ({"body": {"calls": [0, {"at": float("nan")}]}}, "body.calls[1].at"),
        ({"colour": "red"}, "colour"),
        ({"": "red"}, '[""]'),
    ],
)
def test_a_wrong_field_is_named(fields, path):
    good = {"app_name": "a", "app_version": "1", "severity": "ok", "verbosity": "info", "body": {}}

    with pytest.raises(InvalidEvent) as caught:
        Event(**(good | fields))
    assert caught.value.path == path
    with pytest.raises(InvalidEvent):
        Event.model_validate(good | fields)


def test_bad_json_tells_all_its_faults():
    with pytest.raises(InvalidEvent) as caught:
        Event.model_validate_json(b'{"app_name":"x","body":{"a":NaN},"severity":"ok"}')

    assert "app_version: Field required" in str(caught.value)
    assert "body.a: nan is no JSON number" in str(caught.value)
    with pytest.raises(InvalidEvent, match="Invalid JSON"):
        Event.model_validate_json("{")


def test_an_event_cannot_change(make_event):
    event = make_event(body={"a": 1})

    with pytest.raises(ValueError, match="frozen"):
        event.app_name = "other"
    with pytest.raises(TypeError):
        event.body["a"] = 2


def test_an_event_hashes_by_its_id_and_copies_as_itself(make_event):
    event = make_event(body={"a": 1})

    assert {event: 1}[Event.model_validate_json(event.model_dump_json())] == 1
    assert copy.copy(event) is copy.deepcopy(event) is event
    assert pickle.loads(pickle.dumps(event)) == event


def test_a_dump_is_plain_and_the_callers_own(make_event):
    dump = make_event(body={"list": [{"a": (1,)}]}).model_dump()

    assert type(dump["body"]) is dict
    assert type(dump["body"]["list"]) is list
    dump["body"]["list"][0]["a"].append(2)


def test_a_stamped_event_cannot_be_told_from_a_validated_one(make_event):
    key = ("app", "1", "ok", "info", "acme", ("root",))
    body = FrozenDict(n=1)
    stamped = Template(key, "here").stamp(body, datetime.now(UTC))
    validated = Event.model_validate(stamped.model_dump())

    assert stamped == validated
    assert repr(stamped) == repr(validated)
    assert list(stamped.__dict__) == list(validated.__dict__)
    assert [type(v) for v in stamped.__dict__.values()] == [
        type(v) for v in validated.__dict__.values()
    ]
    assert stamped.model_fields_set == validated.model_fields_set
    assert stamped.__pydantic_extra__ == validated.__pydantic_extra__
    assert stamped.__pydantic_private__ == validated.__pydantic_private__
    assert pickle.loads(pickle.dumps(stamped)) == stamped
    copied = stamped.model_copy(update={"node": "there"})
    assert copied.node == "there"
    assert stamped.node == "here"


def test_a_copy_with_changes_is_validated(make_event):
    event = make_event(body={"a": 1})

    assert event.model_copy() is event.model_copy(deep=True) is event
    assert type(event.model_copy(update={"body": {"a": [1]}}).body) is FrozenDict
    with pytest.raises(InvalidEvent, match="body.a: nan"):
        event.model_copy(update={"body": {"a": float("nan")}})
