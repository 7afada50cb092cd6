"""``Request``: one frame of a client, and ``Target``: the subscription that it names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import uuid4

import orjson

from edr.web.blackhole.keys import FAMILY, Key
from edr.web.blackhole.replies import (
    BINDING_FORMAT,
    MISSING_KEYS,
    NO_DATA,
    NO_SUCH_FAMILY,
    NOT_AN_OBJECT,
    NOT_TEXT,
    RequestError,
)

MAX_NAME = 255
"""Characters of a ``name``, and of an account or a binding: bytes of a routing key in AMQP."""

MAX_METADATA = 4096
"""Bytes of the JSON of ``metadata``, which is kept as long as the connection."""


class Target(NamedTuple):
    """An account and a key. Together they identify a subscription of a connection."""

    account_id: str
    key: Key | None
    """The key; ``None`` if it is of a family that is not served."""

    def served_key(self) -> Key:
        """Return the key.

        Raises:
            RequestError: its family is not served.
        """
        if self.key is None:
            raise RequestError(NO_SUCH_FAMILY)
        return self.key


@dataclass(frozen=True, slots=True)
class Request:
    """One request, with members of the right types. Other members are ignored, as in Kazoo."""

    id: str | int
    """Repeated in the reply; a random one if the client sent none."""
    action: str
    token: str | None = field(repr=False)
    data: Mapping[str, Any] = field(repr=False)
    name: str | None = None
    metadata: Any = None

    def target(self) -> Target:
        """Return the subscription that ``data`` names.

        Raises:
            RequestError: ``data`` is not complete, or not valid.
        """
        data = self.data
        if not data:
            raise RequestError(NO_DATA)
        missing = [name for name in ("account_id", "binding") if data.get(name) is None]
        if missing:
            raise RequestError(MISSING_KEYS + ", ".join(missing))
        account_id, binding = data["account_id"], data["binding"]
        if not _is_name(account_id):
            raise RequestError(f"account_id must be text of 1 to {MAX_NAME} characters")
        if not _is_name(binding):
            raise RequestError(BINDING_FORMAT)
        family, *parts = binding.split(".")
        return Target(account_id, Key.of_parts(parts) if family == FAMILY else None)


def new_id() -> str:
    """Return the id of a request that has none."""
    return uuid4().hex


def parse(frame: str | bytes) -> Request:
    """Return the request of a frame.

    Raises:
        RequestError: it is binary, or not a JSON object.
    """
    if isinstance(frame, bytes):
        raise RequestError(NOT_TEXT)
    try:
        document = orjson.loads(frame)
    except orjson.JSONDecodeError:  # its text has a part of the frame
        document = None
    if not isinstance(document, dict):
        raise RequestError(NOT_AN_OBJECT)
    action, data, token = (document.get(name) for name in ("action", "data", "auth_token"))
    request_id, name = document.get("request_id"), document.get("name")
    if not isinstance(request_id, (str, int)) or isinstance(request_id, bool):
        request_id = new_id()
    return Request(
        id=request_id,
        action=action if isinstance(action, str) else "",
        token=token if isinstance(token, str) and token else None,
        data=data if isinstance(data, dict) else {},
        name=name[:MAX_NAME] if isinstance(name, str) else None,
        metadata=_kept(document.get("metadata")),
    )


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_NAME


def _kept(metadata: Any) -> Any:
    """Return ``metadata``, or ``None`` if it is too large or too deep to be kept."""
    try:
        size = len(orjson.dumps(metadata))
    except orjson.JSONEncodeError:  # it is nested too deeply
        return None
    return None if size > MAX_METADATA else metadata
