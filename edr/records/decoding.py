"""``decoded`` and ``completed``: the fields of an event from its JSON, checked by hand. Pure.

Every message that a link, a stream or a source receives becomes an event, so reading one is most of
the cost of receiving. Pydantic takes two to three times as long: it calls a Python function for
each field that has rules of its own. So JSON in the form that ``Event.to_json`` writes is checked
here. Any other JSON is left to pydantic, which reads all forms and names each fault. So these
functions may reject what pydantic accepts, but must never accept what pydantic rejects; a property
test compares both.

Rejected: ``orjson.loads``, which reads an integer of more than 64 bits as a float.
"""

from __future__ import annotations

from datetime import UTC, datetime
from math import isfinite
from typing import Any

from pydantic_core import from_json

from edr.records.body import (
    INT_MAX,
    INT_MIN,
    MAX_DEPTH,
    FrozenDict,
    FrozenList,
    frozen_dict,
    frozen_list,
)
from edr.records.fields_set import FIELDS_SET, TRACED_FIELDS_SET
from edr.records.levels import Severity, Verbosity
from edr.records.traceparent import is_traceparent

_SEVERITIES = {level.value: level for level in Severity}
_VERBOSITIES = {level.value: level for level in Verbosity}
_FAULTS = (KeyError, TypeError, ValueError)
"""Raised for a document in another form; ``from_json`` raises ``ValueError``."""
_UNLIMITED = frozenset({str, bool, type(None)})
"""Types of which a body may have every value."""


def decoded(document: str | bytes | bytearray) -> tuple[dict[str, Any], set[str]] | None:
    """Return the fields of an event, and the names of the fields that the JSON has.

    Return ``None`` if the JSON is not as ``Event.to_json`` writes it. It may be valid nevertheless.
    """
    try:
        given = from_json(document, allow_inf_nan=False)
        fields = _checked(given, _time_of(given["timestamp"]))
    except _FAULTS:
        return None
    return fields, TRACED_FIELDS_SET if "traceparent" in given else FIELDS_SET


def completed(
    document: dict[str, Any], timestamp: datetime
) -> tuple[dict[str, Any], set[str]] | None:
    """Return the fields of an event that may have no account and no timestamp of its own.

    Return ``None`` if ``document`` is in another form, as ``decoded`` does.

    Args:
        document: a JSON object as ``from_json`` returned it. It gets the fields that it does not
            have, and its inner containers may become frozen.
        timestamp: the timestamp if it has none.
    """
    document.setdefault("account_id", None)
    document.setdefault("account_tree", [])
    try:
        time = _time_of(document["timestamp"]) if "timestamp" in document else timestamp
        fields = _checked(document, time)
    except _FAULTS:
        return None
    return fields, TRACED_FIELDS_SET if "traceparent" in document else FIELDS_SET


def _checked(given: dict[str, Any], timestamp: datetime | None) -> dict[str, Any]:
    """Return the fields of an event.

    Raises:
        KeyError: a field is missing, or a level is unknown.
        TypeError: a value has another type.
        ValueError: another fault.
    """
    account = given["account_id"]
    tree = given["account_tree"]
    app_name = given["app_name"]
    app_version = given["app_version"]
    event_id = given["id"]
    node = given["node"]
    traceparent = given.get("traceparent")
    if (
        timestamp is None
        or not (account is None or (type(account) is str and account))
        or type(tree) is not list
        or not (type(app_name) is str and app_name)
        or not (type(app_version) is str and app_version)
        or not (type(event_id) is str and event_id)
        or not (type(node) is str and node)
        or not (traceparent is None or (type(traceparent) is str and is_traceparent(traceparent)))
    ):
        raise ValueError
    for above in tree:
        if type(above) is not str or not above or above == account:
            raise ValueError
    return {
        "account_id": account,
        "account_tree": tuple(tree),
        "app_name": app_name,
        "app_version": app_version,
        "body": _frozen_object(given["body"], MAX_DEPTH),
        "id": event_id,
        "node": node,
        "severity": _SEVERITIES[given["severity"]],
        "verbosity": _VERBOSITIES[given["verbosity"]],
        "timestamp": timestamp,
        "traceparent": traceparent,
    }


def _time_of(text: Any) -> datetime | None:
    """Return the time of ``text`` in the one form that ``Event.to_json`` writes, else ``None``.

    ``fromisoformat`` reads more forms than pydantic, and more of them with each version of Python:
    weeks, commas, an hour 24.
    """
    if (
        type(text) is str
        and text[4:5] == "-"
        and text[7:8] == "-"
        and text[10:11] == "T"
        and text[11:13] != "24"
        and text[-1] == "Z"
        and (len(text) == 27 or len(text) == 20)  # noqa: PLR2004 - with and without microseconds
        and text[19] in ".Z"
    ):
        time = datetime.fromisoformat(text)
        return time if time.tzinfo is UTC else None
    return None


# The parser makes plain dicts and lists, so ``body.snapshot``, for any mapping, is not needed.
# It refuses text that cannot be encoded, and repeated containers cannot occur.


def _frozen_object(parsed: dict[str, Any], depth: int) -> FrozenDict:
    if not depth or type(parsed) is not dict:
        raise ValueError
    for key, value in parsed.items():
        kind = type(value)
        if kind in _UNLIMITED:
            continue
        # An existing key is set, so the dict keeps its size while it is iterated over.
        if kind is dict:
            parsed[key] = _frozen_object(value, depth - 1)
        elif kind is list:
            parsed[key] = _frozen_array(value, depth - 1)
        else:
            _check_number(value, kind)
    return frozen_dict(parsed)


def _frozen_array(parsed: list[Any], depth: int) -> FrozenList:
    if not depth:
        raise ValueError
    for index, value in enumerate(parsed):
        kind = type(value)
        if kind in _UNLIMITED:
            continue
        if kind is dict:
            parsed[index] = _frozen_object(value, depth - 1)
        elif kind is list:
            parsed[index] = _frozen_array(value, depth - 1)
        else:
            _check_number(value, kind)
    return frozen_list(parsed)


def _check_number(value: float, kind: type) -> None:
    if not (INT_MIN <= value <= INT_MAX if kind is int else isfinite(value)):
        raise ValueError
