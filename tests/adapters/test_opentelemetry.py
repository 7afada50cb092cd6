import asyncio
import gc
from datetime import UTC, datetime

import pytest
from hypothesis import given
from support.strategies import events

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
from opentelemetry.trace import NonRecordingSpan, SpanContext, use_span

from edr.adapters.opentelemetry import MAX_LEVELS, export_events, instrument, record_of


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
    """Return attributes but for the bus -> value, of what is not 0."""
    points = [(dict(point.attributes), point.value) for point in metric.data.data_points]
    assert {attributes.pop("bus") for attributes, _ in points} == {"default"}
    return {tuple(attributes.items()): value for attributes, value in points if value}


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
    held.shutdown()


async def test_all_that_is_read_at_once_is_of_one_moment_and_read_anew_each_time(
    bus, emit, reader, meter_provider
):
    instrument(bus, meter_provider=meter_provider)
    held = bus.subscribe()
    for n in range(1, 4):
        await emit(n)
        found = metrics_of(reader)
        assert values(found["edr.offered"]) == values(found["edr.pending"]) == {(): n}
    held.shutdown()


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
    await bus.join()
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
    events.shutdown()


@pytest.mark.parametrize(
    ("verbosity", "number"),
    [("trace", 1), ("debug", 5), ("info", 9), ("warn", 13), ("error", 17), ("fatal", 21)],
)
async def test_a_verbosity_has_its_number(bus, exporter, logger_provider, verbosity, number):
    handle = export_events(
        bus, edr.Binding(verbosity="trace"), logger_provider=logger_provider, name="otel"
    )
    await bus.emit("a", "1", "ok", verbosity, {})
    await bus.join()

    (data,) = exporter.get_finished_logs()
    assert data.log_record.severity_number.value == number
    assert handle.name == "otel"


async def test_the_tree_of_an_account_is_an_attribute(bus, exporter, logger_provider, make_event):
    export_events(bus, logger_provider=logger_provider)
    await bus.publish(make_event(account_id="c", account_tree=["a", "b"]))
    await bus.join()

    (data,) = exporter.get_finished_logs()
    assert data.log_record.attributes["edr.account.tree"] == ("a", "b")


def nested(levels, wrap):
    value = "deepest"
    for _ in range(levels):
        value = wrap(value)
    return value


def in_object(value):
    return {"a": value, "b": None}


def in_list(value):
    return [value, None]


HARD = {
    "large": {"n": 2**63, "list": [2**64 - 1]},
    "small": {"n": -(2**63), "max": 2**63 - 1},
    "deep objects": {"v": nested(126, in_object)},
    "deep lists": {"v": nested(126, in_list)},
    "deep both": {"v": nested(62, lambda value: in_object(in_list(value)))},
    "nothing": {"": "", "null": None, "empty": [{}, []]},
    "text": {"zero": "\x00", "wide": "\U0001f600"},
}


@pytest.mark.parametrize("name", HARD)
async def test_record_of_any_body_can_be_encoded(bus, exporter, logger_provider, name):
    encoder = pytest.importorskip("opentelemetry.exporter.otlp.proto.common._log_encoder")
    export_events(bus, logger_provider=logger_provider)
    await bus.emit("a", "1", "ok", "info", HARD[name])
    await bus.join()

    encoded = encoder.encode_logs(exporter.get_finished_logs()).SerializeToString()
    assert b"deepest" in encoded or "deep" not in name


@given(events)
def test_record_of_any_event_can_be_encoded(event):
    encoder = pytest.importorskip("opentelemetry.exporter.otlp.proto.common._log_encoder")
    exporter, provider = InMemoryLogRecordExporter(), LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    provider.get_logger("edr").emit(record_of(event))

    encoder.encode_logs(exporter.get_finished_logs()).SerializeToString()


def test_record_has_the_trace_of_the_event_and_not_the_current_one(make_event):
    current = NonRecordingSpan(SpanContext(1, 2, is_remote=False))
    with use_span(current):
        traced = record_of(make_event(traceparent=f"00-{7:032x}-{8:016x}-01"))
        untraced = record_of(make_event())

    assert (traced.trace_id, traced.span_id, traced.trace_flags) == (7, 8, 1)
    assert (untraced.trace_id, untraced.span_id, untraced.trace_flags) == (0, 0, 0)


def test_integer_that_otlp_cannot_hold_is_text(make_event):
    record = record_of(make_event(body={"n": 2**63, "m": [2**63 - 1]}))

    assert record.body == {"n": "9223372036854775808", "m": [2**63 - 1]}


def test_what_is_nested_too_deep_is_json_text(make_event):
    body = record_of(make_event(body={"v": nested(MAX_LEVELS, in_list)})).body
    for _ in range(MAX_LEVELS - 1):
        (body, *_) = body.values() if isinstance(body, dict) else body

    assert body[0] == '["deepest",null]'


@pytest.mark.parametrize("year", [1, 1969, 2600, 9998])
def test_time_that_otlp_cannot_hold_is_an_attribute(make_event, year):
    event = make_event(timestamp=datetime(year, 1, 1, tzinfo=UTC))
    record = record_of(event)

    assert record.timestamp is None
    assert datetime.fromisoformat(record.attributes["edr.timestamp"]) == event.timestamp
