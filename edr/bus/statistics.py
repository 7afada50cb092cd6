"""What a subscription and a bus tell of themselves, and the sums that outlive a subscription."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edr.bus.overflow import Overflow
from edr.patterns import Mismatch
from edr.records import Binding


@dataclass(frozen=True, slots=True)
class SubscriptionStatistics:
    """One moment of a subscription. ``offered == delivered + sum(dropped) + pending`` always."""

    name: str
    offered: int
    """Events that matched and reached this subscription, whatever became of them."""
    delivered: int
    """Events that the subscriber took."""
    dropped: Mapping[str, int]
    """``DropReason`` -> events; a reason that never came up is absent."""
    pending: int
    """Events queued, and those whose emit still waits for room."""
    peak_pending: int
    """The most that were ever pending at once."""
    stalled: bool
    """Whether emitters have stopped waiting for this subscriber."""
    oldest_age: float = field(compare=False)
    """Seconds since the oldest pending event was emitted; 0 if none is pending."""
    failed: int
    """Delivered events on which the callback failed, after its last retry."""
    retried: int
    """Further calls of the callback, after one that failed."""
    in_flight: int
    """Delivered events that are in the hands of the callback now."""
    last_error: str | None = None
    """What the callback last failed with, as ``ValueError: no such account``; counted in
    ``failed``."""


@dataclass(frozen=True, slots=True)
class BusStatistics:
    """One moment of a bus. The sums include subscriptions that are gone."""

    emits: int
    """Events accepted, also those that nobody wanted."""
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
    """Events of other threads that ``emit_anywhere`` and ``publish_anywhere`` did not take, and
    events that a drain refused after ``drain_grace``."""
    account_failures: int
    """Look-ups of an account's ancestors that failed; their events had an empty tree."""
    tap_errors: int = 0
    """Events for which a tap raised an exception."""
    journal: Any = None
    """The counts of the journal (``edr.journal.JournalStatistics``), if there is one; ``failed``
    are events that it did not take, or could not store."""


@dataclass(frozen=True, slots=True)
class SubscriptionInfo:
    """One subscription, or one bound callback, of a bus at one moment."""

    name: str
    bindings: tuple[Binding, ...]
    """What it is offered, in the fewest bindings that say it."""
    capacity: int
    overflow: Overflow
    statistics: SubscriptionStatistics


@dataclass(frozen=True, slots=True)
class MatchResult:
    """Whether an event matches a subscription. ``str()`` returns one readable line."""

    name: str
    matches: bool
    mismatches: tuple[Mismatch, ...]
    """The mismatches of the subscription's nearest binding. Empty if the event matches."""

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
    """What closed subscriptions still hold for their subscribers to take."""
