"""Decides by policy about an event that finds a queue full. No other module does."""

from __future__ import annotations

from enum import Enum, auto
from typing import TypeAlias

from edr.bus.overflow import DropReason, Overflow

# As plain strings: the hash of an enum member is a Python call, and a dead subscriber's queue
# counts a drop for every event.
OVERFLOW = DropReason.OVERFLOW.value
STALLED = DropReason.STALLED.value
WOULD_BLOCK = DropReason.WOULD_BLOCK.value
CANCELLED = DropReason.CANCELLED.value
CLOSED = DropReason.CLOSED.value


class Action(Enum):
    """How a full queue treats an event."""

    WAIT = auto()
    """Keep it until there is space."""
    DROP_OLDEST = auto()
    """Drop the oldest queued event, and queue this one."""
    DROP_NEWEST = auto()
    """Drop this event."""
    CLOSE = auto()
    """Drop this event and all that wait, and close the queue with an error."""


Decision: TypeAlias = tuple[Action, str]
"""An action, and the reason under which its drop is counted."""

WAIT, DROP_OLDEST, DROP_NEWEST, CLOSE = Action


def decide(overflow: Overflow, *, stalled: bool, cannot_wait: str | None = None) -> Decision:
    """Return how a full queue treats an event.

    Args:
        overflow: the policy of the queue.
        stalled: whether its consumer has taken nothing for too long.
        cannot_wait: the drop reason of an emit that cannot wait; ``None`` if it can.

    Raises:
        ValueError: the policy is not known.
    """
    if overflow is Overflow.BLOCK:
        if stalled:
            return DROP_NEWEST, STALLED
        return (WAIT, "") if cannot_wait is None else (DROP_NEWEST, cannot_wait)
    if overflow is Overflow.DROP_OLDEST:
        return DROP_OLDEST, OVERFLOW
    if overflow is Overflow.DROP_NEWEST:
        return DROP_NEWEST, OVERFLOW
    if overflow is Overflow.CLOSE:
        return CLOSE, OVERFLOW
    raise ValueError(f"overflow must be one of {', '.join(Overflow)}, got {overflow!r}")
