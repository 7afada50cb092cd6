"""``Section``: the base of the tables of a configuration. ``one_of``: tables with a ``type``.

``faults_of`` translates the errors of Pydantic. The user reads no message of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo
from pydantic.fields import FieldInfo

from edr.app.config.checked import Checked, Written, any_of
from edr.app.config.faults import LocatedError, Location
from edr.errors import InvalidBindingError, did_you_mean, kind_of, shown
from edr.records import Binding, Severity, Verbosity

_LEVELS: Mapping[str, type[Severity | Verbosity]] = {
    "severity": Severity,
    "verbosity": Verbosity,
}
_STEP = re.compile(r'\.?([^.\[\]"]+)|\[(\d+)\]|\["([^"]*)"\]')


_MISSING = "is missing"
_EXPECTED = {
    "model": "a table",
    "dict": "a table",
    "tuple": "an array",
    "list": "an array",
    "bool": "true or false",
}
"""The expected value, by the start of the type of Pydantic's error."""


class Section(BaseModel):
    """A table of the configuration: immutable, comparable, without unknown keys."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True
    )


S = TypeVar("S", bound=Section)


def one_of(base: type[S], models: Mapping[str, type[S]]) -> Checked:
    """Return the type of a table whose key ``type`` chooses the model.

    Args:
        base: the common keys. They are checked too if the type is unknown.
        models: the model of each type. An alias is a second name of a model.
    """

    def check(value: object, info: ValidationInfo) -> object:
        if isinstance(value, base):
            return value
        if not isinstance(value, Mapping):
            raise ValueError(f"must be a table, got {kind_of(value)}")
        wanted = value.get("type")
        model = models.get(wanted) if isinstance(wanted, str) else None
        faults: list[tuple[Location, str]] = []
        if model is None:
            names = any_of(list(models))
            if "type" in value:
                hint = did_you_mean(wanted, models) if isinstance(wanted, str) else ""
                faults.append((("type",), f"must be {names}, got {shown(wanted)}{hint}"))
            else:
                faults.append((("type",), f"is missing; it must be {names}"))
        rest = {
            key: each
            for key, each in value.items()
            if key != "type" and (model is not None or key in base.model_fields)
        }
        checked = model or base
        try:
            found = checked.model_validate(rest, context=info.context)
        except ValidationError as exc:
            faults += faults_of(exc, checked)
        if faults:
            raise LocatedError(faults)
        return found

    return Checked("table", check)


def faults_of(error: ValidationError, model: type[BaseModel]) -> list[tuple[Location, str]]:
    """Return the place and the message of each fault."""
    found = list(_faults_of(error, model))
    # A mistyped key is one fault, not an unknown key and a missing one.
    mistyped = {
        (*place[:-1], key)
        for place, message in found
        for key in (getattr(model_at(model, place[:-1]), "model_fields", ()) if place else ())
        if message == _unknown(model_at(model, place[:-1]), str(place[-1]))
        and message.endswith(f"did you mean {key!r}?")
    }
    return [
        (place, message)
        for place, message in found
        if place not in mistyped or not message.startswith(_MISSING)
    ]


def _faults_of(error: ValidationError, model: type[BaseModel]) -> Iterator[tuple[Location, str]]:
    for details in error.errors(include_url=False):
        # Pydantic marks a fault of a key with this last step.
        place = tuple(step for step in details["loc"] if step != "[key]")
        cause = details.get("ctx", {}).get("error")
        if isinstance(cause, LocatedError):
            yield from [((*place, *inner), message) for inner, message in cause.faults]
        elif place and (level := _LEVELS.get(str(place[-1]))) and _is_of_binding(model, place):
            yield from _faults_of_levels(place, details["input"], level)
        elif isinstance(cause, InvalidBindingError):
            inner_path = _steps(cause.path)
            same = bool(inner_path) and inner_path[0] == place[-1]
            yield (place[:-1] if same else place) + inner_path, cause.reason
        elif isinstance(cause, ValueError):
            yield place, str(cause)
        else:
            yield place, _message(details["type"], place, details["input"], model)


def _message(kind: str, place: Location, value: Any, model: type[BaseModel]) -> str:
    """Return the message for a fault that Pydantic found itself."""
    if kind == "extra_forbidden":
        return _unknown(model_at(model, place[:-1]), str(place[-1]))
    if kind == "missing":
        return f"{_MISSING}: {_description(model, place)}"
    for start, expected in _EXPECTED.items():
        if kind.startswith(start):
            return f"must be {expected}, got {kind_of(value)}"
    return f"is not valid, got {kind_of(value)}"


def _unknown(model: type[BaseModel] | None, key: str) -> str:
    if model is None:
        return "unknown key"
    return f"unknown key{did_you_mean(key, model.model_fields)}"


def _description(model: type[BaseModel], place: Location) -> str:
    owner = model_at(model, place[:-1])
    field = owner.model_fields.get(str(place[-1])) if owner else None
    return (field.description if field else None) or "it must be given"


def _is_of_binding(model: type[BaseModel], place: Location) -> bool:
    return model_at(model, place[:-1]) is Binding


def _faults_of_levels(
    place: Location, value: Any, level: type[Severity | Verbosity]
) -> Iterator[tuple[Location, str]]:
    is_list = isinstance(value, (list, tuple))
    if is_list and not value:
        yield place, "must have at least one level, got an empty array"
    for index, each in enumerate(value if is_list else [value]):
        if not isinstance(each, str) or each not in list(level):
            hint = did_you_mean(each, map(str, level)) if isinstance(each, str) else ""
            got = shown(each) if isinstance(each, (str, int, float)) else kind_of(each)
            message = f"must be {any_of(list(level))}, got {got}{hint}"
            yield ((*place, index) if is_list else place), message


def _steps(path: str) -> Location:
    """Return the steps of a path that is text, such as ``body.calls[3]["a.b"]``."""
    return tuple(
        int(match[2]) if match[2] else match[1] or match[3] or "" for match in _STEP.finditer(path)
    )


def model_at(model: type[BaseModel], place: Location) -> type[BaseModel] | None:
    """Return the model that a place in a document of ``model`` belongs to."""
    found: Any = model
    for step in place:
        if isinstance(found, type) and issubclass(found, BaseModel):
            field = found.model_fields.get(str(step))
            found = None if field is None else field.annotation
        else:  # an element of an array, or a member of a table with free keys
            inner = [each for each in get_args(found) if each not in {str, Ellipsis}]
            found = inner[-1] if inner else None
        found = _plain(found)
    return found if isinstance(found, type) and issubclass(found, BaseModel) else None


def written_of(field: FieldInfo) -> Written | None:
    """Return how the value of a key is written; None for a table with a model."""
    for each in get_args(field.annotation):
        # The metadata of an optional value is inside the alternative.
        found = [each for each in get_args(each)[1:] if isinstance(each, Written)]
        if get_origin(each) is Annotated and found:
            return found[0]
    return next((each for each in field.metadata if isinstance(each, Written)), None)


def _plain(annotation: Any) -> Any:
    """Return the type without metadata, and without the alternative None."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if type(None) in get_args(annotation):
        [annotation, *_] = [each for each in get_args(annotation) if each is not type(None)]
        return _plain(annotation)
    return annotation
