import pytest
from hypothesis import given
from support.strategies import events

from edr import InvalidEventError
from edr.wire import native


@given(events)
def test_every_event_survives(event):
    assert native.decode(native.encode(event)) == event


@given(events)
def test_it_is_one_line(event):
    assert b"\n" not in native.encode(event)


def test_what_is_wrong_is_named():
    with pytest.raises(InvalidEventError, match="severity"):
        native.decode(b'{"severity": "bad"}')
