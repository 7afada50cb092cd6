"""The responses of an HTTP receiver: delivered, sent again later, or rejected.

=====================================  ==========================================================
response                               outcome
=====================================  ==========================================================
2xx                                    delivered
408, 425, 429, 5xx, 1xx                sent again later, ``Retry-After`` seconds from now or later
3xx, 401, 403, 404, 405, 407           sent again slowly, with an alert: the URL, the method or the
                                       credentials of the sink are wrong, and no event is
413                                    rejected; a batch is sent again in halves
410, other 4xx                         rejected; each event of a batch is sent again by itself
=====================================  ==========================================================
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from edr.sinks.errors import RejectError, RetryError

MAX_RETRY_AFTER = 3600.0
"""Seconds of ``Retry-After`` that are honoured, at most. A receiver that names a day, or a date
with a wrong year, must not stop the sink for longer than a person needs to see it."""

_TOO_LARGE = 413  # the name in HTTPStatus depends on the version of Python
_SOON = frozenset({408, 425, 429})
_SLOW = {
    401: "check its credentials",
    403: "check its credentials and permissions",
    404: "check its URL",
    405: "check its method",
    407: "a proxy requires credentials",
}
_DELTA = re.compile(r"[0-9]{1,9}")


def failure_of(
    status: int, retry_after: str | None, details: str
) -> RetryError | RejectError | None:
    """Return the exception that a response stands for; ``None`` if it means delivered.

    Args:
        status: the status code.
        retry_after: the header ``Retry-After``.
        details: what the receiver wrote, printable and without secrets; may be empty.
    """
    reason = f"{describe(status)}: {details}" if details else describe(status)
    after = seconds_of(retry_after)
    if status in _SOON:
        return RetryError(reason, after=after)
    if status in _SLOW:
        return RetryError(f"{reason} ({_SLOW[status]})", after=after, slow=True)
    match status // 100:
        case 2:
            return None
        case 3:
            words = f"{describe(status)}: redirects are not followed; use the new URL"
            return RetryError(words, after=after, slow=True)
        case 4:
            return RejectError(reason, too_large=status == _TOO_LARGE)
        case _:
            return RetryError(reason, after=after)


def describe(status: int) -> str:
    """Return a status with its name, such as ``404 Not Found``.

    The name is that of the standard: the receiver's own words are not shown.
    """
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def seconds_of(retry_after: str | None, now: datetime | None = None) -> float | None:
    """Return the seconds that ``Retry-After`` requests, as seconds or as a date.

    At most ``MAX_RETRY_AFTER``; 0 for a date in the past; ``None`` without a valid header.
    """
    value = (retry_after or "").strip()
    if _DELTA.fullmatch(value):
        return min(float(value), MAX_RETRY_AFTER)
    if not value or value.isdecimal():  # a number that is absurd counts as the limit
        return MAX_RETRY_AFTER if value else None
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError, TypeError):
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    seconds = (date - (now or datetime.now(UTC))).total_seconds()
    return min(max(0.0, seconds), MAX_RETRY_AFTER)
