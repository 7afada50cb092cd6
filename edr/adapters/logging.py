"""The standard library's ``logging``: log records become events, and events become log records.

Example::

    import asyncio, logging
    import edr
    from edr.adapters.logging import Handler, log_events

    logging.getLogger().addHandler(Handler(app_version="5.1"))

    async def main():
        bus = edr.default_bus()
        logged = log_events(bus, edr.Binding(severity="critical"), logger="edr.events")
        async with edr.subscribe(app_name="billing") as events:
            logging.getLogger("billing.invoices").warning("no rate for %s", "acme")
            event = await anext(events)
            assert (event.severity, event.verbosity) == ("warning", "warn")
            assert event.body["message"] == "no rate for acme"

    asyncio.run(main())

**A record as an event.** ``app_name`` is the argument of the handler, or the first part of the
logger's name. The level is rounded down to a verbosity: 5 is trace, 10 debug, 20 info, 30 warn,
40 error, 50 fatal. It also gives the severity: ok below WARNING, critical from ERROR on, warning
between them. The body::

    {"bridge": "logging", "message": …, "logger": …, "file": …, "line": …,
     "exception": …,        # the traceback as text, if there is one
     "stack": …,            # of stack_info=True
     "extra": {…}}          # values that JSON cannot hold become text

**An event as a record** has the level of its verbosity, or of its severity if that is higher. Its
message is the app, the severity and the body; its attribute ``edr_event`` is the event.

Bridges do not loop, and they count every record that they do not pass on: see
``edr.adapters.bridge``. A handler never waits and never raises, in any thread. A record that cannot
be converted goes to ``logging.Handler.handleError``. The handler holds no lock while it emits.

Cost: about 20 µs for each record, in the thread that logs. Set a level on the handler.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import orjson

from edr.adapters.bridge import (
    BridgeStatistics,
    Emit,
    Inlet,
    Outlet,
    level_of,
    plain,
    severity_of,
    verbosity_of,
    was_entry,
)
from edr.bus import Bus
from edr.records import Binding, Event

_OF_EVERY_RECORD = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {
    "message",
    "asctime",
    "taskName",  # from 3.12 on
}
_EXCEPTIONS = logging.Formatter()


class Handler(logging.Handler):
    """Emits an event for each log record.

    Args:
        level: the lowest level that is handled, as for any handler.
        app_version: the version in the events.
        app_name: the app in the events; by default the first part of the logger's name.
        account: ``account(record)`` returns the account of a record's event, or ``None``. It is
            called in the thread that logs. If it raises, the record goes to ``handleError``.
        bus: the bus to emit on; by default the default bus of the loop of the thread that logs, or
            of the only loop that runs.
    """

    def __init__(
        self,
        level: int | str = logging.NOTSET,
        *,
        app_version: str,
        app_name: str | None = None,
        account: Callable[[logging.LogRecord], str | None] | None = None,
        bus: Bus | None = None,
    ) -> None:
        super().__init__(level)
        self._app_version = app_version
        self._app_name = app_name
        self._account = account
        self._inlet = Inlet(bus)

    def handle(self, record: logging.LogRecord) -> bool:
        """Handle ``record`` as ``logging.Handler.handle`` does, but without its lock.

        Other threads would wait for the lock while this one looks up the account and checks the
        event.
        """
        passed: bool | logging.LogRecord = self.filter(record)
        if passed:  # from 3.12 on a filter may return another record
            self.emit(passed if isinstance(passed, logging.LogRecord) else record)
        return bool(passed)

    def emit(self, record: logging.LogRecord) -> None:
        """Emit the event of ``record``. It neither waits nor raises."""
        try:
            name = str(record.name or "root")  # makeLogRecord, for a record from a socket, has None
            self._inlet.offer(
                name,
                lambda: self._event_of(record, name),
                was_event=hasattr(record, "edr_event") or was_entry(name, record.getMessage),
            )
        except Exception:  # a record may be malformed, and account() is the user's code
            self.handleError(record)

    def statistics(self) -> BridgeStatistics:
        """Return the counts of this moment, as a frozen snapshot. From any thread."""
        return self._inlet.statistics()

    def _event_of(self, record: logging.LogRecord, logger: str) -> Emit:
        body = {
            "bridge": "logging",
            "message": plain(record.getMessage()),
            "logger": plain(logger),
            "file": plain(record.pathname),
            "line": record.lineno,
        }
        exception = record.exc_text
        if not exception and record.exc_info:
            exception = _EXCEPTIONS.formatException(record.exc_info)
        extra = {
            name: value for name, value in vars(record).items() if name not in _OF_EVERY_RECORD
        }
        for name, value in (
            ("exception", exception),
            ("stack", record.stack_info),
            ("extra", extra),
        ):
            if value:
                body[name] = plain(value)
        return Emit(
            self._app_name or plain(logger.partition(".")[0]) or "root",
            self._app_version,
            severity_of(record.levelno),
            verbosity_of(record.levelno),
            body,
            self._account(record) if self._account else None,
        )


def log_events(
    bus: Bus, *bindings: Binding, logger: logging.Logger | str = "edr.events", **options: Any
) -> Outlet:
    """Log each event that any of ``bindings`` matches; without one, each that the default matches.

    It is a plain callback, so the handlers of ``logger`` run on the loop's thread. If they are
    slow, put a ``logging.handlers.QueueHandler`` before them.

    Args:
        bus: the bus whose events are logged.
        bindings: the events to log.
        logger: the logger, or its name. A bridge in the other direction ignores the loggers ``edr``
            and below, and elsewhere the records that this function marks.
        options: options of ``Bus.bind``.

    Returns:
        An object with ``unbind`` and ``statistics``.
    """
    target = logging.getLogger(logger) if isinstance(logger, str) else logger

    def write(event: Event) -> None:
        level = level_of(event)
        if target.isEnabledFor(level):
            target.log(
                level,
                "%s %s %s",
                event.app_name,
                event.severity.value,
                _Body(event),
                extra={"edr_event": event},
            )

    return Outlet(bus, bindings, write, options)


class _Body:
    """The body as text, formatted only when a handler formats the record."""

    def __init__(self, event: Event) -> None:
        self._event = event

    def __str__(self) -> str:
        return orjson.dumps(self._event.body).decode()
