"""The frames of docs/web.md, byte for byte, and the requests of a client."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edr import Binding, Event
from edr.streams import Missed, Record
from edr.web import frames
from edr.web.frames import (
    ERRORS,
    Explain,
    Hello,
    NotJSONError,
    Ping,
    Rebind,
    RequestError,
    Subscribe,
    Unsubscribe,
    read_object,
    read_request,
)

WARNINGS = Binding(severity="warning")


def refused(**frame):
    with pytest.raises(RequestError) as caught:
        read_request(frame)
    assert caught.value.code in ERRORS
    return caught.value


@pytest.mark.parametrize(
    ("frame", "request_"),
    [
        ('{"do":"hello","token":"t"}', Hello("t")),
        ('{"do":"hello"}', Hello(None)),
        (
            '{"do":"subscribe","id":"a","bindings":[{"severity":"warning"}],"after":"9f-1"}',
            Subscribe("a", (WARNINGS,), "9f-1", None),
        ),
        ('{"do":"subscribe","id":"a","last":50}', Subscribe("a", (), None, 50)),
        (
            '{"do":"rebind","id":"a","bindings":[{"severity":"warning"}]}',
            Rebind("a", (WARNINGS,)),
        ),
        ('{"do":"unsubscribe","id":"a"}', Unsubscribe("a")),
        ('{"do":"explain","id":"a","cursor":"9f-1"}', Explain("a", "9f-1")),
        ('{"do":"ping","n":1}', Ping(1)),
    ],
)
def test_a_request_is_read(frame, request_):
    assert read_request(read_object(frame)) == request_


@pytest.mark.parametrize(
    ("frame", "code", "path"),
    [
        ({}, "invalid_request", "do"),
        ({"do": 1}, "invalid_request", "do"),
        ({"do": "subscrib"}, "unknown_request", "do"),
        ({"do": "subscribe"}, "invalid_request", "id"),
        ({"do": "subscribe", "id": 1}, "invalid_request", "id"),
        ({"do": "subscribe", "id": ""}, "invalid_request", "id"),
        ({"do": "subscribe", "id": "x" * 65}, "invalid_request", "id"),
        ({"do": "subscribe", "id": "a", "binding": {}}, "invalid_request", "binding"),
        ({"do": "subscribe", "id": "a", "bindings": 7}, "invalid_binding", "bindings"),
        ({"do": "subscribe", "id": "a", "bindings": []}, "invalid_binding", "bindings"),
        ({"do": "subscribe", "id": "a", "bindings": [{}] * 33}, "invalid_binding", "bindings"),
        ({"do": "subscribe", "id": "a", "after": 1}, "invalid_request", "after"),
        ({"do": "subscribe", "id": "a", "last": -1}, "invalid_request", "last"),
        ({"do": "subscribe", "id": "a", "last": True}, "invalid_request", "last"),
        ({"do": "explain", "id": "a"}, "invalid_request", "cursor"),
        ({"do": "ping"}, "invalid_request", "n"),
        ({"do": "ping", "n": 2**53 + 1}, "invalid_request", "n"),
        ({"do": "hello", "token": ""}, "invalid_request", "token"),
        ({"do": "hello", "token": 1}, "invalid_request", "token"),
    ],
)
def test_a_wrong_field_is_named(frame, code, path):
    error = refused(**frame)
    assert (error.code, error.path) == (code, path)


def test_a_fault_of_a_binding_is_named():
    error = refused(do="rebind", id="a", bindings=[{}, {"severity": "worst"}])
    assert (error.code, error.path) == ("invalid_binding", "bindings[1].severity")


def test_a_spelling_error_gets_a_proposal():
    assert refused(do="subscrib").detail == ("do must name a request; did you mean 'subscribe'?")
    assert "did you mean 'after'" in refused(do="subscribe", id="a", aftr="x").detail


@pytest.mark.parametrize(
    "text", ["", "[]", "1", "nul", "{", '{"a":NaN}', "[" * 60_000, '{"a":"\ud800"}', b"\xff{}"]
)
def test_a_frame_that_is_no_object_is_refused(text):
    with pytest.raises(NotJSONError):
        read_object(text)


def test_a_token_is_in_no_text():
    assert "secret" not in repr(Hello("secret"))
    error = refused(do="hello", tokn="secret")
    assert "secret" not in error.detail
    assert "secret" not in frames.error(error, {"do": "hello", "token": "secret"})


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (
            frames.hello("reseller", "apps1:4123"),
            '{"is":"hello","edr":1,"account":"reseller","node":"apps1:4123"}',
        ),
        (frames.hello(None, "n"), '{"is":"hello","edr":1,"account":null,"node":"n"}'),
        (frames.subscribed("a", "9f-1"), '{"is":"subscribed","id":"a","cursor":"9f-1"}'),
        (frames.unsubscribed("a"), '{"is":"unsubscribed","id":"a"}'),
        (frames.pong(1), '{"is":"pong","n":1}'),
        (frames.bye("stopping"), '{"is":"bye","reason":"stopping"}'),
        (frames.at(["a", "b"], "9f-5"), '{"is":"at","to":["a","b"],"cursor":"9f-5"}'),
        (
            frames.gap("a", Missed(312, "slow", "9f-4")),
            '{"is":"gap","to":["a"],"reason":"slow","missed":312,"cursor":"9f-4"}',
        ),
        (
            frames.gap("a", Missed(9, "expired", "9f-4")),
            '{"is":"gap","to":["a"],"reason":"expired","missed_at_most":9,"cursor":"9f-4"}',
        ),
        (
            frames.gap("a", Missed(None, "expired", "9f-4")),
            '{"is":"gap","to":["a"],"reason":"expired","missed":null,"cursor":"9f-4"}',
        ),
        (
            frames.gap("a", Missed(None, "restarted", "9f-4")),
            '{"is":"gap","to":["a"],"reason":"restarted","missed":null,"cursor":"9f-4"}',
        ),
        (
            frames.explained("a", "9f-1", [{"kind": "subscription"}]),
            '{"is":"explained","id":"a","cursor":"9f-1","results":[{"kind":"subscription"}]}',
        ),
        (
            frames.error(
                RequestError("invalid_binding", "why", "bindings[0].severity"),
                {"do": "subscribe", "id": "a"},
            ),
            (
                '{"is":"error","do":"subscribe","id":"a","code":"invalid_binding",'
                '"path":"bindings[0].severity","detail":"why"}'
            ),
        ),
        (
            frames.error(RequestError("unknown_request", "why"), {"do": "x" * 65, "id": 1}),
            '{"is":"error","code":"unknown_request","detail":"why"}',
        ),
    ],
)
def test_an_answer_has_these_bytes(made, text):
    assert made == text


def test_a_frame_of_events_has_these_bytes():
    event = Event(app_name="ü", app_version="1", severity="ok", verbosity="info", body={})
    record = Record(7, "9f-7", event, event.to_json())
    text = frames.events([frames.entry(frames.ids_json(["a", "b"]), record)] * 2)
    entry = f'{{"to":["a","b"],"cursor":"9f-7","event":{event.to_json().decode()}}}'
    assert text == f'{{"is":"events","events":[{entry},{entry}]}}'
    assert json.loads(text)["events"][0]["event"]["app_name"] == "ü"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
names = st.sampled_from(["do", "id", "bindings", "after", "last", "cursor", "n", "token", "x"])
requests = st.sampled_from(["hello", "subscribe", "rebind", "unsubscribe", "explain", "ping"])


@given(do=requests | values, fields=st.dictionaries(names, values))
def test_any_object_is_read_or_refused_with_a_code(do, fields):
    frame = {"do": do, **fields}
    try:
        read_request(frame)
    except RequestError as error:
        answer = json.loads(frames.error(error, frame))
        assert answer["is"] == "error"
        assert answer["code"] in ERRORS


@given(st.text() | st.binary())
def test_any_text_is_an_object_or_refused(text):
    with suppress(NotJSONError):
        assert isinstance(read_object(text), dict)
