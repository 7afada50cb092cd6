"""The measures of the application for Prometheus: sinks, sources, and the last reload.

Those of the bus, its journal and its links are in ``edr.adapters.prometheus``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.registry import Collector as RegistryCollector

from edr.adapters.prometheus import Collector
from edr.app.application import Application
from edr.sinks import SinkState


class Measure(NamedTuple):
    """One metric."""

    name: str
    kind: str
    help: str
    labels: tuple[str, ...]


MEASURES = (
    Measure("edr_sink_delivered", "counter", "Events that it delivered.", ("sink",)),
    Measure("edr_sink_retried", "counter", "Attempts that failed and were made again.", ("sink",)),
    Measure("edr_sink_rejected", "counter", "Events that became dead letters.", ("sink",)),
    Measure("edr_sink_missed", "counter", "Events lost before it took them.", ("sink",)),
    Measure("edr_sink_backlog", "gauge", "Events that wait for delivery.", ("sink",)),
    Measure("edr_sink_oldest_seconds", "gauge", "Age of its oldest held event.", ("sink",)),
    Measure("edr_sink_state", "gauge", "1 for its present state.", ("sink", "state")),
    Measure("edr_source_accepted", "counter", "Events that the journal has stored.", ("source",)),
    Measure("edr_source_refused", "counter", "Lines that are not valid events.", ("source",)),
    Measure("edr_source_failed", "counter", "Calls that the journal failed.", ("source",)),
    Measure("edr_source_connections", "gauge", "Open connections.", ("source",)),
    Measure("edr_reload_ok", "gauge", "0 if the last reload failed, else 1.", ()),
)

DEAD_LETTERS = {"rejected", "expired"}
"""Reasons of losses that are counted as rejected."""


class ApplicationCollector(RegistryCollector):
    """Reads the parts of an application. In the loop of the application only.

    Args:
        application: the application.
    """

    def __init__(self, application: Application) -> None:
        self._application = application

    def collect(self) -> Iterable[Metric]:
        """Return the metrics of this moment."""
        metrics = {each.name: Metric(each.name, each.help, each.kind) for each in MEASURES}
        labels = {each.name: each.labels for each in MEASURES}
        for name, values, measured in self._read():
            suffix = "_total" if metrics[name].type == "counter" else ""
            named = dict(zip(labels[name], values, strict=True))
            metrics[name].add_sample(name + suffix, named, measured)
        return metrics.values()

    def describe(self) -> Iterable[Metric]:
        """Return the metrics without values."""
        return [Metric(each.name, each.help, each.kind) for each in MEASURES]

    def _read(self) -> Iterator[tuple[str, tuple[str, ...], float]]:
        yield "edr_reload_ok", (), float(self._application.reload_ok)
        for runner in self._application.runners:
            status = runner.status()
            if runner.kind == "sink":
                yield from _of_sink(runner.name, status)
            elif runner.kind == "source":
                yield from _of_source(runner.name, status)


def _of_sink(name: str, status: Any) -> Iterator[tuple[str, tuple[str, ...], float]]:
    lost = status.get("lost") or {}
    yield "edr_sink_delivered", (name,), status.get("delivered") or 0
    yield "edr_sink_retried", (name,), status.get("retried") or 0
    yield "edr_sink_rejected", (name,), sum(lost.get(reason, 0) for reason in DEAD_LETTERS)
    missed = sum(count for reason, count in lost.items() if reason not in DEAD_LETTERS)
    yield "edr_sink_missed", (name,), missed
    yield "edr_sink_backlog", (name,), status.get("backlog") or 0
    yield "edr_sink_oldest_seconds", (name,), status.get("oldest_age") or 0
    state = str(status.get("state"))
    for each in dict.fromkeys([*map(str, SinkState), state]):
        yield "edr_sink_state", (name, each), float(each == state)


def _of_source(name: str, status: Any) -> Iterator[tuple[str, tuple[str, ...], float]]:
    lost = status.get("lost") or {}
    yield "edr_source_accepted", (name,), status.get("delivered") or 0
    yield "edr_source_refused", (name,), lost.get("refused", 0)
    yield "edr_source_failed", (name,), status.get("failed") or 0
    yield "edr_source_connections", (name,), status.get("connections") or 0


def page_of(application: Application) -> bytes:
    """Return the page of all metrics, in the text format of Prometheus."""
    registry = CollectorRegistry()
    registry.register(ApplicationCollector(application))
    name = application.configuration.app.name
    registry.register(Collector({name: application.bus}))
    return generate_latest(registry)
