"""The measures of buses, their journals, consumers and links: one list for all metrics systems.

**Labels.** Each measure has the label ``bus``, so that several buses are on one page. The sums are
of a whole bus, with subscriptions that are gone. In addition, each subscription that was given a
name has its own measures (``edr.adapters.named_counts``); there may be a million without
a name, and a label for each would be too much for any metrics server.

**From 0.** Every reason for which events can be lost is there from the start. A counter that
begins with the first loss has no increase that an alert could see.

The journal of a bus is measured, with its named consumers, and so is each link that is attached to
the bus. Their counts begin at 0 when a journal is opened or a link starts.

From any thread, and from several at once. Cost: some 60 µs for each subscription that has a name,
and a twentieth of one for each that has none.
"""

from __future__ import annotations

import threading
import weakref
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from edr.adapters.consumer_counts import ConsumerCounts
from edr.adapters.named_counts import NamedCounts
from edr.bus import Bus, BusStatistics, DropReason, parts_of
from edr.journal import JournalStatistics
from edr.links import DROP_REASONS, REFUSE_REASONS, ConnectionState, LinkStatistics

Values: TypeAlias = Mapping[tuple[str, ...], float]
Kind: TypeAlias = Literal["counter", "gauge"]
Reading: TypeAlias = Iterator[tuple[str, tuple[str, ...], float]]
"""The name of a measure, the values of its labels but for the bus, and what was measured."""

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


Definition: TypeAlias = tuple[str, Kind, str, str, tuple[str, ...]]
"""Name, kind, unit, help, and labels in addition to ``bus``."""


def _of_each(group: str, *rows: tuple[str, Kind, str, str]) -> list[Definition]:
    return [(f"{group}_{name}", kind, unit, text, (group,)) for name, kind, unit, text in rows]


_DEFINITIONS: tuple[Definition, ...] = (
    ("emits", "counter", "events", "Events accepted, with or without subscribers.", ()),
    ("unmatched", "counter", "events", "Accepted events that nothing matched.", ()),
    ("offered", "counter", "events", "Events that reached a subscription, once for each.", ()),
    ("delivered", "counter", "events", "Events that subscribers took.", ()),
    ("pending", "gauge", "events", "Events queued, and those whose emit waits for room.", ()),
    ("stalled", "gauge", "subscriptions", "Subscriptions that emitters no longer wait for.", ()),
    ("subscriptions", "gauge", "subscriptions", "Subscriptions and bound callbacks.", ()),
    ("callback_errors", "counter", "events", "Events on which a callback failed.", ()),
    ("refused", "counter", "events", "Events that a full inbox or a drain refused.", ()),
    ("account_failures", "counter", "events", "Events whose account look-up failed.", ()),
    ("tap_errors", "counter", "events", "Events for which a tap raised an exception.", ()),
    ("dropped", "counter", "events", "Events lost.", ("reason",)),
    *_of_each(
        "subscription",
        ("offered", "counter", "events", "Events that reached it."),
        ("delivered", "counter", "events", "Events that it took."),
        ("failed", "counter", "events", "Delivered events on which the callback failed."),
        ("retried", "counter", "events", "Further calls of the callback after a failure."),
        ("pending", "gauge", "events", "Events queued, and those that wait for room."),
        ("in_flight", "gauge", "events", "Events in the hands of the callback."),
        ("stalled", "gauge", "subscriptions", "Whether emitters no longer wait for it."),
        ("oldest_age", "gauge", "seconds", "Seconds since its oldest pending event."),
    ),
    ("subscription_dropped", "counter", "events", "Events it lost.", ("subscription", "reason")),
    ("journal_appended", "counter", "events", "Events stored.", ()),
    ("journal_waiting", "gauge", "events", "Events accepted, and not stored yet.", ()),
    ("journal_failed", "counter", "events", "Events that could not be stored.", ()),
    ("journal_lost", "counter", "events", "Entries that retention removed.", ()),
    ("journal_corrupt", "counter", "events", "Entries that damage made unreadable.", ()),
    ("journal_bytes", "gauge", "bytes", "Size of the stored entries.", ()),
    ("journal_last_position", "gauge", "positions", "Position of the newest entry.", ()),
    ("journal_error", "gauge", "errors", "1 while nothing can be stored, else 0.", ()),
    ("consumer_lag", "gauge", "events", "Entries that it has not acknowledged.", ("consumer",)),
    ("consumer_unacked", "gauge", "events", "Entries delivered, not yet acked.", ("consumer",)),
    ("consumer_missed", "counter", "events", "Entries that it lost.", ("consumer",)),
    *_of_each(
        "link",
        ("up", "gauge", "connections", "1 while it is connected, else 0."),
        ("offered", "counter", "events", "Events that it had to send."),
        ("sent", "counter", "events", "Events that the broker has."),
        ("uncertain", "counter", "events", "Events under way when a connection was lost."),
        ("pending", "gauge", "events", "Events to be sent, or to be confirmed."),
        ("skipped", "counter", "events", "Journalled events of other nodes, not sent back."),
        ("received", "counter", "events", "Messages that came from the broker."),
        ("delivered", "counter", "events", "Events received and published here."),
        ("duplicates", "counter", "events", "Events received that had been here before."),
        ("reconnects", "counter", "connections", "Connections after the first one."),
    ),
    ("link_dropped", "counter", "events", "Events that it did not send.", ("link", "reason")),
    ("link_refused", "counter", "events", "Messages not published.", ("link", "reason")),
)

_OF_BUS = [name for name, *_, labels in _DEFINITIONS if not labels and "journal" not in name]
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
    """

    def __init__(self, buses: Bus | Mapping[str, Bus]) -> None:
        named = {DEFAULT_NAME: buses} if isinstance(buses, Bus) else dict(buses)
        for name, bus in named.items():
            if not isinstance(name, str) or not isinstance(bus, Bus):
                raise TypeError(f"buses must be a Bus, or Buses by name, got {name!r}: {bus!r}")
        self._buses = {name: _Measured(bus) for name, bus in named.items()}
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
            for name, kind, unit, text, labels in _DEFINITIONS
        ]


class _Measured:
    def __init__(self, bus: Bus) -> None:
        self._bus = weakref.ref(bus)
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
        for link in parts_of(bus).guard.read(
            lambda: [_link_statistics(each) for each in bus.services]
        ):
            if link is not None:
                yield from _of_link(link)


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
