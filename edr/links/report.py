"""What a link tells of itself: its state, its counts, and why the broker will not have it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from edr.errors import EdrError


class LinkError(EdrError):
    """Something is wrong between a bus and a broker."""


class LinkRefusedError(LinkError):
    """The broker will not have this link as it is: its version, a password, a wrong exchange.

    To try again would not help, so ``start`` raises it.
    """


class LinkState(StrEnum):
    """What a link is doing."""

    CONNECTING = "connecting"
    """There is no connection; it is tried again and again."""
    UP = "up"
    BLOCKED = "blocked"
    """There is a connection, and the broker takes nothing at the moment, and says so."""
    CLOSED = "closed"


DROP_REASONS = (
    "closed",
    "hops",
    "invalid",
    "not_permitted",
    "oversize_key",
    "overflow",
    "refused",
    "retention",
    "too_large",
)
"""Why a link did not send an event: the keys of ``LinkStatistics.dropped``."""

REFUSE_REASONS = ("closed", "hops", "invalid", "mismatch", "too_large", "unwanted")
"""Why a link did not publish a message: the keys of ``LinkStatistics.refused``."""


@dataclass(frozen=True, slots=True)
class LinkStatistics:
    """One moment of a link. From its start; a new connection does not set them back.

    ``offered = sent + uncertain + sum(dropped) + pending``, and
    ``received = delivered + duplicates + sum(refused)``, always.
    """

    name: str
    state: LinkState
    offered: int
    """Events that the bus gave the link to send."""
    sent: int
    """Events of which the broker has confirmed that it has them."""
    uncertain: int
    """Events that were on their way when a connection was lost: they may have arrived, or not."""
    dropped: Mapping[str, int]
    """Events that were not sent: reason -> events."""
    pending: int
    """Events still to be sent, or to be confirmed."""
    skipped: int
    """Events of other nodes in the journal of a link that also receives: it does not send them
    back. They do not count as offered."""
    received: int
    """Messages that came from the broker."""
    delivered: int
    """Events that were received and published on this bus."""
    duplicates: int
    """Events received that had been here before."""
    refused: Mapping[str, int]
    """Messages received that were not taken for an event: reason -> messages."""
    reconnects: int
    """Connections after the first one."""
    patterns: int
    """What the link asks the broker for: subjects or keys with wildcards."""
    skew: float
    """Seconds by which some received event was ahead of this machine's clock, at most."""
    last_error: str | None
