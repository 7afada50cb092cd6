from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.kazoo_samples import DISK, DISK_KEY, LOGIN, LOGIN_KEY, SAMPLES
from support.strategies import events, json_values, names, some_bindings, some_events
from support.topic import topic_matches

from edr import Binding, Event, InvalidEventError
from edr.wire import kazoo


def without_message_id(payload):
    return {name: value for name, value in orjson.loads(payload).items() if name != "Msg-ID"}


@pytest.mark.parametrize(("key", "payload"), SAMPLES)
def test_what_kazoo_wrote_survives_in_its_order_but_for_the_message_id(key, payload):
    event = kazoo.decode(payload)
    again = kazoo.encode(event)

    message_id = orjson.loads(again)["Msg-ID"].encode()
    assert again.replace(message_id, orjson.loads(payload)["Msg-ID"].encode()) == payload
    assert kazoo.routing_key(event) == key


def test_all_fields_of_a_sample_are_read():
    assert kazoo.decode(LOGIN) == Event(
        account_id="5f1c0d6b2a7e4c3d9b8a1e0f7c6d5b4a",
        account_tree=("0aa1bb2cc3dd4ee5ff60718293a4b5c6", "1bb2cc3dd4ee5ff60718293a4b5c6d70"),
        app_name="acdc",
        app_version="4.0.0",
        body={"event": "logged_into_queue", "agent_id": "a1", "queue_id": "q7"},
        id="9d0f4a51c2b3e6778899aabbccddeeff",
        node="kazoo_apps@apps1.example.net",
        severity="ok",
        verbosity="info",
        timestamp=datetime(2023, 12, 31, tzinfo=UTC),
    )


def test_each_encoding_has_a_message_id_of_32_hex_digits_of_its_own():
    event = kazoo.decode(LOGIN)
    ids = {orjson.loads(kazoo.encode(event))["Msg-ID"] for _ in range(100)}

    assert len(ids) == 100
    assert all(len(each) == 32 and int(each, 16) for each in ids)
    assert event.id not in ids


def test_empty_texts_go_at_any_depth_of_objects_but_not_in_lists(make_event):
    body = {"a": "", "b": {"c": "", "d": {"e": ""}}, "l": ["", {"f": ""}], "n": None, "q": 'x"'}
    payload = orjson.loads(kazoo.encode(make_event(body=body)))

    assert payload["Body"] == {"b": {"d": {}}, "l": ["", {"f": ""}], "n": None, "q": 'x"'}


@given(events)
def test_an_event_survives_but_for_microseconds_empty_texts_and_trace(event):
    again = kazoo.decode(kazoo.encode(event))

    assert again.timestamp == event.timestamp.replace(microsecond=0)
    assert without_message_id(kazoo.encode(again)) == without_message_id(kazoo.encode(event))
    changed = {"timestamp", "body", "traceparent"}
    assert again.model_dump(exclude=changed) == event.model_dump(exclude=changed)
    assert again.traceparent is None
    if b'""' not in orjson.dumps(event.body):
        assert again.body == event.body


def test_an_undefined_account_is_left_out_and_an_empty_tree_is_not(make_event):
    without = orjson.loads(kazoo.encode(make_event()))
    with_one = orjson.loads(kazoo.encode(make_event(account_id="a")))

    assert {"Account-ID", "Account-Tree"}.isdisjoint(without)
    assert (with_one["Account-ID"], with_one["Account-Tree"]) == ("a", [])


def test_times_are_whole_seconds_and_agree_before_1970_too(make_event):
    event = make_event(timestamp=datetime(1969, 12, 31, 23, 59, 58, 500_000, tzinfo=UTC))
    payload = orjson.loads(kazoo.encode(event))

    assert payload["Timestamp"] == "1969-12-31T23:59:58Z"
    assert payload["Gregorian-Time"] == 62_167_219_200 - 2


def test_the_amqp_timestamp_is_in_microseconds_since_the_year_0():
    assert kazoo.amqp_timestamp(kazoo.decode(LOGIN)) == 63_871_200_000 * 10**6


def changed(**changes):
    payload = orjson.loads(LOGIN)
    for name, value in changes.items():
        payload[name.replace("_", "-")] = value
    return orjson.dumps(payload)


def test_the_own_account_is_dropped_from_a_tree():
    own = orjson.loads(LOGIN)["Account-ID"]

    assert kazoo.decode(changed(Account_Tree=["root", own])).account_tree == ("root",)


def test_a_reader_ignores_what_it_does_not_know_and_what_only_the_envelope_needs():
    payload = orjson.loads(LOGIN) | {"AMQP-Broker": "amqp://b", "Server-ID": ""}
    del payload["Msg-ID"], payload["Gregorian-Time"]

    assert kazoo.decode(orjson.dumps(payload)) == kazoo.decode(LOGIN)


