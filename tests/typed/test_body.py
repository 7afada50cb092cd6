import enum
import uuid
from datetime import UTC, datetime
from typing import Literal

import pydantic
import pytest

import edr
from edr.typed import Body


class Reason(enum.StrEnum):
    BREAK = "break"
    LUNCH = "lunch"


class Queue(pydantic.BaseModel):
    kind: Literal["sales"] = "sales"
    length: int = 0


class AgentPaused(Body, app="acdc", severity="warning", verbosity="warn", version="5.1"):
    status: Literal["paused"] = "paused"
    agent_id: str
    queue: Queue = Queue()


async def test_a_model_is_its_binding_and_matches_what_it_emits(bus, make_event):
    events = bus.subscribe(AgentPaused.binding())
    await AgentPaused(agent_id="a1").emit("acme", bus=bus)
    AgentPaused(agent_id="a2").emit_nowait(bus=bus)
    first, second = events.take()

    assert AgentPaused.binding() == edr.Binding(
        app_name="acdc",
        severity=["warning"],
        verbosity=["warn"],
        body={"status": ["paused"], "queue": {"kind": ["sales"]}},
    )
    assert (first.app_version, first.account_id, second.account_id) == ("5.1", "acme", None)
    assert AgentPaused.of(first) == AgentPaused(agent_id="a1")


@pytest.mark.parametrize(
    "other",
    [
        {"app_name": "other"},
        {"severity": "critical"},
        {"verbosity": "info"},
        {"body": {"status": "wrapup", "queue": {"kind": "sales"}}},
        {"body": {"status": "paused", "queue": {"kind": "support"}}},
        {"body": {"status": "paused"}},
    ],
)
def test_an_event_of_another_kind_is_not_matched(make_event, other):
    body = {"status": "paused", "queue": {"kind": "sales"}}
    mine = {"app_name": "acdc", "severity": "warning", "verbosity": "warn", "body": body}

    assert AgentPaused.binding().matches(make_event(**mine))
    assert not AgentPaused.binding().matches(make_event(**mine | other))


class Rich(Body, app="a", strict=True):
    at: datetime
    id: uuid.UUID
    pair: tuple[int, str]
    reason: Literal[Reason.BREAK, Reason.LUNCH]
    aliased: Literal["x"] = pydantic.Field("x", alias="the-alias")


async def test_what_json_has_not_goes_there_and_back_in_a_strict_model_too(bus):
    events = bus.subscribe(Rich.binding())
    body = Rich(at=datetime.now(UTC), id=uuid.uuid4(), pair=(1, "x"), reason=Reason.LUNCH)
    await body.emit(bus=bus)
    (event,) = events.take()

    assert Rich.of(event) == body
    assert Rich.binding().body == edr.Pattern({"reason": ["break", "lunch"], "the-alias": ["x"]})
    assert event.body["the-alias"] == "x"


def test_a_body_that_does_not_fit_is_an_error_with_its_path(make_event):
    with pytest.raises(edr.InvalidEvent, match=r"^queue\.length: "):
        AgentPaused.of(make_event(body={"agent_id": "a", "queue": {"length": "long"}}))


def test_what_an_event_has_beside_the_fields_is_ignored(make_event):
    event = make_event(body={"agent_id": "a", "new": 1})

    assert AgentPaused.of(event) == AgentPaused(agent_id="a")


def test_a_body_cannot_change():
    with pytest.raises(pydantic.ValidationError):
        AgentPaused(agent_id="a").agent_id = "b"


def test_a_subclass_has_what_its_base_has_unless_it_says_otherwise():
    class Base(Body, app="acdc", verbosity="debug"):
        n: int = 0

    class Sub(Base, severity="critical"):
        pass

    assert Base.edr_kind == ("acdc", "0", "ok", "debug")
    assert Sub.edr_kind == ("acdc", "0", "critical", "debug")


def test_a_model_without_an_app_is_a_base_and_no_kind():
    class Base(Body):
        n: int = 0

    class Sub(Base, app="a"):
        pass

    with pytest.raises(TypeError, match="Base names no app"):
        Base.binding()
    with pytest.raises(TypeError, match="Base names no app"):
        Base().emit_nowait()
    assert Sub.binding().body is None


def test_what_is_wrong_with_a_model_is_said_where_it_is_written():
    with pytest.raises(ValueError, match="okk"):

        class Wrong(Body, app="a", severity="okk"):
            pass

    with pytest.raises(TypeError, match="names no app"):

        class Nowhere(Body, severity="ok"):
            pass
