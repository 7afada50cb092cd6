"""``page_of``: the metrics of the application for Prometheus.

They are those of ``edr.adapters.measures`` for its bus, sinks and sources, and the last reload.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.registry import Collector as RegistryCollector

from edr.adapters.prometheus import Collector
from edr.app.application import Application


class ReloadCollector(RegistryCollector):
    """Reads whether the last reload succeeded.

    Args:
        application: the application.
    """

    def __init__(self, application: Application) -> None:
        self._application = application

    def collect(self) -> Iterable[Metric]:
        """Return the metric of this moment."""
        metric = Metric("edr_reload_ok", "0 if the last reload failed, else 1.", "gauge")
        name = self._application.configuration.app.name
        metric.add_sample(metric.name, {"bus": name}, float(self._application.reload_ok))
        return [metric]


def page_of(application: Application) -> bytes:
    """Return the page of all metrics, in the text format of Prometheus. In the loop."""
    registry = CollectorRegistry()
    registry.register(ReloadCollector(application))
    name = application.configuration.app.name
    collector = Collector({name: application.bus}, parts=lambda: application.runners)
    registry.register(collector)
    return generate_latest(registry)
