"""Statistics of subscriptions and buses, and the totals of closed subscriptions."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from edr.bus.overflow import Overflow
from edr.patterns import Mismatch
from edr.records import Binding, IndexKey, bindings_from_keys


@dataclass(frozen=True, slots=True)
class SubscriptionStatistics:
    """The counts of a subscription at one moment.

    ``offered == delivered + sum(dropped.values()) + pending`` always.
    """

    name: str
    offered: int
    """Events that matched this subscription while it was open."""
    delivered: int
    """Events that the subscriber took."""
    dropped: Mapping[str, int]
    """``DropReason`` -> events; reasons without events are absent."""
    pending: int
    """Queued events, and events whose emit waits for space."""
    peak_pending: int
    """The most events that were ever pending at once."""
    stalled: bool
    """Whether emitters have stopped waiting for this subscriber."""
    oldest_age: float = field(compare=False)
    """Seconds since the oldest pending event was emitted; 0 if none is pending."""
    failed: int
    """Delivered events on which the callback failed, after its last retry."""
    retried: int
    """Further calls of the callback, after one that failed."""
    in_flight: int
    """Delivered events that the callback is processing now."""
    last_error: str | None = None
    """The exception of the last event counted in ``failed``, as ``ValueError: unknown account``."""


def sum_of(name: str, parts: Iterable[SubscriptionStatistics]) -> SubscriptionStatistics:
    """Return the sums over several subscriptions; the largest age and peak, the last error."""
    parts = list(parts)
    dropped: Counter[str] = Counter()
    for part in parts:
        dropped.update(part.dropped)
    return SubscriptionStatistics(
        name=name,
        offered=sum([part.offered for part in parts]),
        delivered=sum([part.delivered for part in parts]),
        dropped=dict(dropped),
        pending=sum([part.pending for part in parts]),
        peak_pending=max([part.peak_pending for part in parts], default=0),
        stalled=any(part.stalled for part in parts),
        oldest_age=max([part.oldest_age for part in parts], default=0.0),
        failed=sum([part.failed for part in parts]),
        retried=sum([part.retried for part in parts]),
        in_flight=sum([part.in_flight for part in parts]),
        last_error=next((part.last_error for part in reversed(parts) if part.last_error), None),
    )


@dataclass(frozen=True, slots=True)
class BusStatistics:
    """The counts of a bus at one moment. The sums include closed subscriptions."""

    emits: int
    """Accepted events, including events without a subscriber."""
    subscriptions: int
    offered: int
    delivered: int
    dropped: Mapping[str, int]
    pending: int
    stalled: int
    """How many subscriptions are stalled now."""
    callback_errors: int
    """Events on which a callback failed, after its last retry."""
    refused: int
    """Events that ``emit_nowait`` and ``publish_nowait`` did not accept, and
    events that a drain refused after ``drain_grace``."""
    account_failures: int
    """Look-ups of an account's ancestors that failed; their events had an empty tree."""
    tap_errors: int = 0
    """Events for which a tap raised an exception."""
    unmatched: int = 0
    """Accepted events, among ``emits``, that no subscription, tap or journal matched."""
    journal: Any = None
    """The counts of the journal (``edr.journal.JournalStatistics``), if there is one; ``failed``
    counts events that it did not accept or could not store."""


@dataclass(frozen=True, slots=True)
class SubscriptionInfo:
    """One subscription, or one bound callback, of a bus at one moment. A frozen snapshot."""

    number: int
    """It rises with each subscription of the bus, and is not used again."""
    name: str
    kind: Literal["subscription", "callback"]
    capacity: int
    overflow: Overflow
    statistics: SubscriptionStatistics
    _keys: tuple[IndexKey, ...] = field(repr=False)

    @property
    def bindings(self) -> tuple[Binding, ...]:
        """Its bindings, as few as are equivalent to the given ones.

        They are built on each access, which takes about 10 µs for each binding. They are those of
        the moment of the snapshot, also after a ``rebind`` or the end of the subscription. From any
        thread.
        """
        return bindings_from_keys(self._keys)


@dataclass(frozen=True, slots=True)
class MatchResult:
    """Whether an event matches a subscription. ``str()`` returns one readable line."""

    number: int
    """As ``SubscriptionInfo.number``."""
    name: str
    matches: bool
    mismatches: tuple[Mismatch, ...]
    """The mismatches of the subscription's nearest binding. Empty if the event matches."""
    kind: Literal["subscription", "callback"] = "subscription"
    """As ``SubscriptionInfo.kind``."""

    def __str__(self) -> str:
        if self.matches:
            return f"\N{CHECK MARK} {self.name}"
        return f"\N{BALLOT X} {self.name}: {'; '.join(map(str, self.mismatches))}"


@dataclass(slots=True)
class Totals:
    """The counts of closed subscriptions, which the bus no longer holds."""

    offered: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    pending: int = 0
    """Events in closed subscriptions that can still be taken."""
