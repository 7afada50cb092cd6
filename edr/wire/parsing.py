"""Shared by the decoders of JSON forms: parse the document, and name faults as the form does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_core import from_json

from edr.errors import InvalidEventError, kind_of
from edr.records import Event


def json_object(data: str | bytes | bytearray, what: str) -> dict[str, Any]:
    """Return the JSON object in ``data``, with every integer as it was written.

    Rejected: ``orjson.loads``, which silently turns an integer beyond 64 bits into a float.

    Raises:
        InvalidEventError: ``data`` is not a JSON object.
    """
    try:
        document = from_json(data, allow_inf_nan=False)
    except ValueError as exc:
        raise InvalidEventError(f"{what} must be JSON, got a syntax error: {exc}") from None
    if type(document) is not dict:
        raise InvalidEventError(f"{what} must be a JSON object, got {kind_of(document)}")
    return document


def event_of(fields: Mapping[str, Any], names: Mapping[str, str]) -> Event:
    """Return the event of ``fields``. ``names`` maps each field to its name in the form.

    Raises:
        InvalidEventError: a field is wrong; ``path`` has the form's name of it.
    """
    try:
        return Event.model_validate(fields)
    except InvalidEventError as exc:
        raise InvalidEventError(exc.reason, _renamed(exc.path, names)) from exc


def _renamed(path: str, names: Mapping[str, str]) -> str:
    for field, name in names.items():
        if path == field or path.startswith((f"{field}.", f"{field}[")):
            return (name + path.removeprefix(field)).removeprefix(".")
    return path
