"""Checks of the arguments of a journal, made when they are given."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from math import inf

from edr import Binding, InvalidBindingError

MAX_NAME_LENGTH = 128
"""Characters of the name of a consumer, at most, so that log lines and tables stay readable."""


def checked_bindings(bindings: Sequence[Binding]) -> tuple[Binding, ...]:
    """Return ``bindings``.

    Raises:
        InvalidBindingError: one of them is not a ``Binding``.
    """
    for index, binding in enumerate(bindings):
        if not isinstance(binding, Binding):
            raise InvalidBindingError(f"must be an edr.Binding, got {binding!r}", f"[{index}]")
    return tuple(bindings)


def check_name(name: object) -> None:
    """Raise ``ValueError`` if ``name`` cannot be the name of a consumer."""
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME_LENGTH or not name.isprintable():
        raise ValueError(
            f"a consumer's name must be 1 to {MAX_NAME_LENGTH} printable characters, got {name!r}"
        )


def check_seconds(name: str, value: object) -> None:
    """Raise ``ValueError`` if ``value`` is not a finite number of at least 0."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < inf:
        raise ValueError(f"{name} must be a number of seconds of at least 0, got {value!r}")


def check_at_least(name: str, value: object, least: int) -> None:
    """Raise ``ValueError`` if ``value`` is not an integer of at least ``least``."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")


def check_start(after: int | None, since: datetime | timedelta | None, last: int | None) -> None:
    """Raise ``ValueError`` if a cursor cannot start there: see ``Journal.cursor``."""
    if sum(each is not None for each in (after, since, last)) > 1:
        raise ValueError("at most one of after, since and last must be given")
    if after is not None:
        check_at_least("after", after, 0)
    if last is not None:
        check_at_least("last", last, 0)
    if since is None or isinstance(since, timedelta):
        return
    if not isinstance(since, datetime) or since.utcoffset() is None:
        raise ValueError(f"since must be an aware datetime or a timedelta, got {since!r}")


def check_consumer(name: object, start: object, max_unacked: object) -> None:
    """Raise ``ValueError`` if a consumer cannot be opened so: see ``Journal.consumer``."""
    check_name(name)
    check_at_least("max_unacked", max_unacked, 1)
    if start not in ("oldest", "now"):
        check_at_least("start", start, 0)
