import pickle
from datetime import UTC, datetime

import pytest

from edr import Event
from edr.bus.bus import DEFAULT_MAX_BODY
from edr.bus.event_factory import EventFactory
from edr.records.body import frozen_dict


def create():
    key = ("app", "1", "ok", "info")
    factory = EventFactory(key, "here", DEFAULT_MAX_BODY)
    return factory.create(frozen_dict({"n": 1}), datetime.now(UTC), "acme", ("root",))


def test_a_created_event_cannot_be_told_from_a_validated_one():
    created = create()
    validated = Event.model_validate(created.model_dump())

    assert created == validated
    assert repr(created) == repr(validated)
    assert list(created.__dict__) == list(validated.__dict__)
    assert [type(v) for v in created.__dict__.values()] == [
        type(v) for v in validated.__dict__.values()
    ]
    assert created.model_fields_set == validated.model_fields_set
    assert created.__pydantic_extra__ == validated.__pydantic_extra__
    assert created.__pydantic_private__ == validated.__pydantic_private__
    assert pickle.loads(pickle.dumps(created)) == created
    copied = created.model_copy(update={"node": "there"})
    assert copied.node == "there"
    assert created.node == "here"


def test_the_fields_that_were_set_are_one_set_that_refuses_to_change():
    created = create()
    with pytest.raises(TypeError, match="cannot be changed"):
        created.model_fields_set.add("colour")
    with pytest.raises(TypeError, match="cannot be changed"):
        created.model_fields_set.clear()
    with pytest.raises(TypeError, match="cannot be changed"):
        created.model_fields_set.__init__(["colour"])

    own = created.model_fields_set.copy()
    own.discard("id")
    assert created.model_fields_set == Event.model_fields.keys() - {"traceparent"}
    assert created.model_dump(exclude_unset=True) == created.model_dump()
    assert type(pickle.loads(pickle.dumps(created)).model_fields_set) is set
