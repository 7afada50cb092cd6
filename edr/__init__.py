"""edr: event data records. An asyncio pub/sub framework for structured events.

Read the packages in this order; each imports only from those before it:
errors, records, bus.
"""

from edr.bus.accounts import AccountResolver, AccountTree
from edr.bus.bus import Bus
from edr.bus.callbacks import Handle
from edr.bus.default import (
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
from edr.bus.emitter import Emitter
from edr.bus.overflow import DropReason, Gap, Overflow
from edr.bus.statistics import BusStatistics, SubscriptionStatistics
from edr.bus.subscription import Subscription
from edr.errors import (
    BusClosedError,
    EdrError,
    InvalidBinding,
    InvalidEvent,
    SubscriptionOverflow,
    WouldDeadlock,
    WrongLoopError,
)
from edr.records.binding import Binding, bindings_from_json, bindings_to_json
from edr.records.event import Event
from edr.records.levels import Severity, Verbosity
from edr.records.pattern import Mismatch, Pattern

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
