"""``Context``: the parts of a gateway that its routes share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from edr.bus import Bus
from edr.streams import Streams
from edr.web.access import Access
from edr.web.clients import Clients
from edr.web.limits import ClientCounts, Limits
from edr.web.refusals import RefusedError
from edr.web.sse import Blocks


@dataclass(slots=True)
class Context:
    """The parts of a gateway on one bus."""

    bus: Bus
    streams: Streams
    access: Access
    """Checks and identifies connections."""
    counts: ClientCounts
    """Counts clients; ``enter`` refuses one that is too many."""
    clients: Clients
    """The clients whose streams run."""
    limits: Limits
    blocks: Blocks = field(default_factory=Blocks)
    """Makes the blocks of SSE streams."""
    refused: Counter[str] = field(default_factory=Counter)
    """Refused requests, by code. A transport counts its own refusals here."""
    is_stopping: bool = False
    """Whether the gateway stops. Then no client is admitted."""

    def check_running(self) -> None:
        """Raise if the gateway stops.

        Raises:
            RefusedError: it does, 503.
        """
        if self.is_stopping:
            raise RefusedError("stopping", "the gateway is stopping")


@dataclass(frozen=True, slots=True)
class GatewayStatistics:
    """The counts of a gateway at one moment. The sums are since it started."""

    clients: int
    """Clients whose streams run."""
    groups: int
    """Groups of clients with the same bindings and the same grant, including idle groups."""
    sent: int
    """Events that clients were sent."""
    missed: int
    """Events that clients were told to have missed, without gaps of an unknown size."""
    withheld: int
    """Events that matched the bindings of a client and that its grant does not show."""
    refused: Mapping[str, int]
    """Refused requests, by code."""
    closed: Mapping[str, int]
    """Ended streams, by reason: ``left`` (the client ended it), ``slow``, ``grant``, ``gap``,
    ``stopping`` or ``failed``."""
