"""The frames of the WebSocket: reads the requests of a client, and makes the answers.

A frame is one JSON object as text. A client sends ``{"do": …}`` and receives ``{"is": …}``.
``docs/web.md`` lists all frames. The answers are made here, byte for byte, and nowhere else.

An error contains no value of the request but its ``do``, its ``id`` and parts of a binding. So it
contains no token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson
from pydantic_core import from_json

from edr.errors import did_you_mean, join_path, kind_of
from edr.records import Binding
from edr.streams import Missed, Record
from edr.web.authentication import MAX_TOKEN
from edr.web.gaps import gap_document
from edr.web.refusals import RefusedError
from edr.web.requests import bindings_of, count_of

VERSION = 1
"""The version of the protocol."""

MAX_ID = 64
"""Characters of the id of a subscription. It is repeated with each event."""

MAX_CURSOR = 128
"""Characters of a cursor. A longer text is not one, and it is not stored."""

MAX_NUMBER = 2**53
"""The largest number that every client reads without a loss."""

ERRORS: dict[str, str] = {
    "invalid_request": "a field of the request is missing or wrong; `path` names it",
    "unknown_request": "the gateway does not serve this request",
    "invalid_binding": "a binding is not valid; `path` names the field",
    "hello_required": "the first request must be `hello`, since no header has a token",
    "already_authenticated": "the connection is authenticated, and takes no further token",
    "duplicate_id": "the connection has a subscription with this id",
    "unknown_id": "the connection has no subscription with this id",
    "too_many_subscriptions": "the connection has as many subscriptions as it may have",
    "not_found": "the gateway does not have the event of this cursor, or may not show it",
    "too_large": "the answer would be too large",
    "failed": "the request is valid, and failed; `detail` has the reason",
}
"""The codes of errors, each with its meaning. ``docs/web.md`` has the same table."""


class NotJSONError(ValueError):
    """A frame is not a JSON object."""


class RequestError(Exception):
    """A request is refused. The connection continues.

    Args:
        code: a key of ``ERRORS``.
        detail: the reason.
        path: the place in the request.
    """

    def __init__(self, code: str, detail: str, path: str = "") -> None:
        super().__init__(code, detail, path)
        self.code: str = code
        self.detail: str = detail
        self.path: str = path


# The requests


@dataclass(frozen=True, slots=True)
class Hello:
    """Authenticate the connection."""

    token: str | None
    """The token; ``None`` if the client has none. It is not in the text of this object."""

    def __repr__(self) -> str:
        return "Hello()"


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Begin a subscription."""

    id: str
    """Names it in all frames."""
    bindings: tuple[Binding, ...]
    """The events; empty for every event."""
    after: str | None = None
    """The cursor of the last event that the client has."""
    last: int | None = None
    """Begin with this number of earlier events."""


@dataclass(frozen=True, slots=True)
class Rebind:
    """Replace the bindings of a subscription."""

    id: str
    """The subscription."""
    bindings: tuple[Binding, ...]
    """The events from now on; empty for every event."""


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """End a subscription."""

    id: str
    """The subscription."""


@dataclass(frozen=True, slots=True)
class Explain:
    """Explain which parts of the process receive an event."""

    id: str
    """Names the request in its answer."""
    cursor: str
    """The cursor of the event."""


@dataclass(frozen=True, slots=True)
class Ping:
    """Answer at once."""

    n: int
    """Repeated in the answer."""


Request: TypeAlias = Hello | Subscribe | Rebind | Unsubscribe | Explain | Ping


def read_object(text: str | bytes) -> Mapping[str, Any]:
    """Return the object of a frame.

    Raises:
        NotJSONError: it is not a JSON object, nested too deeply, or not valid UTF-8.
    """
    try:
        # Not orjson.loads, which reads an integer of more than 64 bits as a float.
        found = from_json(text, allow_inf_nan=False)
    except (ValueError, TypeError):  # TypeError: a lone surrogate
        raise NotJSONError("a frame must be a JSON object") from None
    if not isinstance(found, dict):
        raise NotJSONError(f"a frame must be a JSON object, got {kind_of(found)}")
    return found


def read_request(frame: Mapping[str, Any]) -> Request:
    """Return the request of a frame.

    Raises:
        RequestError: it is not valid.
    """
    do = frame.get("do")
    if not isinstance(do, str):
        raise RequestError("invalid_request", f"must be text, got {_kind(frame, 'do')}", "do")
    if do not in _REQUESTS:
        raise RequestError(
            "unknown_request", f"do must name a request{did_you_mean(do, _REQUESTS)}", "do"
        )
    fields, read = _REQUESTS[do]
    for name in frame:
        if name not in fields and name != "do":
            raise RequestError(
                "invalid_request",
                f"{do} has no such field{did_you_mean(name, fields)}",
                join_path(name),
            )
    try:
        return read(frame)
    except RefusedError as refusal:
        raise RequestError(refusal.code, refusal.detail, refusal.path) from None


def _hello(frame: Mapping[str, Any]) -> Hello:
    token = frame.get("token")
    if token is not None and (not isinstance(token, str) or not 0 < len(token) <= MAX_TOKEN):
        raise RequestError(
            "invalid_request", f"must be text of 1 to {MAX_TOKEN:,} characters", "token"
        )
    return Hello(token)


def _subscribe(frame: Mapping[str, Any]) -> Subscribe:
    after = frame.get("after")
    if after is not None and not isinstance(after, str):
        raise RequestError("invalid_request", f"must be a cursor, got {kind_of(after)}", "after")
    last = count_of(frame.get("last"))
    return Subscribe(_id(frame), _bindings(frame), after and after[:MAX_CURSOR], last)


