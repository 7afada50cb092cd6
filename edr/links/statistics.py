"""``LinkStatistics``: the counts of one link, and the reasons by which they are divided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edr.delivery import ConnectionState

DROP_REASONS = (
    "closed",
    "hops",
    "invalid",
    "nack",
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
    """The counts of one link since its start; a new connection does not reset them.

    At every moment ``offered = sent + uncertain + sum(dropped) + pending``, and
    ``received = delivered + duplicates + sum(refused)``.
    """

    name: str
    state: ConnectionState
    offered: int
    """Events that the link received from the bus to send."""
    sent: int
    """Events that the broker confirmed."""
    uncertain: int
    """Events in flight when a connection was lost; they may have arrived."""
    dropped: Mapping[str, int]
    """Events that were not sent: reason -> events."""
    pending: int
    """Events still to be sent or confirmed."""
    skipped: int
    """Events of other nodes in the journal of a link that also receives. The link does not send
    them back, and they do not count as offered."""
    received: int
    """Messages that the broker sent."""
    delivered: int
    """Received events that the link published on this bus."""
    duplicates: int
    """Received events that this bus had sent or received before."""
    refused: Mapping[str, int]
    """Received messages that the link did not publish: reason -> messages."""
    reconnects: int
    """Connections after the first one."""
    patterns: int
    """Subjects or keys with wildcards that the broker sends messages for."""
    skew: float
    """Most seconds by which a received event was ahead of this machine's clock."""
    last_error: str | None
