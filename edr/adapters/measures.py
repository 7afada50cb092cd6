"""The measures of buses, journals, consumers, links, sinks and sources, for all metrics systems.

**Labels.** Each measure has the label ``bus``, so that several buses are on one page. The sums are
of a whole bus, with subscriptions that are gone. In addition, each subscription that was given a
name has its own measures (``edr.adapters.named_counts``); there may be a million without
a name, and a label for each would be too much for any metrics server.

**From 0.** Every reason for which events can be lost is there from the start. A counter that
begins with the first loss has no increase that an alert could see.

The journal of a bus is measured, with its named consumers, and so is each link that is attached to
the bus. Their counts begin at 0 when a journal is opened or a link starts. Sinks that were made
with ``bus=`` are measured too, and the sinks and sources that ``parts`` returns.

From any thread, and from several at once. Cost: some 60 µs for each subscription that has a name,
and a twentieth of one for each that has none.
"""

from __future__ import annotations

import threading
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

from edr.adapters.consumer_counts import ConsumerCounts
from edr.adapters.definitions import DEFINITIONS, Kind, Reading
from edr.adapters.named_counts import NamedCounts
from edr.adapters.part_counts import read_part
from edr.bus import Bus, BusStatistics, DropReason, parts_of
from edr.journal import JournalStatistics
from edr.links import DROP_REASONS, REFUSE_REASONS, ConnectionState, LinkStatistics

Values: TypeAlias = Mapping[tuple[str, ...], float]

Parts: TypeAlias = Callable[[], Iterable[object]]
"""Returns sinks and sources: objects with ``kind``, ``name`` and ``status()``."""

DEFAULT_NAME = "default"
"""The label of the only bus."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One thing that is measured, at one moment."""

    name: str
    """In words: ``subscription_dropped``."""
    kind: Kind
    unit: str
    """The unit: ``events``, ``seconds``, ``subscriptions``."""
    help: str
    labels: tuple[str, ...]
    """The names of the labels; the first is ``bus``."""
    values: Values
    """The values of the labels -> what was measured."""


_OF_BUS = [name for name, *_, labels in DEFINITIONS if not labels and "journal" not in name]
_OF_JOURNAL = ("appended", "waiting", "failed", "lost", "corrupt", "bytes")
_OF_LINK = (
    "offered",
    "sent",
    "uncertain",
    "pending",
    "skipped",
    "received",
    "delivered",
    "duplicates",
    "reconnects",
)


class Measures:
    """Reads buses, and does not keep them alive. It remembers what it has read.

    Args:
        buses: A bus, which is named ``default``, or several by their names.
        parts: Returns further sinks and sources of the bus. With one bus only.
    """

    def __init__(self, buses: Bus | Mapping[str, Bus], parts: Parts = tuple) -> None:
        named = {DEFAULT_NAME: buses} if isinstance(buses, Bus) else dict(buses)
        for name, bus in named.items():
            if not isinstance(name, str) or not isinstance(bus, Bus):
                raise TypeError(f"buses must be a Bus, or Buses by name, got {name!r}: {bus!r}")
        if parts is not tuple and len(named) != 1:
            raise ValueError(f"parts must be given with one bus, got {len(named)} buses")
        self._buses = {name: _Measured(bus, parts) for name, bus in named.items()}
        self._lock = threading.Lock()

    def read(self) -> list[Measure]:
        """Return all measures of this moment, in the same order each time.

        A bus that is gone has no values, and neither has what a bus does not have.
        """
        values: defaultdict[str, dict[tuple[str, ...], float]] = defaultdict(dict)
        with self._lock:
            for bus, measured in self._buses.items():
                for name, labels, value in measured.read():
                    values[name][bus, *labels] = value
        return [
            Measure(name, kind, unit, text, ("bus", *labels), values[name])
            for name, kind, unit, text, labels in DEFINITIONS
        ]


class _Measured:
    def __init__(self, bus: Bus, parts: Parts) -> None:
        self._bus = weakref.ref(bus)
        self._parts = parts
        self._named = NamedCounts()
        self._consumers = ConsumerCounts()

    def read(self) -> Reading:
        bus = self._bus()
        if bus is None:
            return
        statistics = bus.statistics()
        yield from _of_bus(statistics)
        yield from self._named.read(bus)
        if statistics.journal is not None:
            yield from _of_journal(statistics.journal)
        for consumer in self._consumers.read(bus):
            for name in ("lag", "unacked", "missed"):
                yield f"consumer_{name}", (consumer.name,), getattr(consumer, name)
        links, readings = parts_of(bus).guard.read(lambda: self._read_services(bus))
        for link in links:
            yield from _of_link(link)
        yield from readings

    def _read_services(self, bus: Bus) -> tuple[list[LinkStatistics], list[Any]]:
        links = [_link_statistics(each) for each in bus.services]
        parts = (*bus.services, *self._parts())
        readings: list[Any] = []
        for part in parts:
            with suppress(Exception):  # a part of the program; the others are measured
                readings += read_part(part)
        return [each for each in links if each is not None], readings


def _of_bus(statistics: BusStatistics) -> Reading:
    for name in _OF_BUS:
        yield name, (), getattr(statistics, name)
    for reason in dict.fromkeys([*DropReason, *statistics.dropped]):
        yield "dropped", (str(reason),), statistics.dropped.get(reason, 0)


def _of_journal(statistics: JournalStatistics) -> Reading:
    for name in _OF_JOURNAL:
        yield f"journal_{name}", (), getattr(statistics, name)
    yield "journal_last_position", (), statistics.last
    yield "journal_error", (), float(statistics.error is not None)


def _link_statistics(service: Any) -> LinkStatistics | None:
    statistics = service.statistics() if hasattr(service, "statistics") else None
    return statistics if isinstance(statistics, LinkStatistics) else None


def _of_link(statistics: LinkStatistics) -> Reading:
    link = statistics.name
    for name in _OF_LINK:
        yield f"link_{name}", (link,), getattr(statistics, name)
    yield (
        "link_up",
        (link,),
        float(statistics.state in (ConnectionState.UP, ConnectionState.BLOCKED)),
    )
    for reason in dict.fromkeys([*DROP_REASONS, *statistics.dropped]):
        yield "link_dropped", (link, str(reason)), statistics.dropped.get(reason, 0)
    for reason in dict.fromkeys([*REFUSE_REASONS, *statistics.refused]):
        yield "link_refused", (link, str(reason)), statistics.refused.get(reason, 0)
