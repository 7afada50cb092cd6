"""The asyncio part of edr: how events travel within a process.

Read the modules in this order; each imports only from those before it:
loop_end, loop_guard, tasks, options, overflow, statistics, event_factory, tracing, context,
gap_markers, getters, policies, putters, bounded_queue, subscription, backpressure, accounts,
drop_log, runner, callbacks, interest, routes, journal_tap, queue_list, registry, inbox, idle,
shutdown, services, admission, lifecycle, publisher, taps, bus, default, program, emitter.

Promises: see the table in the README.
"""

from edr._util.lazy import show_in_facade
from edr._util.log import RateLimitedLog, log_safely
from edr.bus.accounts import AccountResolver, AccountTree
from edr.bus.bus import Bus, BusOptions, parts_of, set_tracer
from edr.bus.callbacks import Handle, SubscribeOptions
from edr.bus.context import EventContext, context, current_context
from edr.bus.default import (
    bind,
    configure,
    configured_options,
    default_bus,
    emit,
    emit_nowait,
    emit_threadsafe,
    observe_default_buses,
    on,
    override_default_bus,
    publish,
    publish_all,
    publish_nowait,
    publish_threadsafe,
    start_default_bus,
    subscribe,
)
from edr.bus.emitter import Emitter
from edr.bus.interest import InterestWatch
from edr.bus.loop_end import LoopEnd
from edr.bus.overflow import DropReason, Gap, Overflow
from edr.bus.program import run
from edr.bus.runner import current_event
from edr.bus.services import Service
from edr.bus.statistics import (
    BusStatistics,
    MatchResult,
    SubscriptionInfo,
    SubscriptionStatistics,
)
from edr.bus.subscription import Batches, Subscription
from edr.bus.taps import Tap
from edr.bus.tracing import Tracer

__all__ = [
    "AccountResolver",
    "AccountTree",
    "Batches",
    "Bus",
    "BusOptions",
    "BusStatistics",
    "DropReason",
    "Emitter",
    "EventContext",
    "Gap",
    "Handle",
    "InterestWatch",
    "LoopEnd",
    "MatchResult",
    "Overflow",
    "RateLimitedLog",
    "Service",
    "SubscribeOptions",
    "Subscription",
    "SubscriptionInfo",
    "SubscriptionStatistics",
    "Tap",
    "Tracer",
    "bind",
    "configure",
    "configured_options",
    "context",
    "current_context",
    "current_event",
    "default_bus",
    "emit",
    "emit_nowait",
    "emit_threadsafe",
    "log_safely",
    "observe_default_buses",
    "on",
    "override_default_bus",
    "parts_of",
    "publish",
    "publish_all",
    "publish_nowait",
    "publish_threadsafe",
    "run",
    "set_tracer",
    "start_default_bus",
    "subscribe",
]

show_in_facade(__name__)
