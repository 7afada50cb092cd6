"""What happens to an event that finds a subscription's queue full, and how it is counted."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, TypeAlias


class Overflow(StrEnum):
    """The policy of a subscription whose queue is full.

    Before a policy drops an event, ``emit`` yields to the event loop once, so a consumer that
    is only waiting for its turn is never made to lose something by a tight loop of emits.
    """

    BLOCK = "block"
    """emit waits for room, after every other subscription has its event. A subscriber that
    takes nothing for ``stall_timeout`` seconds is stalled: no longer waited for, and what
    arrives is dropped and counted, until it takes an event again."""
    DROP_OLDEST = "drop_oldest"
    """The oldest queued event goes: for state, where the newest matters."""
    DROP_NEWEST = "drop_newest"
    """The arriving event goes: for samples, where any will do."""
    CLOSE = "close"
    """The subscription ends; its iterator raises ``SubscriptionOverflowError`` after what was
    queued: for consumers that would rather start over than miss something."""


AnyOverflow: TypeAlias = Overflow | Literal["block", "drop_oldest", "drop_newest", "close"]
"""What names a policy."""


class DropReason(StrEnum):
    """Why an offered event was not delivered: the keys of ``statistics().dropped``."""

    OVERFLOW = "overflow"
    """The queue was full, and its policy let this event go (under DROP_OLDEST an older one)."""
    STALLED = "stalled"
    """The queue was full under BLOCK, and its subscriber had stalled."""
    WOULD_BLOCK = "would_block"
    """The queue was full under BLOCK, and the emitter could not wait (``emit_nowait``, or a
    task that would have waited for itself)."""
    CANCELLED = "cancelled"
    """The emit was cancelled while it waited for room."""
    CLOSED = "closed"
    """The subscription was closed with this event in it."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Stands in the stream where events were dropped; only with ``gaps=True``."""

    missed: int
    """How many, one after the other."""
