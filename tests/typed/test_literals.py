"""The body pattern of a model's literal fields."""

from enum import Enum
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field

from edr.patterns import Pattern
from edr.typed.literals import check, check_match, literals_of, pattern_of

A = Literal["a"]
B = Literal["b"]


class Inner(BaseModel):
    kind: Literal["sip"] = "sip"
    port: int = 5060


class Outer(BaseModel):
    status: Literal["up", "down"] = "up"
    shown_as: Literal[1] = Field(default=1, serialization_alias="shownAs")
    inner: Inner = Inner()
    name: str = ""


class Colour(Enum):
    RED = "red"


class Painted(BaseModel):
    colour: Literal[Colour.RED] = Colour.RED


@pytest.mark.parametrize(
    ("annotation", "values"),
    [
        (Literal["a", 1], ("a", 1)),
        (Annotated[Literal["a"], "note"], ("a",)),
        (A | B, ("a", "b")),
        (A | int, ()),
        (str, ()),
    ],
)
def test_literals_of_finds_the_values_of_every_form(annotation, values):
    assert literals_of(annotation) == values


def test_pattern_has_literal_fields_and_those_of_inner_models():
    assert pattern_of(Outer) == {
        "status": ["up", "down"],
        "shownAs": [1],
        "inner": {"kind": ["sip"]},
    }


def test_model_without_literals_has_an_empty_pattern():
    class Plain(BaseModel):
        name: str

    assert pattern_of(Plain) == {}


def test_model_that_matches_its_own_events_passes():
    check(Outer, Pattern(pattern_of(Outer)))


def test_literal_that_json_cannot_restore_is_refused():
    with pytest.raises(TypeError, match=r"Painted\.colour: a Literal must be readable from JSON"):
        check(Painted, Pattern(pattern_of(Painted)))


def test_body_that_the_pattern_does_not_match_is_refused():
    with pytest.raises(TypeError, match="Outer must emit what its binding matches"):
        check_match(Outer, Pattern({"status": ["up"]}), {"status": "lost"})
