import enum
import uuid
from datetime import UTC, datetime
from typing import Annotated, Literal

import pydantic
import pytest
import typing_extensions

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
    with pytest.raises(edr.InvalidEventError, match=r"^queue\.length: "):
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

    with pytest.raises(TypeError, match="Base must have an app"):
        Base.binding()
    with pytest.raises(TypeError, match="Base must have an app"):
        Base().emit_nowait()
    assert Sub.binding().body is None


def test_what_is_wrong_with_a_model_is_said_where_it_is_written():
    with pytest.raises(ValueError, match="okk"):

        class Wrong(Body, app="a", severity="okk"):
            pass

    with pytest.raises(TypeError, match="must have an app"):

        class Nowhere(Body, severity="ok"):
            pass


class Plain(enum.Enum):
    PAUSED = "paused"


@pytest.mark.parametrize("value", [Plain.PAUSED, b"x"])
def test_literal_that_json_cannot_give_back_is_refused(value):
    with pytest.raises(TypeError, match=r"Wrong\.status: a Literal must be readable from JSON"):

        class Wrong(Body, app="a"):
            status: Literal[value]


def test_literal_of_an_inner_model_is_checked_too():
    class Inner(pydantic.BaseModel):
        kind: Literal[Plain.PAUSED]

    with pytest.raises(TypeError, match=r"Wrong\.inner\.kind: a Literal must be readable"):

        class Wrong(Body, app="a"):
            inner: Inner


def test_literal_that_is_excluded_is_refused():
    with pytest.raises(TypeError, match="Wrong must emit what its binding matches"):

        class Wrong(Body, app="a"):
            status: Literal["paused"] = pydantic.Field("paused", exclude=True)


@pytest.mark.parametrize("values", [["a", "b"], ["b", "a"]])
def test_literal_that_a_serializer_changes_is_refused(values):
    with pytest.raises(TypeError, match="Wrong must emit what its binding matches"):

        class Wrong(Body, app="a"):
            status: Literal[*values]

            @pydantic.field_serializer("status")
            def write(self, value):
                return value if value == "a" else "other"


def test_inner_model_that_writes_itself_otherwise_is_refused():
    class Inner(pydantic.BaseModel):
        kind: Literal["sales"] = "sales"

        @pydantic.model_serializer
        def write(self):
            return "sales"

    with pytest.raises(TypeError, match="Wrong must emit what its binding matches"):

        class Wrong(Body, app="a"):
            inner: Inner = Inner()


def test_literal_that_only_an_emit_shows_to_be_changed_is_refused_there(bus):
    class Sly(Body, app="a"):
        status: Literal["paused"] = "paused"
        agent_id: str

        @pydantic.model_serializer
        def write(self):
            return {"agent_id": self.agent_id}

    with pytest.raises(TypeError, match="Sly must emit what its binding matches"):
        Sly(agent_id="a1").emit_nowait(bus=bus)


Alias = typing_extensions.TypeAliasType("Alias", Literal["paused", "lost"])


@pytest.mark.parametrize(
    "annotation",
    [
        Alias,
        typing_extensions.TypeAliasType("Outer", Alias),
        Annotated[Alias, "x"],
        Literal["paused", "lost"],
    ],
)
async def test_alias_and_union_of_literals_are_part_of_the_pattern(bus, annotation):
    class Status(Body, app="a"):
        status: annotation

    events = bus.subscribe(Status.binding())
    await bus.emit("a", "0", "ok", "info", {"status": "wrapup"})
    await Status(status="lost").emit(bus=bus)

    assert Status.binding().body == edr.Pattern({"status": ["paused", "lost"]})
    assert [Status.of(event).status for event in events.take()] == ["lost"]


def test_union_with_another_type_is_not_part_of_the_pattern():
    class Status(Body, app="a"):
        status: Literal["paused"] | int
        other: Literal["x"] | None = None

    assert Status.binding().body is None


async def test_context_fields_beside_a_typed_body_are_ignored(bus):
    events = bus.subscribe(AgentPaused.binding())
    with edr.context("acme", request_id="r1", agent_id="other"):
        await AgentPaused(agent_id="a1").emit(bus=bus)
    (event,) = events.take()

    assert (event.account_id, event.body["request_id"]) == ("acme", "r1")
    assert AgentPaused.of(event) == AgentPaused(agent_id="a1")
