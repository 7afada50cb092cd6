"""OpenTelemetry: traces and metrics of a bus, and its events as log records.

Example::

    import asyncio
    import edr
    from edr.adapters.opentelemetry import export_events, export_metrics, instrument

    async def main():
        async with edr.Bus() as bus:
            instrument(bus)
            export_metrics(bus)
            export_events(bus, edr.Binding(severity="warning"))
            await bus.emit("billing", "5.1", "warning", "warn", {"rate": None}, account_id="acme")

    asyncio.run(main())

It uses the API package alone, so without an SDK that a program has set up, it does nothing.

**Traces.** After ``instrument(bus)``, each event that is emitted within a span has the span's W3C
trace context in ``event.traceparent``. The native form, CloudEvents, the journal, and the NATS and
JetStream links carry it. Each call of a callback runs in a new span ``edr process <name>`` with a
link to the span of the emit. Without ``instrument``, no event has a trace context of this process.

**Metrics** are those of ``edr.adapters.measures``: ``edr.emits``, ``edr.dropped`` (with
``reason``), ``edr.subscription.pending`` (with ``subscription``) and so on, each with ``bus``.

**Events** are LogRecords named by their app, with the body as body, the time of the event,
severity numbers 1, 5, 9, 13, 17, 21 for trace, debug, info, warn, error and fatal, and as
attributes ``edr.id``, ``edr.app.name``, ``edr.app.version``, ``edr.node``, ``edr.severity`` and,
where there is one, ``edr.account.id`` and ``edr.account.tree``. The trace id, the span id and the
trace flags are those of the event's ``traceparent``.

OTLP cannot hold all that an event can, and a record that cannot be encoded would take its whole
batch with it. So integers above 2**63 - 1 are text, and so is, as JSON, what lies more than 24
levels deep. A time before 1970 or after 2554 is the attribute ``edr.timestamp`` instead.
"""

from __future__ import annotations

import inspect
import threading
import weakref
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from edr.adapters.measures import Measure, Measures, Parts
from edr.bus import Bus, Handle, observe_default_buses, set_tracer
from edr.bus import Tracer as BusTracer
from edr.records import Binding, Event, Verbosity

try:
    from opentelemetry._logs import LoggerProvider, LogRecord, SeverityNumber, get_logger
    from opentelemetry.context import Context
    from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation, get_meter
    from opentelemetry.trace import (
        INVALID_SPAN_CONTEXT,
        Link,
        NonRecordingSpan,
        Span,
        SpanContext,
        SpanKind,
        Status,
        StatusCode,
        TraceFlags,
        Tracer,
        TracerProvider,
        get_current_span,
        get_tracer,
        set_span_in_context,
        use_span,
    )
except ImportError as _missing:
    raise ImportError(
        "edr.adapters.opentelemetry needs opentelemetry-api: "
        "install edr with its extra 'opentelemetry'"
    ) from _missing

SCOPE = "edr"

_GROUPS = {"subscription", "journal", "consumer", "link", "sink", "source"}
_UNITS = {"seconds": "s", "bytes": "By"}

_SEVERITIES = {
    Verbosity.TRACE: SeverityNumber.TRACE,
    Verbosity.DEBUG: SeverityNumber.DEBUG,
    Verbosity.INFO: SeverityNumber.INFO,
    Verbosity.WARN: SeverityNumber.WARN,
    Verbosity.ERROR: SeverityNumber.ERROR,
    Verbosity.FATAL: SeverityNumber.FATAL,
}
INT64_MAX = 2**63 - 1
MAX_NANOSECONDS = 2**64 - 1

