"""``IdleGroups``: groups without clients, which stay for a while so that a client can return.

With ``history=False`` the window has only events that a group received. While a group stays, it
receives events for a client that is away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from edr.streams.group import Group

IDLE_TIME = 60.0
"""Seconds for which a group stays after its last client. A browser that lost its connection, or a
deployment of a proxy, is back by then."""

MAX_IDLE = 64
"""Groups without clients. Each costs an emit that matches it; clients can invent any filters."""


class IdleGroups:
    """The groups without clients, oldest first.

    Args:
        on_expired: called with a group that does not stay.
    """

    def __init__(self, on_expired: Callable[[Group], object]) -> None:
        self._on_expired = on_expired
        self._since: dict[Group, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._since)

    def add(self, group: Group) -> None:
        """Keep ``group`` for a while. Its last client has left."""
        self._since[group] = asyncio.get_running_loop().time()
        if len(self._since) > MAX_IDLE:
            self._expire(next(iter(self._since)))
        self._set_timer()

    def remove(self, group: Group) -> None:
        """Do not expire ``group``: it has a client again."""
        self._since.pop(group, None)

    def close(self) -> None:
        """Forget all groups, and stop the timer."""
        self._since.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self) -> None:
        if self._timer is None and self._since:
            due = next(iter(self._since.values())) + IDLE_TIME
            self._timer = asyncio.get_running_loop().call_at(due, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        for group, since in list(self._since.items()):
            if since + IDLE_TIME > now:
                break
            self._expire(group)
        self._set_timer()

    def _expire(self, group: Group) -> None:
        del self._since[group]
        self._on_expired(group)
