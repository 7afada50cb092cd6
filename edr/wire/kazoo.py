"""Kazoo's own wire: the AMQP payload of an EDR event, and the keys that route it.

A Kazoo cluster publishes its events to one topic exchange. Kazoo consumers read these bytes there,
and Kazoo applications write them.

**Payload.** One flat JSON object of dashed names, in the order in which Kazoo writes them.
Undefined fields are left out. Members of the body whose value is an empty string are left out at
any depth; lists keep their elements. Each encoding has its own ``Msg-ID``.

**Losses.** Times are whole seconds, so microseconds are lost. Empty strings in the body are lost.
``traceparent`` is lost: Kazoo has no field for it.

**Keys.** ``edr.<severity>.<verbosity>.<account>.<app>``, not percent-encoded as other Kazoo keys
are. So a name with dots is several words, and the key of ``my.app`` has six. Two different events
can have the same key, so a receiver must match each event against its bindings.

**Time stamp.** AMQP defines this property as seconds since 1970. Kazoo sets it to microseconds
since the year 0. Read by the definition, it is a time in the year 2,025,967.

Decoding requires the fields of an event. ``Msg-ID`` and ``Gregorian-Time`` may be missing.

Rejected: ``Event`` with aliases (a second model of the same fields, to keep in step); removing
empty strings from every body (most have none, and a search in the bytes takes a third of the time).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from uuid_utils import uuid4

from edr.errors import InvalidEventError
from edr.records import Binding, Event, Severity, Verbosity
from edr.wire.parsing import event_of, json_object

EXCHANGE = "kapps"
"""A topic exchange, neither durable nor auto-delete. A broker refuses any other declaration."""
CONTENT_TYPE = "application/json"
"""Without a charset: a Kazoo consumer crashes on one."""
MAX_KEY = 255
"""Bytes of a routing key that AMQP can carry."""
NO_ACCOUNT = "undefined"
WHOLE_SECONDS = orjson.OPT_UTC_Z | orjson.OPT_OMIT_MICROSECONDS
"""How Kazoo writes a time: without a fraction, and with a Z."""

_GREGORIAN_EPOCH_US = 62_167_219_200 * 10**6
_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

# Member of the payload -> field of the event. The other members belong to the envelope.
_FIELDS = {
    "Account-ID": "account_id",
    "Account-Tree": "account_tree",
    "Node": "node",
    "Verbosity": "verbosity",
    "Timestamp": "timestamp",
    "Severity": "severity",
    "ID": "id",
    "Body": "body",
    "App-Version": "app_version",
    "App-Name": "app_name",
}
_NAMES = {field: name for name, field in _FIELDS.items()}


def encode(event: Event) -> bytes:
    """Return the payload of ``event``, with a new ``Msg-ID``."""
    payload = _payload(event)
    data = orjson.dumps(payload, option=WHOLE_SECONDS)
    if b'""' in data:  # empty text, or text that ends in a quote
        payload["Body"] = without_empty_text(event.body)
        data = orjson.dumps(payload, option=WHOLE_SECONDS)
    return data


def decode(data: str | bytes | bytearray) -> Event:
    """Return the event of a payload.

    Some Kazoo applications put the event's own account into its tree. It is removed from there.

    Raises:
        InvalidEventError: ``data`` is not such a payload; ``path`` names the member that is missing
            or wrong.
    """
    payload = json_object(data, "a payload")
    if payload.get("Event-Category") != "edr":
        raise InvalidEventError(
            f"must be 'edr', got {payload.get('Event-Category')!r}", "Event-Category"
        )
    if payload.get("Event-Name") != "event":
        raise InvalidEventError(f"must be 'event', got {payload.get('Event-Name')!r}", "Event-Name")
    fields = {field: payload[name] for name, field in _FIELDS.items() if name in payload}
    account_id = fields["account_id"] = fields.get("account_id") or None
    tree = fields["account_tree"] = fields.get("account_tree") or ()
    if type(tree) is list and account_id in tree:
        fields["account_tree"] = [each for each in tree if each != account_id]
    if len(fields) < len(_FIELDS):
        missing = next(name for name, field in _FIELDS.items() if field not in fields)
        raise InvalidEventError("is required", missing)
    return event_of(fields, _NAMES)


def routing_key(event: Event) -> str:
    """Return the key under which ``event`` is published.

    Raises:
        InvalidEventError: the key is longer than AMQP's limit of 255 bytes.
    """
    key = full_key(event)
    if len(key) > MAX_KEY or (not key.isascii() and len(key.encode()) > MAX_KEY):
        raise InvalidEventError(
            f"the AMQP key must be at most {MAX_KEY} bytes, got {key!r}", "app_name"
        )
    return key


def full_key(event: Event) -> str:
    """Return the key of ``event``, even if AMQP cannot carry it."""
    account_id = event.account_id or NO_ACCOUNT
    return f"edr.{event.severity}.{event.verbosity}.{account_id}.{event.app_name}"


def kazoo_keys(binding: Binding) -> tuple[str, ...]:
    """Return the fewest keys that bind a queue to all events that ``binding`` matches.

    They also match other events, so a receiver must call ``Binding.matches``. All levels are one
    ``*``. Any account, an account with its descendants, and any app are ``#``, since a dotted name
    has several words. A key beyond 255 bytes is left out: no event can be published under it.
    """
    any_account = binding.account_id == "*" or binding.include_descendants
    any_app = binding.app_name == "*"
    if any_account and any_app:
        ends: Iterable[str] = ["*.#"]
    else:
        accounts = ["#"] if any_account else binding.account_ids
        apps = ["#"] if any_app else binding.app_names
        ends = [f"{account}.{app}" for account in accounts for app in apps]
    keys = [
        f"edr.{severity}.{verbosity}.{end}"
        for severity in _all_as_one(binding.severities, Severity)
        for verbosity in _all_as_one(binding.verbosities, Verbosity)
        for end in ends
    ]
    return tuple(dict.fromkeys(key for key in keys if len(key.encode()) <= MAX_KEY))


def amqp_timestamp(event: Event) -> int:
    """Return the AMQP property as Kazoo sets it: microseconds since the year 0."""
    return (event.timestamp - _UNIX_EPOCH) // _MICROSECOND + _GREGORIAN_EPOCH_US


def _payload(event: Event) -> dict[str, Any]:
    payload: dict[str, Any] = {}
    if event.account_id is not None or event.account_tree:
        payload["Account-Tree"] = event.account_tree
    if event.account_id is not None:
        payload["Account-ID"] = event.account_id
    payload["Node"] = event.node
    payload["Verbosity"] = event.verbosity
    payload["Gregorian-Time"] = event.gregorian_time
    payload["Timestamp"] = event.timestamp
    payload["Severity"] = event.severity
    payload["ID"] = event.id
    payload["Body"] = event.body
    payload["Msg-ID"] = uuid4().hex
    payload["Event-Name"] = "event"
    payload["Event-Category"] = "edr"
    payload["App-Version"] = event.app_version
    payload["App-Name"] = event.app_name
    return payload


def without_empty_text(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body without members that are an empty string, at any depth but not in lists."""
    return {
        key: without_empty_text(member) if isinstance(member, dict) else member
        for key, member in value.items()
        if member != ""
    }


def _all_as_one(levels: tuple[str, ...], kind: type[Severity | Verbosity]) -> tuple[str, ...]:
    return ("*",) if len(levels) == len(kind) else levels
