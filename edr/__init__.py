"""edr: event data records. An asyncio pub/sub framework for structured events.

Read the packages in this order; each imports only what is shown by those before it:
errors, _util, records, bus, wire, journal, links, typed, adapters, testing.

``records`` is what an event and a binding are, and who matches; it is pure. ``bus`` is how events
travel within a process, on asyncio. What stands around them is imported by its own name; only
``connect`` is here too, and loads it when it is called.
"""

import typing as _typing
from contextlib import AbstractAsyncContextManager as _AbstractAsyncContextManager
from typing import Any as _Any

from edr.bus import (
    AccountResolver,
    AccountTree,
    AnyHandle,
    Batches,
    Bus,
    BusStatistics,
    DropReason,
    Emitter,
    EventContext,
    Gap,
    Handle,
    ImportTimeHandle,
    Overflow,
    Subscription,
    SubscriptionInfo,
    SubscriptionStatistics,
    Verdict,
    bind,
    configure,
    context,
    current_context,
    current_event,
    default_bus,
    emit,
    emit_anywhere,
    emit_nowait,
    emit_threadsafe,
    on,
    publish,
    publish_anywhere,
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
from edr.records import (
    Binding,
    BindingIndex,
    Event,
    Limits,
    Mismatch,
    Pattern,
    PatternWarning,
    Severity,
    Verbosity,
    bindings_from_json,
    bindings_to_json,
)

__version__ = "0.1.0"

if _typing.TYPE_CHECKING:
    from edr.links import Link as _Link
else:
    _Link = _Any

__all__ = [
    "AccountResolver",
    "AccountTree",
    "AnyHandle",
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
    "ImportTimeHandle",
    "InvalidBindingError",
    "InvalidEventError",
    "Limits",
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
    "Verdict",
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
    "emit_anywhere",
    "emit_nowait",
    "emit_threadsafe",
    "on",
    "publish",
    "publish_anywhere",
    "publish_nowait",
    "publish_threadsafe",
    "run",
    "subscribe",
]


def connect(url: str, **options: _Any) -> _AbstractAsyncContextManager[tuple[Bus, _Link]]:
    """Make a bus that is joined to a broker: ``async with edr.connect("nats://…") as (bus, link)``.

    What is emitted on it is seen on every other bus that is joined to that broker, and the other
    way round. Arguments and errors are those of ``edr.links.connect``.
    """
    from edr.links import connect  # noqa: PLC0415 - `import edr` loads no house

    return connect(url, **options)


def _show_as_ours() -> None:
    """Let tracebacks, reprs and pickles say ``edr.Event``, wherever its module may move."""
    for name in __all__:
        globals()[name].__module__ = __name__


_show_as_ours()
