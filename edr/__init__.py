"""edr: event data records. An asyncio pub/sub framework for structured events.

This module exports the names of the core: body patterns (``edr.patterns``), events and bindings
(``edr.records``) and the bus (``edr.bus``). The other packages are attributes: ``edr.wire`` (events
as bytes), ``edr.journal`` (durable record), ``edr.delivery`` (the parts of components that send),
``edr.links`` (NATS, JetStream, RabbitMQ), ``edr.sinks`` (delivery to other systems),
``edr.sources`` (events of other systems), ``edr.typed`` (bodies as Pydantic models),
``edr.adapters`` (logging, metrics, tracing), ``edr.testing``, ``edr.streams`` (one fan-out for many
observers), ``edr.control`` (attaching to a running process), ``edr.web`` (events for browsers),
``edr.app`` (the application ``edr run``) and ``edr.cli`` (the command ``edr``).

``import edr`` loads no other package: each one is loaded when a name of it is first used. Loading
the core takes about 0.3 s. A program that first uses edr inside a running event loop should load it
before, with ``import edr.bus``.

Read the packages in this order; each imports only from those before it:
_util, errors, _sockets, patterns, records, bus, wire, journal, delivery, links, sinks, sources,
typed, adapters, testing, streams, control, web, app, cli, __main__.
"""

from typing import TYPE_CHECKING

from edr._util.lazy import lazy_names

if TYPE_CHECKING:
    from edr import adapters as adapters
    from edr import app as app
    from edr import bus as bus
    from edr import cli as cli
    from edr import control as control
    from edr import delivery as delivery
    from edr import errors as errors
    from edr import journal as journal
    from edr import links as links
    from edr import patterns as patterns
    from edr import records as records
    from edr import sinks as sinks
    from edr import sources as sources
    from edr import streams as streams
    from edr import testing as testing
    from edr import typed as typed
    from edr import web as web
    from edr import wire as wire
    from edr.bus import (
        AccountResolver,
        AccountTree,
        Batches,
        Bus,
        BusStatistics,
        DropReason,
        Emitter,
        EventContext,
        Gap,
        Handle,
        MatchResult,
        Overflow,
        Subscription,
        SubscriptionInfo,
        SubscriptionStatistics,
        bind,
        configure,
        context,
        current_context,
        current_event,
        default_bus,
        emit,
        emit_nowait,
        emit_threadsafe,
        on,
        publish,
        publish_all,
        publish_nowait,
        publish_threadsafe,
        run,
        subscribe,
    )
    from edr.errors import (
        BodyTooLargeError,
        BusClosedError,
        DeadlockError,
        EdrError,
        InvalidBindingError,
        InvalidEventError,
        SubscriptionOverflowError,
        WrongLoopError,
    )
    from edr.links import connect
    from edr.patterns import Limits, Mismatch, Pattern, PatternWarning
    from edr.records import (
        Binding,
        BindingIndex,
        Event,
        Severity,
        Verbosity,
        bindings_from_json,
        bindings_to_json,
        explain,
    )
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "edr.errors": """
                BodyTooLargeError BusClosedError DeadlockError EdrError InvalidBindingError
                InvalidEventError SubscriptionOverflowError WrongLoopError
            """,
            "edr.patterns": "Limits Mismatch Pattern PatternWarning",
            "edr.records": """
                Binding BindingIndex Event Severity Verbosity bindings_from_json
                bindings_to_json explain
            """,
            "edr.bus": """
                AccountResolver AccountTree Batches Bus BusStatistics DropReason Emitter
                EventContext Gap Handle MatchResult Overflow Subscription SubscriptionInfo
                SubscriptionStatistics bind configure context current_context current_event
                default_bus emit emit_nowait emit_threadsafe on publish publish_all
                publish_nowait publish_threadsafe run subscribe
            """,
            "edr.links": "connect",
        },
        modules="""
            adapters app bus cli control delivery errors journal links patterns records sinks
            sources streams testing typed web wire
        """,
    )

__version__ = "0.1.0"

__all__ = [
    "AccountResolver",
    "AccountTree",
    "Batches",
    "Binding",
    "BindingIndex",
    "BodyTooLargeError",
    "Bus",
    "BusClosedError",
    "BusStatistics",
    "DeadlockError",
    "DropReason",
    "EdrError",
    "Emitter",
    "Event",
    "EventContext",
    "Gap",
    "Handle",
    "InvalidBindingError",
    "InvalidEventError",
    "Limits",
    "MatchResult",
    "Mismatch",
    "Overflow",
    "Pattern",
    "PatternWarning",
    "Severity",
    "Subscription",
    "SubscriptionInfo",
    "SubscriptionOverflowError",
    "SubscriptionStatistics",
    "Verbosity",
    "WrongLoopError",
    "bind",
    "bindings_from_json",
    "bindings_to_json",
    "configure",
    "connect",
    "context",
    "current_context",
    "current_event",
    "default_bus",
    "emit",
    "emit_nowait",
    "emit_threadsafe",
    "explain",
    "on",
    "publish",
    "publish_all",
    "publish_nowait",
    "publish_threadsafe",
    "run",
    "subscribe",
]
