import copy
import pickle

import pytest

from edr import Event
from edr.records.fields_set import FIELDS_SET, TRACED_FIELDS_SET


def test_sets_have_the_fields_of_an_event():
    assert set(Event.model_fields) == TRACED_FIELDS_SET
    assert {*FIELDS_SET, "traceparent"} == TRACED_FIELDS_SET


@pytest.mark.parametrize(
    "change",
    [
        lambda names: names.add("colour"),
        lambda names: names.discard("id"),
        lambda names: names.__ior__({"colour"}),
        lambda names: names.__init__(["colour"]),
    ],
)
def test_fields_set_refuses_a_change(change):
    with pytest.raises(TypeError, match="cannot be changed"):
        change(FIELDS_SET)


@pytest.mark.parametrize("copied", [set.copy, copy.copy, lambda a: pickle.loads(pickle.dumps(a))])
def test_copies_of_fields_set_are_plain(copied):
    names = copied(FIELDS_SET)

    assert (type(names), names) == (set, FIELDS_SET)


def test_events_that_were_read_share_their_fields_set(make_event):
    document = make_event().to_json()
    first, second = Event.from_json(document), Event.from_json(document)

    assert first.model_fields_set is second.model_fields_set
    assert first.model_dump(exclude_unset=True) == first.model_dump()
