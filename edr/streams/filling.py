"""``Filling``: puts the events of the window into the logs of new groups, in slices.

The problem: a client that returns needs the events since its cursor, and the log of its group is
empty. Testing all events of a window takes some 20 ms, which would hold the loop.

The order of steps makes it exact. First the tap of the group is added. Its events go into the log
from that position on. Then the events before that position are tested. They are collected apart,
and put before the log when all are tested. Without an await or a turn of the loop between the two
steps, no event is between them.

The window may move on while a log is filled. The events to test are therefore held here. One that
matches and has left the window becomes an entry too, and so it is counted as missed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import islice

from edr.records import Event
from edr.streams.group import Group
from edr.streams.window import Slot

SLICE = 500
"""Events that are tested in one turn of the loop, of all groups together. Each takes about 2 µs."""


class _Job:
    """The log of one group that is being filled."""

    __slots__ = ("events", "first", "found", "group")

    def __init__(self, group: Group) -> None:
        self.group = group
        self.first = group.window.first
        self.events: deque[tuple[Slot, Event]] = deque(
            (slot, slot.event)
            for slot in group.window
            if slot.position < group.start and slot.event is not None
        )
        self.found: list[Slot] = []

    def run(self, count: int) -> None:
        """Test ``count`` events."""
        matches, events = self.group.view.matches, self.events
        for slot, event in islice(events, count):
            if matches(event):
                self.found.append(slot)
        for _ in range(min(count, len(events))):
            events.popleft()

    def finish(self) -> None:
        """Give the matching events to the group."""
        self.group.filled(self.found, self.first)


class Filling:
    """The groups whose logs are being filled. One slice is tested in each turn of the loop."""

    def __init__(self) -> None:
        self._jobs: deque[_Job] = deque()

    def add(self, group: Group) -> None:
        """Fill the log of ``group``, whose tap was added. Does nothing if that has begun."""
        if group.is_filling:
            return
        group.is_filling = True
        self._jobs.append(_Job(group))
        if len(self._jobs) == 1:
            asyncio.get_running_loop().call_soon(self._run)

    def _run(self) -> None:
        left = SLICE
        while self._jobs and left > 0:
            job = self._jobs[0]
            count = min(left, len(job.events))
            job.run(count)
            left -= max(count, 1)
            if not job.events:
                self._jobs.popleft()
                job.finish()
        if self._jobs:
            asyncio.get_running_loop().call_soon(self._run)
