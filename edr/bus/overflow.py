"""Overflow policies of a full queue, and the reasons under which drops are counted."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, TypeAlias


class Overflow(StrEnum):
    """The policy of a subscription for an event that finds its queue full.

    Before a policy drops an event, ``emit`` yields to the event loop once. So a tight loop of emits
    drops no event of a consumer that is ready to run.
    """

    BLOCK = "block"
    """emit waits for space, after every other subscription has its event. A subscriber that takes
    nothing for ``stall_timeout`` seconds is stalled: emits do not wait for it, and its events are
    dropped and counted, until it takes an event again."""
    DROP_OLDEST = "drop_oldest"
    """The oldest queued event is dropped: for state, where only the newest value matters."""
    DROP_NEWEST = "drop_newest"
    """The new event is dropped: for samples, where each event is as good as another."""
    CLOSE = "close"
    """The subscription is closed. Its iterator returns the queued events, then raises
    ``SubscriptionOverflowError``: for consumers that must start again after any loss."""


AnyOverflow: TypeAlias = Overflow | Literal["block", "drop_oldest", "drop_newest", "close"]
"""A policy, or its name."""


class DropReason(StrEnum):
    """Why an offered event was not delivered: the keys of ``statistics().dropped``."""

    OVERFLOW = "overflow"
    """The queue was full, and its policy dropped an event."""
    STALLED = "stalled"
    """The queue was full under BLOCK, and its subscriber had stalled."""
    WOULD_BLOCK = "would_block"
    """The queue was full under BLOCK, and the emit could not wait: ``emit_nowait``, or a task that
    is the only consumer of the queue."""
    CANCELLED = "cancelled"
    """The emit was cancelled while it waited for space."""
    CLOSED = "closed"
    """The subscription was closed, and this event was not taken."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Marks dropped events in the stream of a subscription with ``gaps=True``.

    It comes no later than the first event after the dropped ones. Where an emit that waited for
    space was cancelled or refused, it may come before earlier events that waited too.
    """

    missed: int
    """The number of dropped events."""
