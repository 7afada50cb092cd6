"""``Start``: the place in a stream where a cursor starts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from edr.journal.options import check_start


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
    check_start(after, since, last)
    if isinstance(since, timedelta):
        if since < timedelta():
            raise ValueError(f"since must be a time that has passed, got {since!r}")
        since = datetime.now(UTC) - since
    return Start(after, since, last)
