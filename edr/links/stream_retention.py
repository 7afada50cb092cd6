"""``RetentionBounds``: how many entries retention may have removed from a stream.

A cursor with filters cannot see a missing range: the server skips entries that do not match, and
entries that retention has removed, in the same way. The cursor can only compare its position with
the first entry of the stream, and a request for that before each entry costs a round trip. So the
bounds exclude a loss without a request where possible: no stream stores, and so removes, more than
``MAX_REMOVAL_RATE`` entries a second, and no entry expires before its age.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any

MAX_REMOVAL_RATE = 1_000_000
"""Entries a second that retention may remove, as one server stores them at most."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class RetentionBounds:
    """Bounds of the entries that are left in a stream, from its last known state."""

    def __init__(self) -> None:
        self.first: int = 0
        """The oldest entry, as of the last request."""
        self.last: int = 0
        """The newest one."""
        self.at: datetime = EPOCH
        """When that was, by the server's clock."""
        self.asked_at: float = -inf
        self._max_age = timedelta()
        self._is_bounded = False

    @property
    def can_remove(self) -> bool:
        """Whether retention can remove entries that were not read."""
        return self._is_bounded or bool(self._max_age)

    def note(self, info: Mapping[str, Any], asked_at: float) -> None:
        """Store the settings and the state of the stream, requested at ``asked_at``."""
        config, state = info["config"], info["state"]
        self.first, self.last = state["first_seq"], state["last_seq"]
        self.asked_at = asked_at
        self._is_bounded = config["discard"] == "old" and (
            config["max_bytes"] > 0 or config["max_msgs"] > 0
        )
        self._max_age = timedelta(microseconds=config["max_age"] // 1000)
        self.at = datetime.fromisoformat(info["ts"])

    def keeps_all_after(self, position: int, recorded_at: datetime, now: float) -> bool:
        """Return whether no entry after ``position`` can have been removed up to ``now``.

        Args:
            position: of an entry, recorded at ``recorded_at``.
            recorded_at: no later than any entry after it.
            now: as ``asked_at`` of ``note``.
        """
        passed = now - self.asked_at
        if position + 1 < self.first:
            return False
        if self._is_bounded and position + 1 - self.first < passed * MAX_REMOVAL_RATE:
            return False
        if not self._max_age:
            return True
        return recorded_at + self._max_age > self.at + timedelta(seconds=min(passed, 1e9))
