import orjson
import pytest

from edr import InvalidEventError
from edr.sources.documents import decode_cloudevent, decode_native, parsed
from edr.wire import cloudevents

BARE = {
    "app_name": "app",
    "app_version": "1",
    "severity": "ok",
    "verbosity": "info",
    "body": {"n": 1},
}


@pytest.mark.parametrize("as_bytes", [True, False])
def test_given_fields_are_kept(make_event, as_bytes):
    event = make_event(body={"n": 1}, account_id="a", account_tree=("b",))
    document = event.to_json() if as_bytes else parsed(event.to_json())

    assert decode_native(document, "here") == event


@pytest.mark.parametrize("missing", ["id", "node", "timestamp"])
def test_each_missing_field_is_filled_in(make_event, missing):
    event = make_event(body={"id": 1, "node": 2, "timestamp": 3})  # the names occur nevertheless
    document = orjson.loads(event.to_json())
    del document[missing]
    read = decode_native(orjson.dumps(document), "here")

    assert read.node == ("here" if missing == "node" else event.node)
    assert (read.id == event.id) == (missing != "id")
    assert read.model_copy(update={missing: getattr(event, missing)}) == event


def test_filled_in_ids_differ():
    data = orjson.dumps(BARE)

    assert decode_native(data, "here").id != decode_native(data, "here").id


def test_unknown_fields_are_ignored():
    assert decode_native(orjson.dumps({**BARE, "later": 1}), "here").body == {"n": 1}


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({**BARE, "severity": "bad"}, "severity"),
        ({**BARE, "id": ""}, "id"),
        ({**BARE, "id": None}, "id"),
        ({**BARE, "id": "a", "node": "b", "timestamp": "never"}, "timestamp"),
        ({**BARE, "body": {"a": 2**70}}, "body.a"),
        ([], ""),
        ("text", ""),
        (None, ""),
    ],
)
def test_wrong_document_is_an_error_with_its_path(document, path):
    with pytest.raises(InvalidEventError) as caught:
        decode_native(document, "here")
    assert caught.value.path == path
    if path != "body.a":  # an integer that orjson cannot write
        with pytest.raises(InvalidEventError) as caught:
            decode_native(orjson.dumps(document), "here")
        assert caught.value.path == path


@pytest.mark.parametrize("data", [b"", b"{", b"nan", b'{"a": Infinity}', b"\xff", b"{} {}"])
def test_text_that_is_not_json_is_an_error(data):
    with pytest.raises(InvalidEventError, match="must be JSON"):
        decode_native(data, "here")


@pytest.mark.parametrize("as_bytes", [True, False])
def test_cloudevents_are_read(make_event, as_bytes):
    event = make_event(body={"n": 1})
    data = cloudevents.encode(event)

    assert decode_cloudevent(data if as_bytes else parsed(data), "here") == event


def test_cloudevent_without_an_id_is_refused(make_event):
    document = orjson.loads(cloudevents.encode(make_event()))
    del document["id"]

    with pytest.raises(InvalidEventError) as caught:
        decode_cloudevent(document, "here")
    assert caught.value.path == "id"
