"""What there is to measure of a bus: one list, for every system of metrics.

**Sums and names.** The sums are of the whole bus, and of subscriptions that are gone too. Beside
them, each subscription that was given a name has measures of its own; there may be a million that
were not, and a label for each would be the end of any metrics server. Those whose names differ
only in the number that the bus has put behind them (``audit #2``) are summed.

**No counter falls.** To a metrics server, a counter that falls was reset, and all that it shows
after that is counted anew. But the sum over those that are called ``audit`` does fall, when one of
them goes. So what is added up here is what each of them counted since the last reading. What one
counted between the last reading and its end is in the sums of the bus alone.

From any thread, and from several at once. Cost: some 60 µs for each subscription that has a name,
and a twentieth of one for each that has none.
"""

from __future__ import annotations

import re
import threading
import weakref
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from edr.bus import Bus, SubscriptionStatistics

_NUMBER = re.compile(r" #\d+$")

MOST_GONE = 1000
"""Names that are remembered when none of that name lives any more. A service has some dozen; this
bounds one that makes them up."""

Values: TypeAlias = Mapping[tuple[str, ...], float]
Kind: TypeAlias = Literal["counter", "gauge"]


@dataclass(frozen=True, slots=True)
class Measure:
    """One thing that is measured, at one moment."""

    name: str
    """In words: ``subscription_dropped``."""
    kind: Kind
    unit: str
    """What is counted: ``events``, ``seconds``, ``subscriptions``."""
    help: str
    labels: tuple[str, ...]
    """The names of the labels."""
    values: Values
    """The values of the labels -> what was measured."""


_SUMS: tuple[tuple[str, Kind, str, str], ...] = (
    ("emits", "counter", "events", "Events accepted, also those that nobody wanted."),
    ("offered", "counter", "events", "Events that reached a subscription, once for each."),
    ("delivered", "counter", "events", "Events that subscribers took."),
    ("pending", "gauge", "events", "Events queued, and those whose emit waits for room."),
    ("stalled", "gauge", "subscriptions", "Subscriptions for which emitters no longer wait."),
    ("subscriptions", "gauge", "subscriptions", "Subscriptions and bound callbacks."),
    ("callback_errors", "counter", "events", "Events on which a callback failed."),
    ("refused", "counter", "events", "Events of threads for which there was no place."),
    ("account_failures", "counter", "events", "Events whose account could not be looked up."),
    ("tap_errors", "counter", "events", "Events for which a tap raised an exception."),
)
_OF_EACH: tuple[tuple[str, Kind, str, str], ...] = (
    ("offered", "counter", "events", "Events that reached it, whatever became of them."),
    ("delivered", "counter", "events", "Events that it took."),
    ("failed", "counter", "events", "Delivered events on which the callback failed."),
    ("retried", "counter", "events", "Further calls of the callback, after one that failed."),
    ("pending", "gauge", "events", "Events queued, and those whose emit waits for room."),
    ("in_flight", "gauge", "events", "Events in the hands of the callback."),
    ("stalled", "gauge", "subscriptions", "Whether emitters no longer wait for it."),
    ("oldest_age", "gauge", "seconds", "Seconds since its oldest pending event was emitted."),
)


@dataclass(slots=True)
class _Named:
    """What those of one name counted so far."""

    counts: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    living: list[SubscriptionStatistics] = field(default_factory=list)


class Measures:
    """Reads a bus, and does not keep it alive. It remembers what it has read."""

    def __init__(self, bus: Bus) -> None:
        self._bus = weakref.ref(bus)
        self._lock = threading.Lock()
        self._named: defaultdict[str, _Named] = defaultdict(_Named)
        # By the full name, which is of one subscription at a time.
        self._last: dict[str, SubscriptionStatistics] = {}

    def read(self) -> list[Measure]:
        """Return all measures of this moment, in the same order each time; none without a bus."""
        bus = self._bus()
        if bus is None:
            return []
        with self._lock:
            return [*self._sums(bus), *self._of_each(bus)]

    def _sums(self, bus: Bus) -> Iterable[Measure]:
        statistics = bus.statistics()
        for name, kind, unit, text in _SUMS:
            yield Measure(name, kind, unit, text, (), {(): getattr(statistics, name)})
        dropped: Values = {(reason,): count for reason, count in statistics.dropped.items()}
        yield Measure("dropped", "counter", "events", "Events lost.", ("reason",), dropped)

    def _of_each(self, bus: Bus) -> Iterable[Measure]:
        self._look(bus)
        for name, kind, unit, text in _OF_EACH:
            values: Values = {
                (label,): _value(named, name, kind)
                for label, named in self._named.items()
                if kind == "counter" or named.living
            }
            yield Measure(f"subscription_{name}", kind, unit, text, ("subscription",), values)
        dropped: Values = {
            (label, reason): count
            for label, named in self._named.items()
            for reason, count in named.dropped.items()
        }
        labels = ("subscription", "reason")
        yield Measure(
            "subscription_dropped", "counter", "events", "Events it lost.", labels, dropped
        )

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
            for name, kind, _, _ in _OF_EACH:
                if kind == "counter":
                    named.counts[name] += max(0, getattr(now, name) - getattr(before, name, 0))
            for reason, count in now.dropped.items():
                known = before.dropped.get(reason, 0) if before is not None else 0
                named.dropped[reason] += max(0, count - known)
        gone = [label for label, named in self._named.items() if not named.living]
        for label in gone[: max(0, len(gone) - MOST_GONE)]:
            del self._named[label]


def _value(named: _Named, name: str, kind: Kind) -> float:
    if kind == "counter":
        return named.counts[name]
    values = [float(getattr(each, name)) for each in named.living]
    return max(values) if name == "oldest_age" else sum(values)