@pytest.mark.parametrize("undefined", [None, ""])
def test_an_account_that_says_nothing_is_none(undefined):
    event = kazoo.decode(changed(Account_ID=undefined, Account_Tree=None))

    assert (event.account_id, event.account_tree) == (None, ())


@pytest.mark.parametrize(
    "name",
    [
        *("App-Name", "App-Version", "Body", "Event-Category", "Event-Name"),
        *("ID", "Node", "Severity", "Timestamp", "Verbosity"),
    ],
)
def test_what_an_event_needs_is_required(name):
    payload = orjson.loads(LOGIN)
    del payload[name]
    with pytest.raises(InvalidEventError) as caught:
        kazoo.decode(orjson.dumps(payload))

    assert caught.value.path == name


@pytest.mark.parametrize(
    ("payload", "path"),
    [
        (b"", ""),
        (b"\xff", ""),
        (b"[]", ""),
        (b"null", ""),
        (b'{"Event-Category":"edr"', ""),
        (b"[" * 100_000, ""),
        (changed(Event_Category="call_event"), "Event-Category"),
        (changed(Severity="bad"), "Severity"),
        (changed(Severity=["ok"]), "Severity"),
        (changed(Body="text"), "Body"),
        (changed(Body=None), "Body"),
        (changed(Body={"n": {"x": 1}}).replace(b'{"x":1}', b'{"x":1e999}'), "Body.n.x"),
        (changed(Body={"n": 1}).replace(b'"n":1', b'"n":[36893488147419103232]'), "Body.n[0]"),
        (changed(Account_ID=7), "Account-ID"),
        (changed(Account_ID=["a"]), "Account-ID"),
        (changed(Account_Tree="root"), "Account-Tree"),
        (changed(Account_Tree=["root", 7]), "Account-Tree[1]"),
        (changed(App_Name=""), "App-Name"),
        (changed(Timestamp=63_871_200_000), "Timestamp"),
        (changed(Timestamp="2023-12-31T00:00:00"), "Timestamp"),
    ],
)
def test_nonsense_is_one_error_that_names_the_place(payload, path):
    with pytest.raises(InvalidEventError) as caught:
        kazoo.decode(payload)

    assert caught.value.path == path


@given(st.binary() | st.dictionaries(names, json_values).map(orjson.dumps))
def test_nothing_but_invalid_event_is_raised_for_any_bytes(data):
    with pytest.raises(InvalidEventError):
        kazoo.decode(data)


def test_a_key_beyond_255_bytes_is_refused(make_event):
    fits = make_event(app_name="é" * 115)
    assert len(kazoo.routing_key(fits).encode()) <= 255

    with pytest.raises(InvalidEventError, match="255 bytes"):
        kazoo.routing_key(make_event(app_name="é" * 120))


def test_the_default_binding_has_four_keys():
    assert kazoo.kazoo_keys(Binding()) == (
        "edr.*.info.*.#",
        "edr.*.warn.*.#",
        "edr.*.error.*.#",
        "edr.*.fatal.*.#",
    )


def test_keys_say_account_and_app_as_they_are():
    binding = Binding(account_id="a.b", app_name="my.app v2", severity=["ok"], verbosity="trace")

    assert kazoo.kazoo_keys(binding) == ("edr.ok.*.a.b.my.app v2",)
    assert kazoo.kazoo_keys(binding.model_copy(update={"include_descendants": True})) == (
        "edr.ok.*.#.my.app v2",
    )


def test_a_sample_is_covered_by_the_keys_of_what_wants_it():
    event = kazoo.decode(DISK)
    for binding in (Binding(), Binding(app_name="my.app v2"), Binding(severity="critical")):
        assert binding.matches(event)
        assert any(topic_matches(key, DISK_KEY) for key in kazoo.kazoo_keys(binding))
    assert not any(topic_matches(key, LOGIN_KEY) for key in kazoo.kazoo_keys(Binding(app_name="x")))


evil = st.sampled_from(["a", "*", "#", "a.b", ".", "..", "undefined", "é #", "%2E"])


@given(
    some_bindings(evil),
    some_events(few=evil),
)
def test_keys_cover_what_a_binding_matches_with_evil_names_too(binding, event):
    covered = any(topic_matches(key, kazoo.routing_key(event)) for key in kazoo.kazoo_keys(binding))

    assert covered or not binding.matches(event)


def test_a_key_that_no_event_can_have_is_left_out():
    long = Binding(account_id=["a", "x" * 250], app_name="app")

    assert all(".a.app" in key for key in kazoo.kazoo_keys(long))
