"""The reference of one queue, in plain lists: what it was offered, what came of it, what holds.

``Ledger`` knows only what is seen from outside: what was accepted for a subscription, and what its
consumer got. It holds edr to that at any moment, whatever the order in which things happen; the
promises over many seeds use it as it is.

``QueueModel`` foretells besides what is queued, in line, dropped and stalled once nothing more can
happen; the state machine lets both run side by side, and compares.
"""

import math
from collections import Counter
from itertools import groupby

from edr import Gap, Overflow
from edr.bus.subscription import statistics_of
from edr.records import EVERY_EVENT

MISSED = "missed"
"""Stands in a model's queue for each event that was dropped there."""


class Ledger:
    """What one subscription should have, and what it got."""

    def __init__(self, queue, *, gaps=False):
        self.queue = queue
        """edr's. Not the subscription, which may be gone; its counts must still be true."""
        self.gaps = gaps
        self.accepted = []
        """Numbers of the events accepted for it, in that order."""
        self.received = []
        self.missed = 0
        self._position = 0

    @property
    def statistics(self):
        return statistics_of(self.queue)

    def accept(self, number):
        self.accepted.append(number)

    def receive(self, item):
        """Enter what its consumer got: each event once, in order, and no gap late."""
        if isinstance(item, Gap):
            assert self.gaps
            assert item.missed > 0
            self.missed += item.missed
            return
        number = item.body["n"]
        rest = self.accepted[self._position :]
        assert number in rest, f"{number} came twice, late, or unasked; wanted one of {rest}"
        self._position += rest.index(number) + 1
        self.received.append(number)
        if self.gaps:
            assert len(self.received) + self.missed >= self._position, "a gap came late"

    def check(self):
        """Hold the counts of this moment to what is known."""
        counts = self.statistics
        assert counts.offered == counts.delivered + sum(counts.dropped.values()) + counts.pending
        assert counts.offered == len(self.accepted)
        assert counts.delivered == len(self.received)
        assert counts.pending <= counts.peak_pending <= counts.offered
        assert min(counts.dropped.values(), default=1) > 0


class Emission:
    """A model of one emit: who took its event, and who is still waited for."""

    def __init__(self, number):
        self.number = number
        self.taken = 0
        self.waits_for = []
        self.task = None


class QueueModel(Ledger):
    """What one queue is, as soon as nothing more can happen.

    Args:
        stall_timeout: seconds without a take, after which nobody waits for it any more.
        takers: tasks that wait for one item each; a callback always waits for more.
    """

    def __init__(self, queue, bindings, *, capacity, overflow, stall_timeout, gaps=False, takers=0):
        super().__init__(queue, gaps=gaps)
        self.bindings = bindings or [EVERY_EVENT]
        self.capacity = capacity
        self.overflow = overflow
        self.stall_timeout = stall_timeout
        self.takers = takers
        self.is_callback = takers == math.inf
        self.queued = []
        """Numbers of events, and MISSED."""
        self.line = []
        """Emissions that wait for room."""
        self.foretold = []
        """What its takers get, gaps too."""
        self.came = []
        """What they got."""
        self.peak = 0
        self.dropped = Counter()
        self.stalled = self.closed = False
        self.waited_since = 0.0
        self.ended = 0
        """How many takers were told of the end."""
        self.overflowed_by = None
        self.is_let_go = False

    @property
    def room(self):
        return self.capacity - sum(entry is not MISSED for entry in self.queued)

    @property
    def pending(self):
        return self.capacity - self.room + len(self.line)

    def receive(self, item):
        super().receive(item)
        self.came.append(item if isinstance(item, Gap) else item.body["n"])

    def check(self):
        super().check()
        counts = self.statistics
        assert counts.dropped == self.dropped
        assert counts.pending == self.pending
        assert counts.peak_pending == self.peak
        assert counts.stalled == self.stalled
        assert self.queue.closed == self.closed
        assert self.came == self.foretold

    # What happens to it

    def offer(self, emission, now, *, may_wait):
        self.accept(emission.number)
        self.peak = max(self.peak, self.pending + 1)
        if self.room and not self.line:
            self.queued.append(emission.number)
            emission.taken += 1
        elif self.overflow is Overflow.BLOCK and may_wait and not self.stalled:
            if not self.line:
                self.waited_since = now
            self.line.append(emission)
            emission.waits_for.append(self)
        elif self.overflow is Overflow.BLOCK:
            self.dropped["stalled" if self.stalled else "would_block"] += 1
            self.queued.append(MISSED)
        elif self.overflow is Overflow.DROP_OLDEST:
            self.dropped["overflow"] += 1
            oldest = next(i for i, entry in enumerate(self.queued) if entry is not MISSED)
            self.queued[oldest] = MISSED
            self.queued.append(emission.number)
            emission.taken += 1
        else:
            self.dropped["overflow"] += 1
            self.queued.append(MISSED)
            if self.overflow is Overflow.CLOSE:
                self.closed = True
                self.overflowed_by = 1
        self.admit()

    def admit(self):
        while self.line and self.room:
            emission = self.line.pop(0)
            emission.taken += 1
            emission.waits_for.remove(self)
            self.queued.append(emission.number)

    def refuse(self, emission, reason):
        """Drop the event of an emission that waits."""
        self.line.remove(emission)
        self.queued.append(MISSED)
        emission.waits_for.remove(self)
        self.dropped[reason] += 1
        self.admit()

    def settle(self, now):
        """Let the takers take, one after the other; those that find nothing go on waiting."""
        while self.takers:
            if not self.gaps:
                self.queued = [entry for entry in self.queued if entry is not MISSED]
            if not self.queued:
                break
            if self.line:
                self.waited_since = now
            if self.queued[0] is MISSED:
                run = len(list(next(groupby(self.queued))[1]))
                self.foretold.append(Gap(run))
                del self.queued[:run]
            else:
                self.foretold.append(self.queued.pop(0))
                self.stalled = False
            self.takers -= 1
            self.admit()
        if self.closed and not self.queued:
            self.ended += self.takers
            self.takers = 0

    def pass_time(self, now):
        if self.line and now >= self.waited_since + self.stall_timeout:
            self.stalled = True
            for emission in [*self.line]:
                self.refuse(emission, "stalled")

    def discard(self):
        self.closed = True
        if self.pending:
            self.dropped["closed"] += self.pending
        for emission in self.line:
            emission.waits_for.remove(self)
        self.queued = []
        self.line = []
