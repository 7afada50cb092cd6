"""``plain``: values of the program as JSON that can be shown.

Names of subscriptions, errors of callbacks and the status of parts contain what the program put
there: any type, text that no encoding can write, and addresses with passwords. An answer must not
fail because of them, and must not show a password.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, timedelta
from enum import Enum
from itertools import islice
from math import isfinite
from typing import Any

_USERINFO = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,15}://)\S*@")

MAX_TEXT = 2_000
"""Characters of one text. An error of a database driver may contain the whole statement."""

MAX_ITEMS = 1_000
"""Items of one array or object."""

MAX_DEPTH = 8

_INT_MAX = 2**63


def plain(value: Any, depth: int = MAX_DEPTH) -> Any:
    """Return ``value`` as JSON types, cut to a bounded size, without user names and passwords."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return plain(value.value, depth)
    if isinstance(value, (int, float)):
        return _number(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, str):
        return text(value)
    if depth and not isinstance(value, (bytes, bytearray)):
        return _container(value, depth - 1)
    return _other(value)


def _other(value: object) -> str:
    try:
        return text(str(value))
    except Exception:  # code of the program, or too deep
        return f"<{type(value).__name__}>"


def _number(value: float) -> float | str | None:
    if isinstance(value, int):
        return int(value) if -_INT_MAX <= value < _INT_MAX else str(value)
    return float(value) if isfinite(value) else None


def _container(value: Any, depth: int) -> Any:
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        value = value._asdict()
    elif is_dataclass(value) and not isinstance(value, type):
        value = {each.name: getattr(value, each.name) for each in fields(value)}
    if isinstance(value, Mapping):
        items = islice(value.items(), MAX_ITEMS)
        return {_other(key): plain(each, depth) for key, each in items}
    if isinstance(value, Iterable):
        return [plain(each, depth) for each in islice(value, MAX_ITEMS)]
    return _other(value)


def text(value: str) -> str:
    """Return ``value`` without user names and passwords of URLs, cut, and encodable as UTF-8."""
    value = str.__str__(value)[: 4 * MAX_TEXT]  # an address at the cut is still complete
    if "@" in value:
        value = _USERINFO.sub(r"\1…@", value)
    if len(value) > MAX_TEXT:
        value = f"{value[:MAX_TEXT]}…"
    return value if value.isascii() else value.encode("utf-8", "replace").decode()
