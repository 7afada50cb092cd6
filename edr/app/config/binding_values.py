"""Bindings of a configuration."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from pydantic import BeforeValidator, ValidatorFunctionWrapHandler, WrapValidator

from edr.app.config.checked import Written
from edr.errors import kind_of
from edr.records import Binding


def _bindings(*, at_least_one: bool) -> Callable[[object], object]:
    def check(value: object) -> object:
        if isinstance(value, Mapping):
            value = [value]
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"must be an array of bindings, got {kind_of(value)}")
        if at_least_one and not value:
            raise ValueError("must have at least one binding; [{}] is the default one")
        return tuple(map(_with_parsed_body, value))

    return check


def _with_parsed_body(binding: object) -> object:
    """Accept the body pattern as JSON text: TOML has no null, which a pattern may contain."""
    if not isinstance(binding, Mapping) or not isinstance(binding.get("body"), str):
        return binding
    try:
        return {**binding, "body": json.loads(binding["body"])}
    except (ValueError, RecursionError):
        raise ValueError("the body of a binding must be a table or valid JSON text") from None


def _received(value: object, inner: ValidatorFunctionWrapHandler) -> object:
    return value if value == "wanted" else inner(_bindings(at_least_one=False)(value))


Bindings = Annotated[
    tuple[Binding, ...], BeforeValidator(_bindings(at_least_one=True)), Written("bindings")
]
OptionalBindings = Annotated[
    tuple[Binding, ...], BeforeValidator(_bindings(at_least_one=False)), Written("bindings")
]
if TYPE_CHECKING:
    Received: TypeAlias = Literal["wanted"] | tuple[Binding, ...]
else:  # pydantic would check each alternative of a union, and report the faults of both
    Received = Annotated[
        tuple[Binding, ...], WrapValidator(_received), Written('bindings or `"wanted"`')
    ]
