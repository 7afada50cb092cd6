from datetime import datetime
from urllib.parse import unquote

import orjson
import pytest
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given
from hypothesis.strategies import lists
from support.kazoo_samples import LOGIN
from support.strategies import events

from edr import InvalidEventError
from edr.wire import cloudevents, kazoo

login = kazoo.decode(LOGIN)
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def read_by_sdk(data):
    return JSONFormat().read(CloudEvent, data)


def test_the_sdk_reads_what_an_event_says():
    seen = read_by_sdk(cloudevents.encode(login))

    assert seen.get_id() == login.id
    assert seen.get_source() == "/app/acdc/kazoo_apps%40apps1.example.net"
    assert seen.get_type() == "edr.acdc.ok"
    assert seen.get_subject() == seen.get_extension("accountid") == login.account_id
    assert seen.get_time() == login.timestamp
    assert seen.get_data() == login.body
    assert seen.get_extension("accounttree") == "/".join(login.account_tree)
    assert (seen.get_extension("severity"), seen.get_extension("verbosity")) == ("ok", "info")
    assert seen.get_extension("appversion") == "4.0.0"


@given(events)
def test_every_event_survives_and_is_valid_to_the_sdk(event):
    data = cloudevents.encode(event)
    read_by_sdk(data)

    assert cloudevents.decode(data) == event


@given(events)
def test_attributes_hold_no_control_characters(event):
    document = orjson.loads(cloudevents.encode(event))
    del document["data"]

    assert all(text.isprintable() or not any(c < " " for c in text) for text in document.values())


def test_traceparent_is_the_attribute_of_the_tracing_extension():
    seen = read_by_sdk(cloudevents.encode(login.model_copy(update={"traceparent": TRACEPARENT})))

    assert seen.get_extension("traceparent") == TRACEPARENT
    assert b"traceparent" not in cloudevents.encode(login)


@pytest.mark.parametrize(
    ("given", "kept"), [(TRACEPARENT, TRACEPARENT), ("01-what-ever", None), (7, None), (None, None)]
)
def test_traceparent_of_others_is_kept_where_it_is_valid(given, kept):
    foreign = {"specversion": "1.0", "id": "1", "source": "s", "type": "t", "traceparent": given}

    assert cloudevents.decode(orjson.dumps(foreign)).traceparent == kept


def test_what_the_sdk_writes_is_read_whole():
    attributes = {"id": "1", "source": "https://git.example/repo", "type": "com.example.push"}
    data = JSONFormat().write(CloudEvent(attributes, {"branch": "main"}))
    event = cloudevents.decode(data)

    assert (event.id, event.app_name, event.node) == ("1", *2 * ["https://git.example/repo"])
    assert (event.severity, event.verbosity, event.app_version) == ("ok", "info", "unknown")
    assert event.account_id is None
    assert event.body == orjson.loads(data)
    assert event.body["data"] == {"branch": "main"}
    assert event.timestamp == datetime.fromisoformat(event.body["time"])


OPTIONAL = ("time", "subject", "accountid", "accounttree", "appversion", "severity", "verbosity")


@pytest.mark.parametrize("name", OPTIONAL)
def test_null_attribute_counts_as_absent(name):
    foreign = {"specversion": "1.0", "id": "1", "source": "s", "type": "t", "data": None}
    event = cloudevents.decode(orjson.dumps(foreign | {name: None}))

    assert event.body == foreign | {name: None}
    assert (event.account_id, event.account_tree, event.app_version) == (None, (), "unknown")


@pytest.mark.parametrize("name", ["subject", "accountid", "accounttree"])
def test_null_attribute_of_edr_counts_as_absent(name):
    assert cloudevents.decode(changed(**{name: None})) == cloudevents.decode(changed(**{name: ...}))


def test_levels_of_others_count_where_they_are_edrs_words():
    document = {"specversion": "1.0", "id": "1", "source": "s", "type": "t"}
    known = cloudevents.decode(orjson.dumps(document | {"severity": "critical"}))
    unknown = cloudevents.decode(orjson.dumps(document | {"severity": 3, "verbosity": "NOTICE"}))

    assert (known.severity, known.verbosity) == ("critical", "info")
    assert (unknown.severity, unknown.verbosity) == ("ok", "info")


def changed(**changes):
    document = orjson.loads(cloudevents.encode(login)) | changes
    return orjson.dumps({name: value for name, value in document.items() if value is not ...})


@pytest.mark.parametrize(
    ("data", "path"),
    [
        (b"{", ""),
        (b"[]", ""),
        (changed(specversion="0.3"), "specversion"),
        (b'{"specversion":"1.0","id":7,"source":"s","type":"t"}', "id"),
        (b'{"specversion":"1.0","id":"7","source":"","type":"t"}', "source"),
        (b'{"specversion":"1.0","id":"7","source":"s","type":"t","time":"noon"}', "time"),
        (b'{"specversion":"1.0","id":"7","source":"s","type":"t","x":[1e999]}', "x[0]"),
        (b'{"specversion":"1.0","id":"7","source":"s","type":"t","x":NaN}', ""),
        (changed(severity="bad"), "severity"),
        (changed(verbosity=["info"]), "verbosity"),
        (changed(time="2023-12-31"), "time"),
        (changed(data=[1]), "data"),
        (changed(accounttree=["a"]), "accounttree"),
        (changed(accountid=7), "accountid"),
        (changed(traceparent="01-what-ever"), "traceparent"),
        (changed(accounttree="a//b"), "accounttree[1]"),
    ],
)
def test_nonsense_is_one_error_that_names_the_attribute(data, path):
    with pytest.raises(InvalidEventError) as caught:
        cloudevents.decode(data)

    assert caught.value.path == path


@pytest.mark.parametrize("name", ["data", "time", "severity", "verbosity", "appversion"])
def test_what_edr_writes_it_requires(name):
    with pytest.raises(InvalidEventError, match="is required") as caught:
        cloudevents.decode(changed(**{name: ...}))
    assert caught.value.path == name
    with pytest.raises(InvalidEventError, match="is required") as caught:
        cloudevents.decode(changed(**{name: None}))
    assert caught.value.path == name


@given(events)
def test_the_binary_form_has_the_attributes_of_the_structured_one(event):
    headers, data = cloudevents.encode_binary(event)
    document = orjson.loads(cloudevents.encode(event))

    assert headers.pop("content-type") == document.pop("datacontenttype")
    assert orjson.loads(data) == document.pop("data")
    assert {name: unquote(value) for name, value in headers.items()} == {
        f"ce-{name}": value for name, value in document.items()
    }
    assert all(0x21 <= ord(each) <= 0x7E for value in headers.values() for each in value)


@given(lists(events, max_size=3))
def test_a_batch_has_each_event(several):
    documents = orjson.loads(cloudevents.encode_batch(several))

    assert [cloudevents.decode(orjson.dumps(each)) for each in documents] == several
