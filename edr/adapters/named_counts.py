"""The counts of the subscriptions that have a name, summed by name, so that no counter falls.

Subscriptions whose names differ only in the number that the bus appended (``audit #2``) are summed.
A metrics server takes a counter that decreases for a reset, and the sum over all subscriptions
called ``audit`` decreases when one of them closes. So this adds the increase of each subscription
since the last reading. The increase between its last reading and its end is only in the sums of the
bus.

Not safe for several threads at once.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from edr.bus import Bus, DropReason, SubscriptionStatistics

MAX_GONE = 1000
"""Names that are remembered when no subscription has them any more. A service has some dozen; this
bounds one that makes them up."""

COUNTERS = ("offered", "delivered", "failed", "retried")
GAUGES = ("pending", "in_flight", "stalled", "oldest_age")

_NUMBER = re.compile(r" #\d+$")


@dataclass(slots=True)
class _Named:
    """The counts of all subscriptions of one name so far."""

    counts: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    living: list[SubscriptionStatistics] = field(default_factory=list)


class NamedCounts:
    """The counts of a bus's subscriptions by name. It remembers what it has read."""

    def __init__(self) -> None:
        self._named: defaultdict[str, _Named] = defaultdict(_Named)
        # By the full name, which is of one subscription at a time.
        self._last: dict[str, SubscriptionStatistics] = {}

    def read(self, bus: Bus) -> Iterator[tuple[str, tuple[str, ...], float]]:
        """Return the name, the labels and the value of each count of this moment."""
        self._look(bus)
        for label, named in self._named.items():
            for name in COUNTERS:
                yield f"subscription_{name}", (label,), named.counts[name]
            for reason in dict.fromkeys([*DropReason, *named.dropped]):
                yield "subscription_dropped", (label, str(reason)), named.dropped[reason]
            for name in GAUGES if named.living else ():
                values = [float(getattr(each, name)) for each in named.living]
                value = max(values) if name == "oldest_age" else sum(values)
                yield f"subscription_{name}", (label,), value

    def _look(self, bus: Bus) -> None:
        """Add what each subscription counted since the last look."""
        for named in self._named.values():
            named.living = []
        last, self._last = self._last, {}
        for info in bus.subscriptions(named=True):
            now = self._last[info.name] = info.statistics
            label = _NUMBER.sub("", info.name).encode("utf-8", "backslashreplace").decode()
            named = self._named[label]
            named.living.append(now)
            before = last.get(info.name)
            if before is not None and before.offered > now.offered:
                before = None  # another one, of the same name
            for name in COUNTERS:
                named.counts[name] += max(0, getattr(now, name) - getattr(before, name, 0))
            for reason, count in now.dropped.items():
                known = before.dropped.get(reason, 0) if before is not None else 0
                named.dropped[reason] += max(0, count - known)
        gone = [label for label, named in self._named.items() if not named.living]
        for label in gone[: max(0, len(gone) - MAX_GONE)]:
            del self._named[label]
