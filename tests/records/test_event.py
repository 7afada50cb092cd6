import copy
import json
import pickle
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import jsonschema
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, TypeAdapter
from support.strategies import events, json_values, names

from edr import Binding, Event, InvalidEventError
from edr.records import completed_event, with_account_tree
from edr.records.body import FrozenDict

GOOD = '{"app_name": "a", "app_version": "1.0", "severity": "ok", "verbosity": "info", "body": {}}'
SENT = GOOD.replace("}}", '}, "id": "1", "node": "n", "timestamp": "2026-01-01T00:00:00Z"}')


@given(events)
def test_json_there_and_back_gives_an_equal_event(event):
    assert Event.model_validate_json(event.model_dump_json()) == event


@given(events)
def test_the_json_schema_accepts_what_the_event_is(event):
    jsonschema.validate(event.model_dump(mode="json"), Event.model_json_schema())


@given(events)
def test_to_json_gives_what_pydantic_gives(event):
    assert event.to_json() == event.model_dump_json().encode()


@given(events)
def test_from_json_reads_what_to_json_wrote(event):
    assert Event.from_json(event.to_json()) == event
    assert Event.from_json(event.to_json().decode()) == event


@given(events, st.dictionaries(names, json_values))
def test_from_json_ignores_unknown_fields_and_no_others(event, others):
    fields = orjson.loads(event.to_json())
    read = Event.from_json(orjson.dumps(others | fields))

    assert read == event
    assert read.to_json() == event.to_json()
    assert type(read.body) is FrozenDict


@pytest.mark.parametrize("field", ["id", "node", "timestamp"])
def test_from_json_requires_what_the_sender_has_set(make_event, field):
    fields = orjson.loads(make_event().to_json())
    del fields[field]

    with pytest.raises(InvalidEventError, match="required") as caught:
        Event.from_json(orjson.dumps(fields))
    assert caught.value.path == field


@pytest.mark.parametrize(
    ("document", "path", "reason"),
    [
        (b"{", "", "Invalid JSON"),
        (b"\xff", "", "Invalid JSON"),
        ("[1]", "", "object"),
        (SENT.replace("1.0", ""), "app_version", "at least 1 character"),
        (SENT.replace('"ok"', '"okk"'), "severity", "ok"),
        (SENT.replace("{}", '{"a": [1, NaN]}'), "body.a[1]", "nan is not a JSON number"),
        (SENT.replace("{}", '{"a": 18446744073709551616}'), "body.a", "an integer outside"),
        (SENT.replace("{}", "[]"), "body", "must be a JSON object, got an array"),
        (
            SENT.replace("{}", '{"a":' * 128 + "{}" + "}" * 128),
            "body" + ".a" * 128,
            "nested deeper",
        ),
    ],
)
def test_from_json_names_the_fault(document, path, reason):
    with pytest.raises(InvalidEventError, match=reason) as caught:
        Event.from_json(document)

    assert caught.value.path == path


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


def test_a_timestamp_is_a_plain_datetime(make_event):
    class Stamp(datetime):
        pass

    event = make_event(timestamp=Stamp(2026, 1, 1, 2, 3, 4, 5, timezone(timedelta(hours=2))))

    assert type(event.timestamp) is datetime
    assert event.timestamp == datetime(2026, 1, 1, 0, 3, 4, 5, UTC)


def test_gregorian_time_counts_from_the_year_zero(make_event):
    def of(timestamp):
        return make_event(timestamp=timestamp).gregorian_time

    assert of("1970-01-01T00:00:01.999999Z") == 62_167_219_201
    assert of("1969-12-31T23:59:59.999999Z") == 62_167_219_199
    assert of("9998-01-01T00:00:00.999999Z") == 62_167_219_200 + 253_339_228_800


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
        ({"timestamp": "1700000000"}, "timestamp"),
        ({"timestamp": "+1700000000.5"}, "timestamp"),
        ({"timestamp": "-1"}, "timestamp"),
        ({"timestamp": "0001-01-01T00:00:00+02:00"}, "timestamp"),
        ({"body": []}, "body"),
        ({"body": {"calls": [0, {"at": float("nan")}]}}, "body.calls[1].at"),
        ({"colour": "red"}, "colour"),
        ({"": "red"}, '[""]'),
    ],
)
def test_a_wrong_field_is_named(fields, path):
    good = {"app_name": "a", "app_version": "1", "severity": "ok", "verbosity": "info", "body": {}}

    with pytest.raises(InvalidEventError) as caught:
        Event(**(good | fields))
    assert caught.value.path == path
    with pytest.raises(InvalidEventError):
        Event.model_validate(good | fields)


def test_bad_json_tells_all_its_faults():
    with pytest.raises(InvalidEventError) as caught:
        Event.model_validate_json(b'{"app_name":"x","body":{"a":NaN},"severity":"ok"}')

    assert "app_version: Field required" in str(caught.value)
    assert "body.a: nan is not a JSON number" in str(caught.value)
    with pytest.raises(InvalidEventError, match="Invalid JSON"):
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


def test_a_dump_can_leave_out_what_is_inside_the_body(make_event):
    event = make_event(body={"secret": 1, "calls": [{"secret": 2, "at": 3}]})

    def through_json(**options):
        return orjson.loads(TypeAdapter(Event).dump_json(event, **options))  # as FastAPI does it

    for dump in (event.model_dump, through_json):
        excluded = dump(exclude={"body": {"secret": True, "calls": {"__all__": {"secret"}}}})
        assert excluded["body"] == {"calls": [{"at": 3}]}
        assert dump(include={"body": {"secret"}}) == {"body": {"secret": 1}}


