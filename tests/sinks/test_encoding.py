"""Batches as bytes, in each form."""

import orjson
import pytest
from contracts.journal import event, events

import edr
from edr.sinks import FORMS, Encoder, RejectError
from edr.wire import cloudevents, logfmt, text

TWO = events(1, 2)


@pytest.mark.parametrize("form", FORMS)
def test_a_batch_of_one_is_the_document_itself(form):
    encoded = Encoder(form, single=True)(TWO[:1])

    assert not encoded.data.startswith(b"[")
    assert not encoded.data.endswith(b"\n")


@pytest.mark.parametrize("form", ["json", "kazoo", "cloudevents"])
@pytest.mark.parametrize("batch", [TWO, TWO[:1]])
def test_another_batch_is_an_array_whatever_its_size(form, batch):
    encoded = Encoder(form)(batch)

    assert len(orjson.loads(encoded.data)) == len(batch)


@pytest.mark.parametrize("form", FORMS)
def test_lines_have_one_event_each(form):
    encoded = Encoder(form, lines=True)(TWO)

    assert encoded.data.count(b"\n") == 2
    assert encoded.data.endswith(b"\n")


def test_json_is_what_edr_reads():
    lines = Encoder("json", lines=True)(TWO).data.splitlines()

    assert [edr.Event.from_json(line) for line in lines] == TWO


def test_text_and_logfmt_are_always_lines():
    assert Encoder("text")(TWO).data == b"".join(text.encode(each) + b"\n" for each in TWO)
    assert Encoder("logfmt")(TWO).data == b"".join(logfmt.encode(each) + b"\n" for each in TWO)


def test_kazoo_has_its_switches():
    plain = orjson.loads(Encoder("kazoo", single=True, include_metadata=False)(TWO[:1]).data)
    dashes = orjson.loads(Encoder("kazoo", single=True, normalize=False)(TWO[:1]).data)

    assert plain == {"n": 1}
    assert dashes["App-Name"] == "app"


@pytest.mark.parametrize(
    ("options", "content_type"),
    [
        ({}, "application/json"),
        ({"lines": True}, "application/x-ndjson"),
        ({"form": "cloudevents"}, "application/cloudevents-batch+json"),
        ({"form": "cloudevents", "single": True}, "application/cloudevents+json"),
        ({"form": "cloudevents", "lines": True}, "application/x-ndjson"),
        ({"form": "text"}, "text/plain; charset=utf-8"),
    ],
)
def test_the_content_type_is_that_of_the_form(options, content_type):
    encoder = Encoder(**options)

    assert encoder.content_type == encoder(TWO[:1]).content_type == content_type


def test_a_binary_cloudevent_has_its_attributes_as_headers():
    given = event(1, "größe")
    encoded = Encoder("cloudevents", single=True, mode="binary")([given])

    assert orjson.loads(encoded.data) == {"n": 1}
    assert encoded.content_type == "application/json"
    assert encoded.headers["ce-id"] == given.id
    assert encoded.headers["ce-type"] == "edr.gr%C3%B6%C3%9Fe.ok"
    assert all(value.isascii() for value in encoded.headers.values())


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"form": "jsn"}, "did you mean 'json'"),
        ({"form": "json", "pretty": True}, "no option 'pretty'"),
        ({"form": "kazoo", "prety": True}, "did you mean 'pretty'"),
        ({"form": "kazoo", "pretty": "true"}, "must be a bool"),
        ({"form": "cloudevents", "mode": "x"}, "structured or binary"),
        ({"form": "cloudevents", "mode": "binary"}, "batches of one event"),
    ],
)
def test_an_invalid_option_is_refused(options, told):
    with pytest.raises(ValueError, match=told):
        Encoder(**options)


def test_an_event_that_cannot_be_written_is_named():
    class Odd(edr.Event):
        extra: object = None

    odd = Odd(
        app_name="a", app_version="1", severity="ok", verbosity="info", body={}, extra=object()
    )
    with pytest.raises(RejectError) as caught:
        Encoder("json")([event(1), odd])

    assert list(caught.value.reasons) == [1]


def test_equal_encoders_are_equal():
    assert Encoder("kazoo", pretty=True) == Encoder("kazoo", pretty=True) != Encoder("kazoo")
    assert len({Encoder(), Encoder("json"), Encoder(single=True)}) == 2


def test_the_batch_form_is_an_array_of_cloudevents():
    documents = orjson.loads(cloudevents.encode_batch(TWO))

    assert [cloudevents.decode(orjson.dumps(each)) for each in documents] == TWO
