"""The asyncio part of edr: how events travel within a process.

Read the modules in this order; each imports only from those before it:
loop_bound, options, overflow, statistics, template, queue, subscription, backpressure, accounts,
log, losses, runner, callbacks, interest, routes, registry, inbox, quiescence, bus, default,
run, emitter.

Promises: see the table in the README.
"""

from edr.bus.accounts import AccountResolver, AccountTree
from edr.bus.bus import Bus
from edr.bus.callbacks import Handle
from edr.bus.default import (
    ImportTimeHandle,
    bind,
    configure,
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
from edr.bus.run import run
from edr.bus.runner import current_event
from edr.bus.statistics import BusStatistics, SubscriptionStatistics
from edr.bus.subscription import Subscription

__all__ = [
    "AccountResolver",
    "AccountTree",
    "Bus",
    "BusStatistics",
    "DropReason",
    "Emitter",
    "Gap",
    "Handle",
    "ImportTimeHandle",
    "Overflow",
    "Subscription",
    "SubscriptionStatistics",
    "bind",
    "configure",
    "current_event",
    "default_bus",
    "emit",
    "emit_nowait",
    "emit_threadsafe",
    "on",
    "publish",
    "run",
    "subscribe",
]
