"""``StreamRequest``: the events that a request is for, read from a query or from a JSON body.

An unknown parameter is an error. Otherwise a filter with a wrong name would match every event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
from starlette.requests import Request

from edr.errors import InvalidBindingError, did_you_mean, join_path, kind_of, shown
from edr.patterns import Limits
from edr.records import Binding, bindings_from_json
from edr.web.refusals import RefusedError

MAX_BINDINGS = 32
"""Bindings of one request."""

BINDING_LIMITS = replace(Limits.untrusted(), max_bindings=MAX_BINDINGS)
"""Of the bindings of a client. A match runs within each emit."""

MAX_LAST = 10_000
"""Events of the past that a client can request."""

BODY_TIMEOUT = 10.0
"""Seconds in which a body must arrive."""

_FLAGS = tuple(Binding.model_fields)
_LISTS = ("account_id", "app_name", "severity", "verbosity")
_OTHERS = ("after", "last", "on_gap")
_TRUTH = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True, slots=True)
class StreamRequest:
    """The events that a client requests."""

    bindings: tuple[Binding, ...] = ()
    """Without one, every event that the client may see."""
    after: str | None = None
    """The cursor after which to continue, as the client sent it."""
    last: int | None = None
    """The number of events of the past."""
    fails_on_gap: bool = False
    """Whether missed events end the stream."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """Other fields, as they were sent."""


def bindings_of(value: object, path: str = "bindings") -> tuple[Binding, ...]:
    """Return the bindings of a JSON value: an object, or an array of objects.

    Raises:
        RefusedError: it has a fault, or is beyond a limit.
    """
    is_list = isinstance(value, list)
    if not is_list and not isinstance(value, dict):
        raise RefusedError(
            "invalid_binding",
            f"must be an object or an array of objects, got {kind_of(value)}",
            path,
        )
    documents: Any = value if is_list else [value]
    try:
        read = bindings_from_json(documents, limits=BINDING_LIMITS)
    except InvalidBindingError as exc:
        inner = exc.path if is_list else exc.path.removeprefix("[0]")
        raise RefusedError("invalid_binding", exc.reason, f"{path}{inner}".lstrip(".")) from None
    assert isinstance(read, list)
    return tuple(read)


def count_of(value: object, path: str = "last") -> int | None:
    """Return a number of events of the past.

    Raises:
        RefusedError: it is not valid.
    """
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_LAST:
        raise RefusedError(
            "invalid_request",
            f"must be a whole number from 0 to {MAX_LAST:,}, got {shown(value)}",
            path,
        )
    return value


async def stream_request(
    request: Request, *, max_body: int, more: Collection[str] = ()
) -> StreamRequest:
    """Return the events that ``request`` is for.

    Args:
        request: a GET with a query, or a POST with a JSON object.
        max_body: bytes of a body.
        more: names of other fields that it may have.

    Raises:
        RefusedError: it is not valid.
        ClientDisconnect: the client is gone.
    """
    if request.method == "POST":
        _check_names(request.query_params, ("ticket",))
        read = _from_body(await json_body(request, max_body), more)
    else:
        read = _from_query(request, more)
    last_id = request.headers.get("last-event-id")
    return read if last_id is None else replace(read, after=last_id)


async def json_body(request: Request, max_body: int) -> dict[str, Any]:
    """Return the JSON object in the body of ``request``.

    Raises:
        RefusedError: it is too large, arrives too slowly, or is not a JSON object.
        ClientDisconnect: the client is gone.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            async for chunk in request.stream():
                body += chunk
                if len(body) > max_body:
                    raise RefusedError(
                        "too_large", f"the body must have at most {max_body:,} bytes"
                    )
    except TimeoutError:
        raise RefusedError(
            "invalid_request", f"the body must arrive within {BODY_TIMEOUT:g} s"
        ) from None
    try:
        document = orjson.loads(bytes(body)) if body else {}
    except orjson.JSONDecodeError as exc:
        raise RefusedError("invalid_request", f"the body must be JSON: {exc}") from None
    if not isinstance(document, dict):
        raise RefusedError(
            "invalid_request", f"the body must be a JSON object, got {kind_of(document)}"
        )
    return document


def _from_body(document: dict[str, Any], more: Collection[str]) -> StreamRequest:
    _check_names(document, ("bindings", *_OTHERS, *more))
    bindings = document.get("bindings")
    return StreamRequest(
        () if bindings is None else bindings_of(bindings),
        _text(document.get("after"), "after"),
        count_of(document.get("last")),
        _fails_on_gap(document.get("on_gap")),
        {name: document[name] for name in more if name in document},
    )


def _from_query(request: Request, more: Collection[str]) -> StreamRequest:
    query = request.query_params
    _check_names(query, ("binding", "ticket", *_FLAGS, *_OTHERS, *more))
    flags = {name: query.getlist(name) for name in _FLAGS if name in query}
    documents = query.getlist("binding")
    if flags and documents:
        name = next(iter(flags))
        raise RefusedError("invalid_request", "give either binding or its single fields", name)
    bindings: tuple[Binding, ...] = ()
    if documents:
        bindings = bindings_of(_parsed(documents))
    elif flags:
        document = {name: _flag(name, values) for name, values in flags.items()}
        bindings = bindings_of(document, path="")
    return StreamRequest(
        bindings,
        query.get("after"),
        count_of(_whole(query.get("last"))),
        _fails_on_gap(query.get("on_gap")),
        {name: query[name] for name in more if name in query},
    )


def _parsed(documents: Sequence[str]) -> list[Any]:
    found: list[Any] = []
    for index, text in enumerate(documents):
        value = _json(text, f"binding[{index}]")
        found += value if isinstance(value, list) else [value]
    return found


def _flag(name: str, values: list[str]) -> Any:
    """Return the value of a field of a binding, from the texts of a query."""
    if name in _LISTS:
        return values[0] if len(values) == 1 else values
    if len(values) > 1:
        raise RefusedError("invalid_request", "must be given once", name)
    if name == "body":
        return _json(values[0], name)
    if values[0] not in _TRUTH:
        raise RefusedError(
            "invalid_request", f"must be true or false, got {shown(values[0])}", name
        )
    return _TRUTH[values[0]]


def _json(text: str, path: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as exc:
        raise RefusedError("invalid_request", f"must be JSON: {exc}", path) from None


def _whole(text: str | None) -> object:
    return int(text) if text is not None and text.isdecimal() and len(text) < 10 else text  # noqa: PLR2004


def _text(value: object, path: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise RefusedError("invalid_request", f"must be a text, got {kind_of(value)}", path)
    return value


def _fails_on_gap(value: object) -> bool:
    if value not in (None, "report", "fail"):
        raise RefusedError(
            "invalid_request", f"must be report or fail, got {shown(value)}", "on_gap"
        )
    return value == "fail"


def _check_names(given: Collection[str], known: Collection[str]) -> None:
    for name in given:
        if name not in known:
            raise RefusedError(
                "invalid_request",
                f"unknown parameter {shown(name)}{did_you_mean(name, tuple(known))}",
                join_path(name),
            )
