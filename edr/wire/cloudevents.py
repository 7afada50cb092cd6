"""CloudEvents 1.0, structured JSON: the form that other event systems read and write.

================  ==============================================================
``id``            the event's
``source``        ``/app/<app>/<node>``, percent-encoded, so ``<app>`` can be anything
``type``          ``edr.<app>.<severity>``
``subject``       the account, where there is one; ``accountid`` says the same
``time``          the time stamp, with its microseconds
``data``          the body
extensions        ``severity``, ``verbosity``, ``appversion``, ``accountid``, and
                  ``accounttree``: the accounts above as a path, ``root/reseller``;
                  ``traceparent``, as in the Distributed Tracing extension
================  ==============================================================

``decode(encode(event)) == event`` for every event. The attributes of a CloudEvent must not contain
control characters, so these are percent-encoded. ``%`` is percent-encoded too.

**Events of other systems.** A CloudEvent that edr did not write becomes an event whose app is its
``source``. It is ``ok`` and ``info`` unless its extensions name other levels of edr. Its body is
the whole CloudEvent, so nothing is lost. The specification makes ``time`` optional. Without it, the
event gets the time at which it is read. A ``traceparent`` that is not valid is ignored.

``encode_batch`` writes the batch form of JSON, and ``encode_binary`` the binary form of HTTP, whose
headers are the attributes. Both are only written.

An attribute that is ``null`` counts as absent, as the specification demands.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, TypeVar
from urllib.parse import quote, unquote

import orjson

from edr.errors import InvalidEventError, kind_of
from edr.records import Event, Severity, Verbosity, is_traceparent
from edr.wire.parsing import event_of, json_object

L = TypeVar("L", Severity, Verbosity)

CONTENT_TYPE = "application/cloudevents+json"
BATCH_CONTENT_TYPE = "application/cloudevents-batch+json"
BINARY_CONTENT_TYPE = "application/json"

_NAMES = {
    "app_name": "source",
    "node": "source",
    "app_version": "appversion",
    "account_id": "accountid",
    "account_tree": "accounttree",
    "timestamp": "time",
    "body": "data",
}

_SOURCE = re.compile(r"/app/([^/]+)/([^/]+)")
# The specification forbids control characters and Unicode's noncharacters in text. % escapes them.
_NONCHARACTERS = "".join(chr(plane << 16 | low) for plane in range(17) for low in (0xFFFE, 0xFFFF))
_HEADER_SAFE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')
_unfit = re.compile(f"[\x00-\x1f\x7f-\x9f%\ufdd0-\ufdef{_NONCHARACTERS}]")


def encode(event: Event) -> bytes:
    """Return ``event`` as a CloudEvent."""
    return orjson.dumps(_attributes(event) | {"data": event.body})


def encode_batch(events: Iterable[Event]) -> bytes:
    """Return ``events`` in the JSON batch form, whose type is ``BATCH_CONTENT_TYPE``."""
    return b"[" + b",".join(map(encode, events)) + b"]"


def encode_binary(event: Event) -> tuple[dict[str, str], bytes]:
    """Return ``event`` in the binary form of HTTP: the headers, and the body of the event.

    The headers are the ``ce-`` attributes and the content type. Characters that a header cannot
    contain are percent-encoded, as the specification demands.
    """
    attributes = _attributes(event)
    content_type = attributes.pop("datacontenttype")
    headers = {f"ce-{name}": _header(value) for name, value in attributes.items()}
    return {"content-type": content_type, **headers}, orjson.dumps(event.body)


def _header(value: str) -> str:
    return quote(value, safe=_HEADER_SAFE)


def _attributes(event: Event) -> dict[str, Any]:
    document: dict[str, Any] = {
        "specversion": "1.0",
        "id": _text(event.id),
        "source": f"/app/{quote(event.app_name, safe='')}/{quote(event.node, safe='')}",
        "type": f"edr.{_text(event.app_name)}.{event.severity}",
        "time": event.timestamp.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "severity": event.severity,
        "verbosity": event.verbosity,
        "appversion": _text(event.app_version),
    }
    if event.account_id is not None:
        document["subject"] = document["accountid"] = _text(event.account_id)
    if event.account_tree:
        document["accounttree"] = "/".join(quote(each, safe="") for each in event.account_tree)
    if event.traceparent is not None:
        document["traceparent"] = event.traceparent
    return document


def decode(data: str | bytes | bytearray) -> Event:
    """Return the event of a CloudEvent that edr or another system wrote.

    Raises:
        InvalidEventError: ``data`` is not a CloudEvent, or cannot be an event; ``path`` names the
            attribute that is missing or wrong.
    """
    document = json_object(data, "a CloudEvent")
    attributes = {name: value for name, value in document.items() if value is not None}
    _check_attributes(attributes)
    source = _SOURCE.fullmatch(attributes["source"])
    if source is not None and attributes["type"].startswith("edr."):
        fields, names = _ours(attributes, source), _NAMES
    else:
        fields, names = _others(attributes) | {"body": document}, _NAMES | {"body": ""}
    return event_of(fields, names)


def _check_attributes(document: dict[str, Any]) -> None:
    if document.get("specversion") != "1.0":
        raise InvalidEventError(f"must be 1.0, got {document.get('specversion')!r}", "specversion")
    for name in ("id", "source", "type"):
        if not isinstance(document.get(name), str) or not document[name]:
            raise InvalidEventError("must be a non-empty string", name)
    for name in ("appversion", "accountid", "accounttree"):
        if not isinstance(document.get(name, ""), str):
            raise InvalidEventError(f"must be a string, got {kind_of(document[name])}", name)


def _ours(document: dict[str, Any], source: re.Match[str]) -> dict[str, Any]:
    return {
        "id": unquote(document["id"]),
        "app_name": unquote(source[1]),
        "node": unquote(source[2]),
        "app_version": unquote(_required(document, "appversion")),
        "severity": _required(document, "severity"),
        "verbosity": _required(document, "verbosity"),
        "account_id": unquote(document.get("accountid", "")) or None,
        "account_tree": _tree(document),
        "timestamp": _required(document, "time"),
        "body": _required(document, "data"),
        "traceparent": document.get("traceparent"),
    }


def _others(document: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": document["id"],
        "app_name": document["source"],
        "node": document["source"],
        "app_version": document.get("appversion") or "unknown",
        "severity": _known(document.get("severity"), Severity.OK),
        "verbosity": _known(document.get("verbosity"), Verbosity.INFO),
        "account_id": document.get("accountid") or None,
        "account_tree": _tree(document),
        "traceparent": _trace_of_others(document.get("traceparent")),
    } | ({"timestamp": document["time"]} if "time" in document else {})


def _known(level: object, otherwise: L) -> L:
    return next((each for each in type(otherwise) if level == each), otherwise)


def _trace_of_others(value: object) -> str | None:
    # The W3C specification: a receiver ignores a traceparent that it cannot parse.
    return value if isinstance(value, str) and is_traceparent(value) else None


def _required(document: dict[str, Any], name: str) -> Any:
    if name not in document:
        raise InvalidEventError("is required in a CloudEvent of edr", name)
    return document[name]


def _tree(document: dict[str, Any]) -> list[str]:
    path = document.get("accounttree")
    return [unquote(each) for each in path.split("/")] if path else []


def _text(value: str) -> str:
    return _unfit.sub(lambda match: quote(match[0]), value)
