"""``Filling``: puts the events of the window into the logs of new groups, in slices.

The problem: a client that returns needs the events since its cursor, and the log of its group is
empty. Testing all events of a window takes some 20 ms, which would hold the loop.

The order of steps makes it exact. First the tap of the group is added. Its events go into the log
from that position on. Then the events before that position are tested. They are collected apart,
and put before the log when all are tested. Without an await or a turn of the loop between the two
steps, no event is between them.

The window may move on while a log is filled. The events to test are therefore held here. One that
matches and has left the window becomes an entry too, and so it is counted as missed.

Clients can invent any number of filters, and request the past of each. So groups share the events
that are held, in blocks that do not change: with a list of its own, each group that waits would
take 1 MB, and each client that joins 1 ms. A group without clients is not filled.
"""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import chain, islice
from typing import TypeAlias

from edr.records import Event
from edr.streams.group import Group
from edr.streams.window import Slot, Window

SLICE = 500
"""Events that are tested in one turn of the loop, of all groups together. Each takes about 2 µs."""


BLOCK = 256
"""Events from which a block is full. A smaller one is copied when events are added."""

_Block: TypeAlias = tuple[tuple[Slot, Event], ...]


class _Held:
    """The events of a window, held in blocks that do not change."""

    def __init__(self) -> None:
        self._blocks: list[_Block] = []

    def blocks(self, window: Window) -> list[_Block]:
        """Return blocks with the events that the window has now. The first may have earlier ones.

        Costs as much as the events since the last call.
        """
        blocks = self._blocks
        last = blocks[-1][-1][0].position if blocks else 0
        added: list[tuple[Slot, Event]] = []
        for slot in reversed(window):
            if slot.position <= last:
                break
            assert slot.event is not None
            added.append((slot, slot.event))
        added.reverse()
        if added and blocks and len(blocks[-1]) < BLOCK:
            added[:0] = blocks.pop()
        blocks += [tuple(added[at : at + BLOCK]) for at in range(0, len(added), BLOCK)]
        ends = (block[-1][0].position for block in blocks)
        del blocks[: sum(end < window.first for end in ends)]
        return blocks.copy()

    def clear(self) -> None:
        """Release the events."""
        self._blocks.clear()


class _Job:
    """The log of one group that is being filled."""

    __slots__ = ("_events", "first", "found", "group", "is_done")

    def __init__(self, group: Group, blocks: list[_Block]) -> None:
        self.group = group
        self.first = group.window.first
        self.found: list[Slot] = []
        self.is_done = False
        self._events = chain.from_iterable(blocks)

    def run(self, count: int) -> int:
        """Test up to ``count`` events, and return their number."""
        matches, first, start = self.group.view.matches, self.first, self.group.start
        tested = 0
        for slot, event in islice(self._events, count):
            tested += 1
            if first <= slot.position < start and matches(event):
                self.found.append(slot)
        self.is_done = tested < count
        return tested

    def finish(self) -> None:
        """Give the matching events to the group."""
        self.group.filled(self.found, self.first)


class Filling:
    """The groups whose logs are being filled. One slice is tested in each turn of the loop."""

    def __init__(self) -> None:
        self._jobs: deque[_Job] = deque()
        self._held = _Held()

    def add(self, group: Group) -> None:
        """Fill the log of ``group``, whose tap was added. Does nothing if that has begun."""
        if group.is_filling:
            return
        group.is_filling = True
        self._jobs.append(_Job(group, self._held.blocks(group.window)))
        if len(self._jobs) == 1:
            asyncio.get_running_loop().call_soon(self._run)

    def _run(self) -> None:
        left = SLICE
        while self._jobs and left > 0:
            job = self._jobs[0]
            if not job.group.places:  # its clients have left
                job.group.is_filling = False
                self._jobs.popleft()
                left -= 1
                continue
            left -= max(job.run(left), 1)
            if job.is_done:
                self._jobs.popleft()
                job.finish()
        if self._jobs:
            asyncio.get_running_loop().call_soon(self._run)
        else:
            self._held.clear()