MAX_LEVELS = 24
"""Objects and arrays in each other. An object takes 3 nested messages, the record around it 5, and
protobuf's limit is 100."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Instrumentation:
    """Returned by ``instrument``. ``uninstrument`` ends the tracing."""

    def __init__(self, bus: Bus | None, tracer: BusTracer) -> None:
        self._buses: weakref.WeakSet[Bus] = weakref.WeakSet()
        self._tracer = tracer
        self._observed = ExitStack()
        if bus is not None:
            self._add(bus)
        else:
            self._observed.enter_context(observe_default_buses(self._add))

    def _add(self, bus: Bus) -> None:
        set_tracer(bus, self._tracer)
        self._buses.add(bus)

    def uninstrument(self) -> None:
        """End the tracing. Events and callbacks are as before ``instrument``. Idempotent."""
        self._observed.close()
        for bus in list(self._buses):
            set_tracer(bus, None)
        self._buses.clear()


def instrument(
    bus: Bus | None = None, *, tracer_provider: TracerProvider | None = None
) -> Instrumentation:
    """Give events the trace context of the current span, and run callbacks in spans.

    Args:
        bus: The bus; by default the default bus of each loop that runs now or starts later. Call
            this in the thread of the bus.
        tracer_provider: The provider of the spans of callbacks; by default the global one.
    """
    return Instrumentation(bus, _Tracer(get_tracer(SCOPE, tracer_provider=tracer_provider)))


class _Tracer:
    """Implements ``edr.bus.Tracer`` with OpenTelemetry."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def traceparent(self) -> str | None:
        span = get_current_span().get_span_context()
        if not span.is_valid:
            return None
        return f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags & 0xFF:02x}"

    def wrap(self, name: str, callback: Callable[..., Any]) -> Callable[..., Any]:
        def traced(event: Event, *payload: Any) -> Any:
            span = self._start(name, event)
            try:
                with _current(span):
                    result = callback(event, *payload)
            except BaseException as exc:  # SystemExit too: the span ends with the callback
                _end(span, exc)
                raise
            if inspect.isawaitable(result):
                return _awaited(result, span)
            _end(span)
            return result

        return traced

    def _start(self, name: str, event: Event) -> Span:
        attributes = {
            "messaging.system": "edr",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": event.app_name,
            "messaging.destination.subscription.name": name,
            "messaging.message.id": event.id,
        }
        if event.account_id is not None:
            attributes["edr.account.id"] = event.account_id
        return self._tracer.start_span(
            f"edr process {name}",
            kind=SpanKind.CONSUMER,
            attributes=attributes,
            links=[] if event.traceparent is None else [Link(span_context_of(event))],
        )


async def _awaited(awaitable: Awaitable[Any], span: Span) -> Any:
    """Await ``awaitable`` within ``span``, and end the span."""
    try:
        with _current(span):
            result = await awaitable
    except BaseException as exc:  # a cancellation too: the callback did not finish
        _end(span, exc)
        raise
    _end(span)
    return result


def _current(span: Span) -> AbstractContextManager[Span]:
    return use_span(span, record_exception=False, set_status_on_exception=False)


def _end(span: Span, exc: BaseException | None = None) -> None:
    if exc is not None:
        span.record_exception(exc)
        span.set_attribute("error.type", type(exc).__qualname__)
        span.set_status(Status(StatusCode.ERROR, str(exc)))
    span.end()


def export_metrics(
    buses: Bus | Mapping[str, Bus],
    *,
    parts: Parts = tuple,
    meter_provider: MeterProvider | None = None,
) -> None:
    """Measure a bus, or several, when metrics are read, in any thread, for as long as they live.

    Call it once for a meter provider, as instruments of one name would be in conflict.

    Args:
        buses: The bus to measure, whose attribute ``bus`` is ``default``, or several by name.
        parts: Returns further sinks and sources of the bus. With one bus only.
        meter_provider: The provider of the instruments; by default the global one.
    """
    meter = get_meter(SCOPE, meter_provider=meter_provider)
    measures = Measures(buses, parts)
    readings = _Readings(measures)
    for measure in measures.read():
        group, _, rest = measure.name.partition("_")
        name = f"edr.{group}.{rest}" if group in _GROUPS else f"edr.{measure.name}"
        unit = _UNITS.get(measure.unit) or f"{{{measure.unit.removesuffix('s')}}}"
        create = (
            meter.create_observable_counter
            if measure.kind == "counter"
            else meter.create_observable_gauge
        )
        create(name, [readings.callback(measure.name)], unit, measure.help)


