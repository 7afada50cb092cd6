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
            assert b'edr_subscription_pending{bus="default",subscription="archive"} 1.0' in page

    asyncio.run(main())

The sums of a bus are ``edr_emits_total``, ``edr_dropped_total{reason}``, ``edr_pending`` and so on.
Each subscription that has a name has its own, from ``edr_subscription_offered_total`` to
``edr_subscription_oldest_age_seconds``; so have the journal (``edr_journal_…``), its consumers
(``edr_consumer_lag``), each link (``edr_link_…``), sink and source (``edr_sink_…``). All have the
label ``bus``. Every reason is there from 0, so that ``rate(edr_dropped_total[5m]) > 0`` sees the
first loss. See ``edr.adapters.measures`` for what is summed, and why no counter falls.

Several buses: ``Collector({"orders": bus, "audit": other})``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from edr.adapters.measures import Measure, Measures, Parts
from edr.bus import Bus

try:
    from prometheus_client import Metric
except ImportError as _missing:
    raise ImportError(
        "edr.adapters.prometheus needs prometheus-client: install edr with its extra 'prometheus'"
    ) from _missing


class Collector:
    """Collects the measures of one bus, or of several, when a page is made. From any thread.

    Args:
        buses: a bus, whose label ``bus`` is ``default``, or several by their
            labels. A registry refuses a second collector, as it would have the same metrics.
        parts: returns further sinks and sources of the bus, such as a list of ``SocketSource``.
            With one bus only. It is called in the loop of the bus while that runs.
    """

    def __init__(self, buses: Bus | Mapping[str, Bus], *, parts: Parts = tuple) -> None:
        self._measures = Measures(buses, parts)

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
        name = "_".join(filter(None, ["edr", measure.name, unit]))
        return Metric(name, measure.help, measure.kind, unit)
