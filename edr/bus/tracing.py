"""``Tracer``: adds a trace context to each event of a bus, and a span to each call of a callback.

The bus does not depend on a tracing library. ``set_tracer`` of ``edr.bus`` gives a bus a tracer,
such as that of ``edr.adapters.opentelemetry``. A bus without one has no additional steps: its
routes hold the plain function that makes events, and its runners hold the plain callbacks.

An event gets the context of its emit. An emit of another thread, or one that waits for an account
look-up, becomes an event later in another task, so ``Publisher.pending`` reads the context before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Protocol

from edr.bus.event_factory import CreateEvent
from edr.records import Event


class Tracer(Protocol):
    """A tracing library, as a bus uses it."""

    def traceparent(self) -> str | None:
        """Return the W3C trace context of the current span, or ``None`` outside of a span."""
        ...

    def wrap(self, name: str, callback: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that runs ``callback``, which is bound under ``name``, in a span."""
        ...


def traced(untraced: CreateEvent, tracer: Tracer) -> CreateEvent:
    """Return a function that makes events as ``untraced`` does, with the current trace context."""

    def create(
        body: Mapping[str, Any],
        timestamp: datetime,
        account_id: str | None,
        account_tree: tuple[str, ...],
    ) -> Event:
        event = untraced(body, timestamp, account_id, account_tree)
        return with_traceparent(event, tracer.traceparent())

    return create


def with_traceparent(event: Event, traceparent: str | None) -> Event:
    """Return ``event``, or a copy with ``traceparent`` if that is not ``None``."""
    if traceparent is None:
        return event
    return event.model_copy(update={"traceparent": traceparent})
