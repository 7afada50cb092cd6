import pytest

from edr import InvalidEventError
from edr.wire.parsing import event_of, json_object

GOOD = {"app_name": "a", "app_version": "1", "severity": "ok", "verbosity": "info", "body": {}}


def test_object_keeps_every_integer_as_it_was_written():
    assert json_object(b'{"n": 123456789012345678901234567890}', "it") == {
        "n": 123456789012345678901234567890
    }


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"1", b"null", b'{"n": NaN}', b"\xff"])
def test_anything_but_an_object_is_an_invalid_event(data):
    with pytest.raises(InvalidEventError):
        json_object(data, "it")


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"severity": "bad"}, "Level"),
        ({"body": {"n": {1}}}, "Body.n"),
        ({"app_name": ""}, "app_name"),
    ],
)
def test_fault_has_the_name_that_the_form_gives_the_field(change, path):
    with pytest.raises(InvalidEventError) as caught:
        event_of(GOOD | change, {"severity": "Level", "body": "Body"})
    assert caught.value.path == path
