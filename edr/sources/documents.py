"""Documents as events: edr's own JSON, and CloudEvents.

``id``, ``node`` and ``timestamp`` are kept where a document has them. Where they are missing, they
are filled in here, once: an event keeps them when it is published again after a fault.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from pydantic_core import from_json, to_json

from edr.errors import InvalidEventError, kind_of
from edr.records import Event, completed_event
from edr.wire import cloudevents

Decode: TypeAlias = Callable[[Any, str], Event]
"""``decode(document, node)``: the event of a document, as bytes or as parsed JSON.

Raises ``InvalidEventError``."""


def decode_native(document: Any, node: str) -> Event:
    """Return the event of edr's own JSON. Unknown fields are ignored.

    Args:
        document: the JSON as bytes, or as a parsed value.
        node: the node of an event without one.

    Raises:
        InvalidEventError: the document is not an event; ``path`` names the field.
    """
    if type(document) is bytes:
        document = parsed(document)
    if type(document) is not dict:
        raise InvalidEventError(f"an event must be a JSON object, got {kind_of(document)}")
    return completed_event(document, node)


def decode_cloudevent(document: Any, node: str) -> Event:  # noqa: ARG001 - its source is its node
    """Return the event of a CloudEvent, as ``edr.wire.cloudevents.decode`` does."""
    return cloudevents.decode(document if type(document) is bytes else to_json(document))


def parsed(document: bytes) -> Any:
    """Return the value of a JSON document, with every integer as it was written.

    Raises:
        InvalidEventError: it is not JSON.
    """
    try:
        return from_json(document, allow_inf_nan=False)
    except ValueError as exc:
        raise InvalidEventError(f"must be JSON: {exc}") from None
