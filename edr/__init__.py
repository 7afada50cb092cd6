"""edr: event data records. An asyncio pub/sub framework for structured events.

Read the modules in this order; each imports only from those before it:
errors, levels, body, model, event, pattern, binding, trie, overflow, statistics, queue,
subscription, backpressure, accounts, log, callbacks, routes, inbox, bus, default, emitter.
"""

from edr.accounts import AccountResolver, AccountTree
from edr.binding import Binding, bindings_from_json, bindings_to_json
from edr.bus import Bus
from edr.callbacks import Handle
from edr.default import (
    ImportTimeHandle,
    bind,
    default_bus,
    emit,
    emit_nowait,
    emit_threadsafe,
    on,
    publish,
    subscribe,
)
from edr.emitter import Emitter
from edr.errors import (
    BusClosedError,
    EdrError,
    InvalidBinding,
    InvalidEvent,
    SubscriptionOverflow,
    WouldDeadlock,
    WrongLoopError,
)
from edr.event import Event
from edr.levels import Severity, Verbosity
from edr.overflow import DropReason, Gap, Overflow
from edr.pattern import Mismatch, Pattern
from edr.statistics import BusStatistics, SubscriptionStatistics
from edr.subscription import Subscription

__version__ = "0.1.0"

__all__ = [
    "AccountResolver",
    "AccountTree",
    "Binding",
    "Bus",
    "BusClosedError",
    "BusStatistics",
    "DropReason",
    "EdrError",
    "Emitter",
    "Event",
    "Gap",
    "Handle",
    "ImportTimeHandle",
    "InvalidBinding",
    "InvalidEvent",
    "Mismatch",
    "Overflow",
    "Pattern",
    "Severity",
    "Subscription",
    "SubscriptionOverflow",
    "SubscriptionStatistics",
    "Verbosity",
    "WouldDeadlock",
    "WrongLoopError",
    "bind",
    "bindings_from_json",
    "bindings_to_json",
    "default_bus",
    "emit",
    "emit_nowait",
    "emit_threadsafe",
    "on",
    "publish",
    "subscribe",
]
