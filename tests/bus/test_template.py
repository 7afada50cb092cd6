import pickle
from datetime import UTC, datetime

import pytest

from edr import Event
from edr.bus.bus import DEFAULT_MAX_BODY
from edr.bus.template import Template
from edr.records.body import frozen_dict


def stamp():
    key = ("app", "1", "ok", "info")
    template = Template(key, "here", DEFAULT_MAX_BODY)
    return template.stamp(frozen_dict({"n": 1}), datetime.now(UTC), "acme", ("root",))


def test_a_stamped_event_cannot_be_told_from_a_validated_one():
    stamped = stamp()
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


def test_the_fields_that_were_set_are_one_set_that_refuses_to_change():
    stamped = stamp()
    with pytest.raises(TypeError, match="cannot be changed"):
        stamped.model_fields_set.add("colour")
    with pytest.raises(TypeError, match="cannot be changed"):
        stamped.model_fields_set.clear()
    with pytest.raises(TypeError, match="cannot be changed"):
        stamped.model_fields_set.__init__(["colour"])

    own = stamped.model_fields_set.copy()
    own.discard("id")
    assert stamped.model_fields_set == Event.model_fields.keys() - {"traceparent"}
    assert stamped.model_dump(exclude_unset=True) == stamped.model_dump()
    assert type(pickle.loads(pickle.dumps(stamped)).model_fields_set) is set
