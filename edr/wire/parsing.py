"""What the readers of JSON forms share: the document, and faults told in the form's own names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_core import from_json

from edr.errors import InvalidEventError, kind_of
from edr.records import Event


def json_object(data: str | bytes | bytearray, what: str) -> dict[str, Any]:
    """Read a JSON object, with every integer as it was written.

    Rejected: ``orjson.loads``, which makes a float of an integer beyond 64 bits without a word.

    Raises:
        InvalidEventError: it is none.
    """
    try:
        document = from_json(data, allow_inf_nan=False)
    except ValueError as exc:
        raise InvalidEventError(f"this is no JSON: {exc}") from None
    if type(document) is not dict:
        raise InvalidEventError(f"{what} is a JSON object, not {kind_of(document)}")
    return document


def event_of(fields: Mapping[str, Any], names: Mapping[str, str]) -> Event:
    """Make an event of ``fields``, which ``names`` maps to what the form calls them.

    Raises:
        InvalidEventError: one is wrong; ``path`` has the form's name for it.
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
