import asyncio
import gc
import subprocess
import sys
from datetime import UTC, datetime
from types import SimpleNamespace

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
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    get_current_span,
    use_span,
)

from edr.adapters.opentelemetry import (
    MAX_LEVELS,
    export_events,
    export_metrics,
    instrument,
    record_of,
)


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
    export_metrics(bus, meter_provider=meter_provider)
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
    export_metrics(bus, meter_provider=meter_provider)
    held = bus.subscribe()
    for n in range(1, 4):
        await emit(n)
        found = metrics_of(reader)
        assert values(found["edr.offered"]) == values(found["edr.pending"]) == {(): n}
    held.shutdown()


async def test_given_parts_are_measured(bus, reader, meter_provider):
    part = SimpleNamespace(kind="sink", name="out", status=lambda: {"backlog": 7})
    export_metrics(bus, parts=lambda: [part], meter_provider=meter_provider)

    assert values(metrics_of(reader)["edr.sink.backlog"]) == {(("sink", "out"),): 7}


async def test_a_bus_that_is_gone_has_no_measures(reader, meter_provider):
    bus = edr.Bus()
    export_metrics(bus, meter_provider=meter_provider)
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


@pytest.fixture
def spans():
    return InMemorySpanExporter()


@pytest.fixture
def tracer_provider(spans):
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    yield provider
    provider.shutdown()


@pytest.fixture
def request_span(tracer_provider):
    """Return a function that runs an emit within a span, and returns the span's context."""

    async def run(emit):
        with tracer_provider.get_tracer("test").start_as_current_span("request") as span:
            await emit
        return span.get_span_context()

    return run


def processed(spans):
    return [span for span in spans.get_finished_spans() if span.name.startswith("edr")]


async def test_instrumented_bus_sets_the_trace_of_an_event(
    bus, emit, tracer_provider, request_span
):
    instrument(bus, tracer_provider=tracer_provider)
    events = bus.subscribe()
    context = await request_span(emit(1))
    await emit(2)
    traced, untraced = events.take()

    assert (
        traced.traceparent
        == f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
    )
    assert untraced.traceparent is None


async def test_callback_runs_in_a_span_with_a_link_to_the_emit(
    bus, emit, spans, tracer_provider, request_span
):
    instrument(bus, tracer_provider=tracer_provider)
    current = []

    @bus.on(name="audit")
    async def audit(event):
        current.append(get_current_span().get_span_context())
        await asyncio.sleep(0)
        current.append(get_current_span().get_span_context())

    context = await request_span(emit(1))
    await bus.join()
    (span,) = processed(spans)

    assert (span.name, span.kind, span.parent) == ("edr process audit", SpanKind.CONSUMER, None)
    (link,) = span.links
    assert (link.context.trace_id, link.context.span_id) == (context.trace_id, context.span_id)
    assert current == 2 * [span.context]
    assert span.attributes["messaging.system"] == "edr"
    assert span.attributes["messaging.operation.type"] == "process"
    assert span.attributes["messaging.destination.subscription.name"] == "audit"
    assert span.status.status_code is StatusCode.UNSET


async def test_event_of_a_callback_has_the_trace_of_its_span(bus, emit, spans, tracer_provider):
    instrument(bus, tracer_provider=tracer_provider)
    caused = bus.subscribe(app_name="caused")

    @bus.on(app_name="app", name="cause")
    async def cause(event):
        await bus.emit("caused", "1", "ok", "info", {})

    await bus.emit("app", "1", "ok", "info", {})
    event = await anext(caused)  # join waits for this subscription too
    await bus.join()
    (span,) = processed(spans)

    assert event.traceparent.split("-")[1:3] == [
        f"{span.context.trace_id:032x}",
        f"{span.context.span_id:016x}",
    ]


@pytest.mark.parametrize("is_async", [True, False])
async def test_exception_of_a_callback_is_recorded(bus, emit, spans, tracer_provider, is_async):
    instrument(bus, tracer_provider=tracer_provider)

    def fail(event):
        raise ValueError("no rate")

    async def fail_async(event):
        fail(event)

    bus.bind(edr.Binding(), fail_async if is_async else fail, name="rate")
    await emit(1)
    await bus.join()
    (span,) = processed(spans)

    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "no rate")
    assert span.attributes["error.type"] == "ValueError"
    (recorded,) = span.events
    assert recorded.attributes["exception.message"] == "no rate"
    assert not span.links


async def test_callback_that_times_out_ends_its_span(bus, emit, spans, tracer_provider):
    instrument(bus, tracer_provider=tracer_provider)
    bus.bind(edr.Binding(), lambda _: asyncio.Event().wait(), name="slow", timeout=0.01)
    await emit(1)
    await bus.join()
    (span,) = processed(spans)

    assert span.attributes["error.type"] == "CancelledError"


async def test_uninstrument_ends_the_tracing(bus, emit, spans, tracer_provider, request_span):
    instrumentation = instrument(bus, tracer_provider=tracer_provider)
    instrumentation.uninstrument()
    instrumentation.uninstrument()
    events = bus.subscribe()
    bus.bind(edr.Binding(), print, name="print")
    await request_span(emit(1))
    (event,) = events.take()  # join waits for this subscription too
    await bus.join()

    assert event.traceparent is None
    assert not processed(spans)


def test_default_buses_are_instrumented_until_that_ends(spans, tracer_provider, request_span):
    async def traceparent_of_an_emit():
        events = edr.subscribe()
        await request_span(edr.emit("app", "1", "ok", "info", {}))
        (event,) = events.take()
        await edr.default_bus().aclose()
        return event.traceparent

    instrumentation = instrument(tracer_provider=tracer_provider)
    during = [asyncio.run(traceparent_of_an_emit()) for _ in range(2)]
    instrumentation.uninstrument()

    assert None not in during
    assert asyncio.run(traceparent_of_an_emit()) is None


def test_import_of_edr_does_not_import_opentelemetry():
    code = "import sys, edr, edr.bus; edr.Bus(); print('opentelemetry' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"


async def test_bus_without_instrument_sets_no_trace(bus, emit, spans, request_span):
    events = bus.subscribe()
    bus.bind(edr.Binding(), print, name="print")
    await request_span(emit(1))
    (event,) = events.take()  # join waits for this subscription too
    await bus.join()

    assert event.traceparent is None
    assert not processed(spans)