class _Readings:
    """Gives each instrument its part of a reading; reads again when an instrument comes twice.

    The SDK calls all instruments one after the other, and their values must be of one moment.
    """

    def __init__(self, measures: Measures) -> None:
        self._measures = measures
        self._lock = threading.Lock()
        self._parts: dict[str, Measure] = {}

    def callback(self, name: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_options: CallbackOptions) -> Iterable[Observation]:
            measure = self._take(name)
            if measure is None:
                return []
            return [
                Observation(value, dict(zip(measure.labels, labels, strict=True)))
                for labels, value in measure.values.items()
            ]

        return observe

    def _take(self, name: str) -> Measure | None:
        with self._lock:
            if name not in self._parts:
                self._parts = {measure.name: measure for measure in self._measures.read()}
            return self._parts.pop(name, None)


def export_events(
    bus: Bus, *bindings: Binding, logger_provider: LoggerProvider | None = None, **options: Any
) -> Handle:
    """Export each event that any of ``bindings`` matches; without one, what the default matches.

    Args:
        bus: whose events.
        bindings: which of them.
        logger_provider: where to; by default the global one. Its processor should be one that
            batches: it is called on the loop's thread.
        options: those of ``Bus.bind``.

    Returns:
        A handle, to ``unbind`` it.
    """
    logger = get_logger(SCOPE, logger_provider=logger_provider)

    def export(event: Event) -> None:
        logger.emit(record_of(event))

    return bus.bind(bindings or Binding(), export, **{"name": "export_events", **options})


def record_of(event: Event) -> LogRecord:
    """Return ``event`` as a log record that OTLP can encode."""
    attributes: dict[str, Any] = {
        "edr.id": event.id,
        "edr.app.name": event.app_name,
        "edr.app.version": event.app_version,
        "edr.node": event.node,
        "edr.severity": event.severity.value,
    }
    if event.account_id is not None:
        attributes["edr.account.id"] = event.account_id
    if event.account_tree:
        attributes["edr.account.tree"] = event.account_tree
    nanoseconds = (event.timestamp - _EPOCH) // _MICROSECOND * 1000
    has_time = 0 <= nanoseconds <= MAX_NANOSECONDS
    if not has_time:
        attributes["edr.timestamp"] = event.timestamp.isoformat()
    return LogRecord(
        context=_trace_of(event),
        timestamp=nanoseconds if has_time else None,
        severity_text=event.verbosity.value,
        severity_number=_SEVERITIES[event.verbosity],
        body=_value(event.body, MAX_LEVELS),
        attributes=attributes,
        event_name=event.app_name,
    )


def _trace_of(event: Event) -> Context:
    """Return the trace context of ``event``, which is invalid if the event was not traced.

    Not the current span: it is that of the callback that exports the event, if any.
    """
    return set_span_in_context(NonRecordingSpan(span_context_of(event)), Context())


def span_context_of(event: Event) -> SpanContext:
    """Return the span in which ``event`` was emitted; invalid without a span."""
    if event.traceparent is None:
        return INVALID_SPAN_CONTEXT
    _, trace_id, span_id, flags = event.traceparent.split("-")
    return SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16))
    )


def _value(value: Any, levels: int) -> Any:
    """Return a value of a body as OTLP can hold it."""
    if isinstance(value, (dict, list)):
        if not levels:
            return orjson.dumps(value).decode()
        if isinstance(value, dict):
            return {key: _value(each, levels - 1) for key, each in value.items()}
        return [_value(each, levels - 1) for each in value]
    return str(value) if type(value) is int and value > INT64_MAX else value
