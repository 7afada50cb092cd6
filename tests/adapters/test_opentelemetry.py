import asyncio
import gc

import pytest

import edr

pytest.importorskip("opentelemetry.sdk")

from opentelemetry._logs import SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import (
    InMemoryLogRecordExporter,
    SimpleLogRecordProcessor,
)
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from edr.adapters.opentelemetry import export_events, instrument


@pytest.fixture
def reader():
    return InMemoryMetricReader()


@pytest.fixture
def meter_provider(reader):
    provider = MeterProvider([reader], shutdown_on_exit=False)
    yield provider
    provider.shutdown()


@pytest.fixture
def exporter():
    return InMemoryLogRecordExporter()


@pytest.fixture
def logger_provider(exporter):
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    yield provider
    provider.shutdown()


def metrics_of(reader):
    data = reader.get_metrics_data()
    if data is None:
        return {}
    (scope,) = data.resource_metrics[0].scope_metrics
    assert scope.scope.name == "edr"
    return {metric.name: metric for metric in scope.metrics}


def values(metric):
    return {tuple(point.attributes.items()): point.value for point in metric.data.data_points}


async def test_the_sdk_reads_the_measures_of_a_bus(bus, emit, reader, meter_provider):
    instrument(bus, meter_provider=meter_provider)
    held = bus.subscribe(name="archive", capacity=1, overflow="drop_newest")
    await emit(1)
    await emit(2)
    found = await asyncio.to_thread(metrics_of, reader)

    assert values(found["edr.emits"]) == {(): 2}
    assert values(found["edr.subscription.pending"]) == {(("subscription", "archive"),): 1}
    assert values(found["edr.subscription.dropped"]) == {
        (("subscription", "archive"), ("reason", "overflow")): 1
    }
    assert found["edr.emits"].data.is_monotonic
    assert found["edr.emits"].unit == "{event}"
    assert found["edr.subscription.oldest_age"].unit == "s"
    held.close()


async def test_all_that_is_read_at_once_is_of_one_moment_and_read_anew_each_time(
    bus, emit, reader, meter_provider
):
    instrument(bus, meter_provider=meter_provider)
    held = bus.subscribe()
    for n in range(1, 4):
        await emit(n)
        found = metrics_of(reader)
        assert values(found["edr.offered"]) == values(found["edr.pending"]) == {(): n}
    held.close()


async def test_a_bus_that_is_gone_has_no_measures(reader, meter_provider):
    bus = edr.Bus()
    instrument(bus, meter_provider=meter_provider)
    del bus
    gc.collect()

    assert not metrics_of(reader)


async def test_an_event_becomes_a_log_record(bus, exporter, logger_provider):
    export_events(bus, edr.Binding(severity="warning"), logger_provider=logger_provider)
    events = bus.subscribe(severity="warning")
    body = {"calls": [{"id": "c1"}], "rate": None, "n": 2**40}
    await bus.emit("billing", "5.1", "critical", "warn", body, account_id="acme")
    await bus.emit("billing", "5.1", "ok", "info", {})
    (event,) = events.take()
    await bus.settled()
    (data,) = exporter.get_finished_logs()
    record = data.log_record

    assert (record.event_name, record.body) == ("billing", body)
    assert (record.severity_number, record.severity_text) == (SeverityNumber.WARN, "warn")
    assert record.timestamp == round(event.timestamp.timestamp() * 1_000_000) * 1000
    assert dict(record.attributes) == {
        "edr.id": event.id,
        "edr.app.name": "billing",
        "edr.app.version": "5.1",
        "edr.node": "test",
        "edr.severity": "critical",
        "edr.account.id": "acme",
    }
    assert data.instrumentation_scope.name == "edr"
    assert data.to_json()
    events.close()


@pytest.mark.parametrize(
    ("verbosity", "number"),
    [("trace", 1), ("debug", 5), ("info", 9), ("warn", 13), ("error", 17), ("fatal", 21)],
)
async def test_a_verbosity_has_its_number(bus, exporter, logger_provider, verbosity, number):
    handle = export_events(
        bus, edr.Binding(verbosity="trace"), logger_provider=logger_provider, name="otel"
    )
    await bus.emit("a", "1", "ok", verbosity, {})
    await bus.settled()

    (data,) = exporter.get_finished_logs()
    assert data.log_record.severity_number.value == number
    assert handle.name == "otel"


async def test_the_tree_of_an_account_is_an_attribute(bus, exporter, logger_provider, make_event):
    export_events(bus, logger_provider=logger_provider)
    await bus.publish(make_event(account_id="c", account_tree=["a", "b"]))
    await bus.settled()

    (data,) = exporter.get_finished_logs()
    assert data.log_record.attributes["edr.account.tree"] == ("a", "b")
