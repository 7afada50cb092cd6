"""``explain``: which parts of the process receive an event, and why the others do not.

A subscription of the process may name any account in its bindings. So these are listed for
operators only. Other clients learn which of their own subscriptions match.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from edr._util.log import RateLimitedLog
from edr.bus import Bus
from edr.control.listing import Listing, result_of
from edr.control.parts import PartList
from edr.control.snapshot import Snapshots
from edr.records import Binding, Event, explain
from edr.streams import Grant

MAX_RESULTS = 1000
"""Results of one answer. A process with more has its own ``edr explain``."""


class Explaining:
    """Explains events of one bus.

    Args:
        bus: has the subscriptions, and the parts among its services.
    """

    def __init__(self, bus: Bus) -> None:
        log = RateLimitedLog()
        parts = PartList(bus, None, log)
        self._listing = Listing(bus, parts, Snapshots(bus, parts, log))

    async def results(
        self, event: Event, grant: Grant, own: Iterable[tuple[str, tuple[Binding, ...]]]
    ) -> list[dict[str, Any]]:
        """Return whether each receiver matches ``event``, and why not; at most 1,000.

        Each turn of the loop takes less than 10 ms. Cancellation: nothing remains.

        Args:
            event: the event, as the client may see it.
            grant: the grant of the client.
            own: the names and the bindings of the client's own subscriptions.
        """
        found = [result_of("client", name, explain(event, *bindings)) for name, bindings in own]
        if grant.shows_everything:
            async for result in self._listing.results(event):
                if len(found) >= MAX_RESULTS:
                    break
                found.append(result)
        return found