def test_a_copy_with_changes_is_validated(make_event):
    event = make_event(body={"a": 1})

    assert event.model_copy() is event.model_copy(deep=True) is event
    assert type(event.model_copy(update={"body": {"a": [1]}}).body) is FrozenDict
    with pytest.raises(InvalidEventError, match="body.a: nan"):
        event.model_copy(update={"body": {"a": float("nan")}})


def test_what_a_dump_leaves_out_of_the_body_is_left_out(make_event):
    event = make_event(body={"secret": "s", "open": {"secret": "t", "n": 1}})

    excluded = {"body": {"secret": True, "open": {"secret"}}}
    assert event.model_dump(exclude=excluded)["body"] == {"open": {"n": 1}}
    assert "secret" not in event.model_dump_json(exclude=excluded)
    assert event.model_dump(include={"body": {"secret"}}) == {"body": {"secret": "s"}}


def test_a_repr_can_be_evaluated_and_has_plain_words():
    event = Event.model_validate_json(GOOD)

    assert "severity='ok'" in repr(event)
    assert "account" not in repr(event)
    assert eval(repr(event), {"Event": Event}) == event


def test_a_wrong_field_or_level_is_told_with_the_one_that_was_meant():
    with pytest.raises(InvalidEventError, match="acount_id: .*; did you mean 'account_id'"):
        Event.model_validate_json(GOOD.replace("{", '{"acount_id": "acme",', 1))
    with pytest.raises(
        InvalidEventError, match="severity: 'error' is a verbosity; a severity is one"
    ):
        Event.model_validate_json(GOOD.replace('"ok"', '"error"'))


def test_a_body_that_is_no_object_is_told_how_to_become_one():
    with pytest.raises(
        InvalidEventError, match=r'got a Binding; send its model_dump\(mode="json"\)'
    ):
        Event(app_name="a", app_version="1", severity="ok", verbosity="info", body=Binding())


class Priced(Event):
    secret: str = Field("s3cret", exclude=True)
    price: Decimal = Decimal("1.50")
    at: datetime = datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1)))


def test_to_json_of_a_subclass_follows_the_options_of_its_fields():
    event = Priced.model_validate_json(GOOD)

    assert event.to_json() == event.model_dump_json().encode()
    assert b"s3cret" not in event.to_json()
    assert Priced.from_json(event.to_json()) == event


def test_event_cannot_be_made_without_validation():
    with pytest.raises(InvalidEventError, match="timestamp"):
        Event.model_construct(**json.loads(SENT) | {"timestamp": "noon"})
    event = Event.model_construct(**json.loads(SENT))

    assert event == Event.from_json(SENT)
    with pytest.raises(InvalidEventError, match="timestamp"):
        event.copy(update={"timestamp": "noon"})


def test_a_subclass_may_name_what_is_defined_later_and_have_aliases():
    class Noted(Event):
        note: "Note | None" = None
        origin: str = Field("here", alias="from")

    class Note(BaseModel):
        text: str

    Noted.model_rebuild(_types_namespace={"Note": Note})
    event = Noted(**json.loads(GOOD), note={"text": "x"}, **{"from": "there"})

    assert event.note.text == "x"
    assert "origin='there'" in repr(event)


def test_a_long_path_is_cut_in_its_middle():
    deep = '{"extension": ' * 128 + "{}" + "}" * 128

    with pytest.raises(InvalidEventError) as caught:
        Event.from_json(SENT.replace("{}", deep))
    assert len(caught.value.path) < 310
    assert caught.value.path.startswith("body.extension.extension")
    assert "…" in caught.value.path


TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_traceparent_is_in_the_json_where_there_is_one(make_event):
    traced = make_event(traceparent=TRACEPARENT)

    assert json.loads(traced.to_json())["traceparent"] == TRACEPARENT
    assert Event.from_json(traced.to_json()) == traced
    assert b"traceparent" not in make_event().to_json()
    assert Event.from_json(make_event().to_json()).traceparent is None


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        7,
        TRACEPARENT.upper(),
        TRACEPARENT + "\n",
        TRACEPARENT + "-00",
        TRACEPARENT.replace("00-", "01-", 1),
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-4bf92f3577b34da6a3ce929d0e0e4736-{'0' * 16}-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
    ],
)
def test_wrong_traceparent_is_an_error_that_names_the_field(make_event, wrong):
    with pytest.raises(InvalidEventError) as caught:
        make_event(traceparent=wrong)
    assert caught.value.path == "traceparent"


@given(events)
def test_with_account_tree_equals_a_validated_copy(event):
    tree = ("above", "parent")
    copy = with_account_tree(event, tree)
    validated = event.model_copy(update={"account_tree": tree})

    assert (copy, copy.model_fields_set) == (validated, validated.model_fields_set)
    assert copy.to_json() == validated.to_json()
    assert event.account_tree != tree


def test_with_account_tree_keeps_a_subclass(make_event):
    class Call(Event):
        call_id: str

    call = Call(**{**dict(make_event()), "call_id": "c1"})

    assert with_account_tree(call, ("root",)) == Call(**{**dict(call), "account_tree": ("root",)})


@pytest.mark.parametrize("time", ["2026-01-01T00:00:00Z", "2026-01-01T02:00:00+02:00"])
def test_completed_event_keeps_what_its_document_has(make_event, time):
    event = make_event(account_id="a", account_tree=("b",), timestamp=time)

    assert completed_event({**orjson.loads(event.to_json()), "timestamp": time}, "here") == event


def test_completed_event_of_another_form_is_filled_in_too(make_event):
    document = orjson.loads(make_event().to_json()) | {"account_tree": ("b",)}
    del document["id"], document["node"]

    event = completed_event(document, "here")

    assert (event.node, event.account_tree, len(event.id)) == ("here", ("b",), 32)
