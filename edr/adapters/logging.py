"""The standard library's ``logging`` and events: records become events, and events records.

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

**A record as an event.** ``app_name`` is the first part of the logger's name (or what you say).
The level rounds down to a verbosity: 5 is trace, 10 debug, 20 info, 30 warn, 40 error, 50 fatal;
and is a severity: ok below WARNING, then warning, from ERROR on critical. The body::

    {"bridge": "logging", "message": …, "logger": …, "file": …, "line": …,
     "exception": …,        # the traceback as text, if there is one
     "stack": …,            # of stack_info=True
     "extra": {…}}          # what is no JSON, as text

**An event as a record** has the level of its verbosity, or of its severity if that is higher, the
app, the severity and the body as its message, and the event as its attribute ``edr_event``.

Loops are cut, and all that is not passed on is counted: see ``edr.adapters.bridge``. A handler
waits for nobody, from whatever thread, and raises nothing: a record that cannot be written goes to
``logging.Handler.handleError``, as in any handler. It holds no lock while it emits.

Cost: a record is written, checked and copied in the thread that logs, some 20 µs; so give the
handler a level.
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
        level: of the records that it takes, as for any handler.
        app_version: of the events.
        app_name: of the events; by default the first part of the logger's name.
        account: ``account(record)`` returns the account of a record's event, or ``None``. It is
            called in the thread that logs; what it raises costs the record, as any fault of its.
        bus: where to; by default the default bus, of the loop that runs in the thread that logs,
            or of the only loop that runs.
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
        """As ``logging.Handler.handle``, but without its lock.

        It would be held while the account is looked up and the event checked, and all other
        threads that log would wait for that.
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
        except Exception:  # whatever is wrong with a record, or what the user's code makes of it
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
    """Log each event that any of ``bindings`` matches; without one, what the default matches.

    It is a plain callback, so the handlers of ``logger`` run on the loop's thread. If they are
    slow, put a ``logging.handlers.QueueHandler`` before them.

    Args:
        bus: whose events.
        bindings: which of them.
        logger: where to. No record of ``edr`` and the loggers below becomes an event again;
            elsewhere only those that this marks do not.
        options: those of ``Bus.bind``.

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
    """Is written when a handler formats the record, or never."""

    def __init__(self, event: Event) -> None:
        self._event = event

    def __str__(self) -> str:
        return orjson.dumps(self._event.body).decode()
