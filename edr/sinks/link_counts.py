"""``LinkCounts``: the counts of a part whose link is replaced now and then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from edr.sinks.alerts import Alerts

ADDED = ("offered", "delivered", "received", "published", "reconnects")
"""The counts of a link that go on with the next link."""


class LinkCounts:
    """The sums of the counts of all links so far.

    Args:
        alerts: reports losses.
    """

    def __init__(self, alerts: Alerts) -> None:
        self._alerts = alerts
        self._past: Counter[str] = Counter()
        self._lost_before: Counter[str] = Counter()
        self._reported: Counter[str] = Counter()
        """The losses that are in alerts."""

    def keep(self, status: Mapping[str, Any], *, is_durable: bool) -> None:
        """Add the status of a link that is replaced."""
        for name in ADDED:
            self._past[name] += status[name]
        # Pending events of a journal are offered again by the next link.
        self._past["offered"] -= status["pending"] if is_durable else 0
        self._lost_before.update(status["lost"])

    def total(self, status: Mapping[str, Any]) -> dict[str, Any]:
        """Return the status of the present link with the counts of all."""
        counts = dict(status)
        for name in ADDED:
            counts[name] += self._past[name]
        counts["lost"] = dict(self._lost(status))
        return counts

    def report(self, status: Mapping[str, Any]) -> None:
        """Report the losses since the last report."""
        lost = self._lost(status)
        for reason, count in (lost - self._reported).items():
            self._alerts.lost(reason, count)
        self._reported = lost

    def _lost(self, status: Mapping[str, Any]) -> Counter[str]:
        return self._lost_before + Counter(status["lost"])
