"""The body pattern of a model's ``Literal`` fields, and a check that the model's events match it.

A model whose binding does not match its own events would never deliver them. A model that cannot
read its literals from JSON would find every event invalid. Both raise in the class statement.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from types import UnionType
from typing import Annotated, Any, Literal, TypeGuard, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import to_json, to_jsonable_python

from edr.patterns import Pattern


def pattern_of(model: type[BaseModel]) -> dict[str, Any]:
    """Return the body pattern of the ``Literal`` fields of ``model``, and of its inner models."""
    pattern: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        key = field.serialization_alias or field.alias or name
        values = literals_of(field.annotation)
        if values:
            pattern[key] = to_jsonable_python(list(values))
        elif _is_model(field.annotation):
            inner = pattern_of(field.annotation)
            if inner:
                pattern[key] = inner
    return pattern


def literals_of(annotation: Any) -> tuple[Any, ...]:
    """Return the values of a ``Literal``, an alias or a union of such; else an empty tuple."""
    while hasattr(annotation, "__value__"):  # type Status = Literal["paused"]
        annotation = annotation.__value__
    origin = get_origin(annotation)
    if origin is Annotated:
        return literals_of(get_args(annotation)[0])
    if origin is Literal:
        return get_args(annotation)
    if origin in (Union, UnionType):
        parts = [literals_of(each) for each in get_args(annotation)]
        return tuple(chain(*parts)) if all(parts) else ()
    return ()


def check(model: type[BaseModel], pattern: Pattern) -> None:
    """Check that ``pattern`` matches the events of ``model``, and that it reads its own literals.

    Raises:
        TypeError: a literal changes when it is written as JSON, or cannot be read from it.
    """
    _check_reading(model, model.__name__)
    for number in range(_most_literals(model)):
        sample, include = _sample(model, number)
        try:
            body = sample.model_dump(mode="json", by_alias=True, include=include, warnings=False)
        except Exception:  # a serializer that needs the other fields: emit checks it
            return
        check_match(model, pattern, body)


def check_match(model: type[BaseModel], pattern: Pattern, body: Mapping[str, Any]) -> None:
    """Check that ``pattern``, made of the literals of ``model``, matches its ``body``.

    Raises:
        TypeError: it does not match, so no subscriber would receive the event.
    """
    if not pattern.matches(body):
        raise TypeError(
            f"{model.__name__} must emit what its binding matches, {pattern.document}, got "
            f"{dict(body)}; a Literal field, and a model with one, must not be excluded or changed "
            "by a serializer"
        )


def _check_reading(model: type[BaseModel], path: str) -> None:
    for name, field in model.model_fields.items():
        annotation: Any = field.annotation
        for value in literals_of(annotation):
            try:
                read = TypeAdapter(annotation).validate_json(to_json(value))
            except ValidationError:
                read = None
            if read != value:
                raise TypeError(
                    f"{path}.{name}: a Literal must be readable from JSON, got {value!r}; use "
                    "enum.StrEnum, or a Literal of text, numbers, booleans or None"
                )
        if _is_model(field.annotation):
            _check_reading(field.annotation, f"{path}.{name}")


def _sample(model: type[BaseModel], number: int) -> tuple[BaseModel, dict[str, Any]]:
    """Return an instance with only the literals of ``model``, and the names of these fields."""
    values: dict[str, Any] = {}
    include: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        literals = literals_of(field.annotation)
        if literals:
            values[name], include[name] = literals[number % len(literals)], True
        elif _is_model(field.annotation) and pattern_of(field.annotation):
            values[name], include[name] = _sample(field.annotation, number)
    return model.model_construct(**values), include


def _most_literals(model: type[BaseModel]) -> int:
    numbers = [0]
    for field in model.model_fields.values():
        numbers.append(len(literals_of(field.annotation)))
        if _is_model(field.annotation):
            numbers.append(_most_literals(field.annotation))
    return max(numbers)


def _is_model(annotation: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
