"""edr: event data records. An asyncio pub/sub framework for structured events.

This module exports the names of the core: body patterns (``edr.patterns``), events and bindings
(``edr.records``) and the bus (``edr.bus``). Import the other packages by their own names:
``edr.wire`` (events as bytes), ``edr.journal`` (durable record), ``edr.delivery`` (the parts of
components that send), ``edr.links`` (NATS, JetStream, RabbitMQ), ``edr.typed`` (bodies as Pydantic
models), ``edr.adapters`` (logging, metrics, tracing) and ``edr.testing``.

Read the packages in this order; each imports only from those before it:
errors, _util, patterns, records, bus, wire, journal, delivery, links, typed, adapters, testing.
"""

import typing as _typing
from contextlib import AbstractAsyncContextManager as _AbstractAsyncContextManager
from typing import Any as _Any

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

__version__ = "0.1.0"

if _typing.TYPE_CHECKING:
    from edr.bus import BusOptions as _BusOptions
    from edr.links import Link as _Link
else:
    _Link = _BusOptions = _Any

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
    "publish_nowait",
    "publish_threadsafe",
    "run",
    "subscribe",
]


def connect(
    url: str, *, bus: _BusOptions | None = None, **options: _Any
) -> _AbstractAsyncContextManager[tuple[Bus, _Link]]:
    """Make a bus that is linked to a broker: ``async with edr.connect(url) as (bus, link)``.

    Every bus that is linked to the same broker receives the events of this one, and this one
    receives theirs. The end of the block drains the bus first and then the link, so the link also
    sends the events that callbacks emit during the drain.

    Args:
        url: the broker: ``nats://``, ``tls://``, ``ws://`` or ``wss://`` for NATS, ``amqp://`` or
            ``amqps://`` for RabbitMQ.
        bus: arguments of ``Bus``, such as ``{"node": "apps1"}``.
        options: arguments of ``edr.links.NatsLink`` or ``edr.links.RabbitLink``.

    Raises:
        ValueError: the scheme of the URL is not supported.
        TypeError: the link has no such argument; the message names the bus's argument if it is one.
        edr.links.LinkRefusedError: the broker refused the link, and a retry would not help.
    """
    from edr.links import connect  # noqa: PLC0415 - `import edr` does not load the links

    return connect(url, bus=bus, **options)


def _set_public_module() -> None:
    """Set ``__module__``, so that tracebacks, reprs and pickles name ``edr.Event``."""
    for name in __all__:
        globals()[name].__module__ = __name__


_set_public_module()
