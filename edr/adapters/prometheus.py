"""Prometheus: the counts of a bus on a page of metrics.

Example::

    import asyncio
    import edr
    from prometheus_client import CollectorRegistry, generate_latest
    from edr.adapters.prometheus import Collector

    async def main():
        async with edr.Bus() as bus:
            registry = CollectorRegistry()
            registry.register(Collector(bus))
            async with bus.subscribe(name="archive"):
                await bus.emit("billing", "1", "ok", "info", {})
                page = await asyncio.to_thread(generate_latest, registry)
            assert b'edr_subscription_pending{subscription="archive"} 1.0' in page

    asyncio.run(main())

The sums of the bus are ``edr_emits_total``, ``edr_offered_total``, ``edr_delivered_total``,
``edr_dropped_total{reason}``, ``edr_pending``, ``edr_stalled``, ``edr_subscriptions``,
``edr_callback_errors_total``, ``edr_refused_total`` and ``edr_account_failures_total``. Each
subscription that has a name has its own, from ``edr_subscription_offered_total{subscription}`` to
``edr_subscription_oldest_age_seconds{subscription}``: what is worth an alert is
``rate(edr_dropped_total[5m]) > 0`` and ``edr_subscription_oldest_age_seconds > 30``. See
``edr.adapters.measures`` for what is summed, and why no counter falls.

Two buses in one registry need a prefix each; without, the registry refuses the second.
"""

from __future__ import annotations

from collections.abc import Iterable

from edr.adapters.measures import Measure, Measures
from edr.bus import Bus

try:
    from prometheus_client import Metric
except ImportError as _missing:
    raise ImportError(
        "edr.adapters.prometheus needs prometheus-client: install edr with its extra 'prometheus'"
    ) from _missing


class Collector:
    """Collects the measures of a bus whenever a page is made. From any thread.

    Args:
        bus: what to measure.
        prefix: how the names of the metrics begin.
    """

    def __init__(self, bus: Bus, *, prefix: str = "edr") -> None:
        self._measures = Measures(bus)
        self._prefix = prefix

    def collect(self) -> Iterable[Metric]:
        """Return the metrics of this moment."""
        return [self._metric(measure) for measure in self._measures.read()]

    def describe(self) -> Iterable[Metric]:
        """Return the metrics without values, so that a registry sees two of one name."""
        return [self._empty(measure) for measure in self._measures.read()]

    def _metric(self, measure: Measure) -> Metric:
        metric = self._empty(measure)
        suffix = "_total" if measure.kind == "counter" else ""
        for values, measured in measure.values.items():
            labels = dict(zip(measure.labels, values, strict=True))
            metric.add_sample(metric.name + suffix, labels, measured)
        return metric

    def _empty(self, measure: Measure) -> Metric:
        unit = "seconds" if measure.unit == "seconds" else ""
        name = "_".join(filter(None, [self._prefix, measure.name, unit]))
        return Metric(name, measure.help, measure.kind, unit)
