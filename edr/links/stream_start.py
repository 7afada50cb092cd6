"""``Start``: the place in a stream where a cursor starts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple


class Start(NamedTuple):
    """Where a cursor starts."""

    after: int | None
    since: datetime | None
    last: int | None

    @property
    def is_now(self) -> bool:
        """Whether it starts after the newest entry."""
        return self == (None, None, None)


def start_of(after: int | None, since: datetime | timedelta | None, last: int | None) -> Start:
    """Return where a cursor starts.

    Raises:
        ValueError: more than one is given, or a wrong one.
    """
    if sum(value is not None for value in (after, since, last)) > 1:
        raise ValueError("give one of after, since and last")
    for name, value in (("after", after), ("last", last)):
        if value is not None and (not isinstance(value, int) or value < 0):
            raise ValueError(f"{name} is a number, 0 or more, not {value!r}")
    if isinstance(since, timedelta):
        if since < timedelta():
            raise ValueError(f"since is a time that has passed, not {since}")
        since = datetime.now(UTC) - since
    if since is not None and since.tzinfo is None:
        raise ValueError("since needs a UTC offset; this one is naive")
    return Start(after, since, last)
