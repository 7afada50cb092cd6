"""structlog and events: its log entries become events, and events log entries.

Example::

    import asyncio
    import edr, structlog
    from edr.adapters.structlog import EmitEvents, log_events

    emit_events = EmitEvents(app_name="billing", app_version="5.1")
    structlog.configure(processors=[emit_events, structlog.processors.JSONRenderer()])

    async def main():
        log_events(edr.default_bus(), edr.Binding(app_name="acdc"))
        async with edr.subscribe(app_name="billing") as events:
            structlog.get_logger().warning("no_rate", account="acme")
            event = await anext(events)
            assert event.body["message"] == "no_rate"
            assert event.body["extra"] == {"account": "acme"}

    asyncio.run(main())

**An entry as an event.** ``EmitEvents`` is a processor: it emits an event and passes the entry on
as it is. Put it behind what adds to entries (``merge_contextvars``, ``add_logger_name``,
``TimeStamper``) and before what turns them into text. The level is a verbosity and a severity as in
``edr.adapters.logging``. It is that of the method, such as ``log.error``, unless the entry's
``level`` is the name of one; any other ``level`` is part of ``extra``. The body is
``{"bridge": "structlog", "message": …, "logger": …, "exception": …, "extra": {…}}``.

**An event as an entry** has the app and the severity as its event, and what an event has beside
them as its values; with the level of its verbosity, or of its severity if that is higher.

Loops are cut, nothing waits, and what is not passed on is counted: see ``edr.adapters.bridge``.
Where structlog writes through ``logging``, and the handler of ``edr.adapters.logging`` is there for
the records of libraries, an entry is still one event: the processor's. The handler counts it as
``looped``. It must be called in the thread that logs, so not after a ``QueueListener``.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import suppress
from typing import Any

from edr.adapters.bridge import (
    ERROR,
    WARNING,
    BridgeStatistics,
    Emit,
    Inlet,
    Outlet,
    level_of,
    plain,
    remember_entry,
    severity_of,
    verbosity_of,
)
from edr.bus import Bus
from edr.records import Binding, Event

try:
    import structlog
except ImportError as _missing:
    raise ImportError(
        "edr.adapters.structlog needs structlog: install edr with its extra 'structlog'"
    ) from _missing

_LEVELS = {
    "trace": 5,
    "debug": 10,
    "info": 20,
    "warn": WARNING,
    "warning": WARNING,
    "err": ERROR,
    "error": ERROR,
    "exception": ERROR,
    "critical": 50,
    "fatal": 50,
}
_NAMES = {5: "debug", 10: "debug", 20: "info", 30: "warning", 40: "error", 50: "critical"}
_MARK = "edr_event_id"


class EmitEvents:
    """A processor that emits an event for each log entry, and passes the entry on unchanged.

    Args:
        app_name: of the events.
        app_version: of the events.
        account: ``account(entry)`` returns the account of an entry's event, or ``None``.
        bus: where to; by default the default bus, of the loop that runs in the thread that logs,
            or of the only loop that runs.
    """

    def __init__(
        self,
        *,
        app_name: str,
        app_version: str,
        account: Callable[[Mapping[str, Any]], str | None] | None = None,
        bus: Bus | None = None,
    ) -> None:
        self._app_name = app_name
        self._app_version = app_version
        self._account = account
        self._inlet = Inlet(bus)

    def __call__(
        self, logger: Any, method_name: str, event_dict: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """Emit the event of an entry. It neither waits nor raises, and changes nothing."""
        name = event_dict.get("logger") or getattr(logger, "name", None) or ""
        with suppress(Exception):  # it is counted as failed; a log call must not raise for it
            self._inlet.offer(
                str(name),
                lambda: self._event_of(name, method_name, event_dict),
                was_event=_MARK in event_dict,
            )
            remember_entry(str(name), str(event_dict.get("event")))
        return event_dict

    def statistics(self) -> BridgeStatistics:
        """Return the counts of this moment, as a frozen snapshot. From any thread."""
        return self._inlet.statistics()

    def _event_of(self, name: Any, method_name: str, entry: Mapping[str, Any]) -> Emit:
        said = entry.get("level")
        named = _LEVELS.get(said.lower()) if isinstance(said, str) else None
        # A processor may have changed the level by its name; any other value is the user's own.
        level = named or _LEVELS.get(method_name, _LEVELS["info"])
        body = {"bridge": "structlog", "message": plain(entry.get("event"))}
        exception = entry.get("exception") or _traceback(entry.get("exc_info"))
        apart = {"event", "logger", "exception", "exc_info"}
        if named is not None:
            apart.add("level")
        extra = {key: value for key, value in entry.items() if key not in apart}
        for key, value in (("logger", name), ("exception", exception), ("extra", extra)):
            if value:
                body[key] = plain(value)
        return Emit(
            self._app_name,
            self._app_version,
            severity_of(level),
            verbosity_of(level),
            body,
            self._account(entry) if self._account else None,
        )


def _traceback(exc_info: Any) -> str:
    """Write the traceback that an entry asks for: by an exception, a tuple, or True."""
    exc: BaseException | None
    if isinstance(exc_info, BaseException):
        exc = exc_info
    elif isinstance(exc_info, tuple):
        exc = exc_info[1]
    else:
        exc = sys.exception() if exc_info else None
    return "".join(traceback.format_exception(exc)) if exc is not None else ""


def log_events(bus: Bus, *bindings: Binding, logger: Any = None, **options: Any) -> Outlet:
    """Log each event that any of ``bindings`` matches; without one, what the default matches.

    It is a plain callback, so the processors of ``logger`` run on the loop's thread.

    Args:
        bus: whose events.
        bindings: which of them.
        logger: where to; by default ``structlog.get_logger("edr.events")``.
        options: those of ``Bus.bind``.

    Returns:
        An object with ``unbind`` and ``statistics``.
    """
    target = structlog.get_logger("edr.events") if logger is None else logger

    def write(event: Event) -> None:
        log = getattr(target, _NAMES[level_of(event)])
        log(
            f"{event.app_name} {event.severity}",
            **{_MARK: event.id},
            app_version=event.app_version,
            account_id=event.account_id,
            verbosity=event.verbosity.value,
            node=event.node,
            body=event.body,
        )

    return Outlet(bus, bindings, write, options)