def _rebind(frame: Mapping[str, Any]) -> Rebind:
    return Rebind(_id(frame), _bindings(frame))


def _unsubscribe(frame: Mapping[str, Any]) -> Unsubscribe:
    return Unsubscribe(_id(frame))


def _explain(frame: Mapping[str, Any]) -> Explain:
    cursor = frame.get("cursor")
    if not isinstance(cursor, str) or not 0 < len(cursor) <= MAX_CURSOR:
        raise RequestError(
            "invalid_request", f"must be a cursor, got {_kind(frame, 'cursor')}", "cursor"
        )
    return Explain(_id(frame), cursor)


def _ping(frame: Mapping[str, Any]) -> Ping:
    n: Any = frame.get("n")
    if not _is_whole(n, -MAX_NUMBER, MAX_NUMBER):
        raise RequestError(
            "invalid_request", f"must be a whole number, got {_kind(frame, 'n')}", "n"
        )
    return Ping(n)


_REQUESTS: dict[str, tuple[frozenset[str], Callable[[Mapping[str, Any]], Request]]] = {
    "hello": (frozenset({"token"}), _hello),
    "subscribe": (frozenset({"id", "bindings", "after", "last"}), _subscribe),
    "rebind": (frozenset({"id", "bindings"}), _rebind),
    "unsubscribe": (frozenset({"id"}), _unsubscribe),
    "explain": (frozenset({"id", "cursor"}), _explain),
    "ping": (frozenset({"n"}), _ping),
}
"""Name -> its fields, and its reader."""


def _id(frame: Mapping[str, Any]) -> str:
    name = frame.get("id")
    if not isinstance(name, str) or not 0 < len(name) <= MAX_ID:
        raise RequestError("invalid_request", f"must be text of 1 to {MAX_ID} characters", "id")
    return name


def _bindings(frame: Mapping[str, Any]) -> tuple[Binding, ...]:
    value = frame.get("bindings")
    return () if value is None else bindings_of(value)


def _kind(frame: Mapping[str, Any], name: str) -> str:
    return kind_of(frame[name]) if name in frame else "no such field"


def _is_whole(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


# The answers


def hello(account: str | None, node: str) -> str:
    """Return the first frame: the client is authenticated."""
    return _frame({"is": "hello", "edr": VERSION, "account": account, "node": node})


def subscribed(id: str, cursor: str) -> str:
    """Return the answer to ``subscribe`` and ``rebind``."""
    return _frame({"is": "subscribed", "id": id, "cursor": cursor})


def unsubscribed(id: str) -> str:
    """Return the answer to ``unsubscribe``."""
    return _frame({"is": "unsubscribed", "id": id})


def pong(n: int) -> str:
    """Return the answer to ``ping``."""
    return _frame({"is": "pong", "n": n})


def explained(id: str, cursor: str, results: Sequence[Mapping[str, Any]]) -> str:
    """Return the answer to ``explain``."""
    return _frame({"is": "explained", "id": id, "cursor": cursor, "results": results})


def bye(reason: str) -> str:
    """Return the last frame."""
    return _frame({"is": "bye", "reason": reason})


def error(error: RequestError, frame: Mapping[str, Any]) -> str:
    """Return the answer to a request that is refused.

    It repeats ``do`` and ``id`` if these are text, and not too long.
    """
    message: dict[str, Any] = {"is": "error"}
    for name in ("do", "id"):
        value = frame.get(name)
        if isinstance(value, str) and len(value) <= MAX_ID:
            message[name] = value
    message["code"] = error.code
    if error.path:
        message["path"] = error.path
    # A lone surrogate has no JSON.
    detail = error.detail.encode("utf-8", "replace").decode()
    return _frame({**message, "detail": detail})


def at(ids: Iterable[str], cursor: str) -> str:
    """Return the heartbeat of subscriptions: they have everything up to ``cursor``."""
    return _frame({"is": "at", "to": list(ids), "cursor": cursor})


def gap(id: str, missed: Missed) -> str:
    """Return the report of events that a subscription did not receive."""
    return _frame({"is": "gap", "to": [id], **gap_document(missed), "cursor": missed.cursor})


EVENTS_HEAD, EVENTS_TAIL = b'{"is":"events","events":[', b"]}"
"""The bytes around the entries of a frame of events, which are joined by commas."""

EVENTS_OVERHEAD = len(EVENTS_HEAD) + len(EVENTS_TAIL) - 1
"""Bytes of a frame of events without its entries, where each of these counts one for its comma."""


def entry(to: bytes, record: Record) -> bytes:
    """Return the entry of an event in a frame of events.

    The JSON of the event is not made again: it is shared by all clients.

    Args:
        to: the ids of its subscriptions, as ``ids_json`` returns them.
        record: the event.
    """
    return b'{"to":%b,"cursor":"%b","event":%b}' % (to, record.cursor.encode(), record.json)


def events(entries: Iterable[bytes]) -> str:
    """Return a frame of events."""
    return (EVENTS_HEAD + b",".join(entries) + EVENTS_TAIL).decode()


def ids_json(ids: Iterable[str]) -> bytes:
    """Return the ids of subscriptions as the JSON of an array."""
    return orjson.dumps(list(ids))


def _frame(message: Mapping[str, Any]) -> str:
    return orjson.dumps(message).decode()
