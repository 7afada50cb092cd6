"""What the bridges between events and log records have in common: levels, bodies, counts, loops.

**Loops** are what such a bridge is feared for. A log record becomes an event, a callback handles
the event and logs, that becomes an event; or the other direction makes a record of it; and a line
is soon thousands. So a record becomes no event

* if a logger of edr's wrote it (it says how the events fare, and that must not make more of them);
* if it is logged within the emit of another one, by the same thread;
* if it is an event that was logged (``log_events`` marks its records);
* if it is logged while an event is handled that was a record itself. ``edr.current_event`` tells:
  in the callback, its tasks, and threads of ``asyncio.to_thread``;

and an event that was a record is not logged again. What is cut is counted as ``looped``. So a
record is one event, and an event one record and one event for each line that its callbacks log.

An event that was a record says so, in its body: ``"bridge": "logging"``. Rejected: a list of ids
(it is lost on the way to another process, in which the loop may close) and a context variable of
the emitter's (the consumer runs in a context of its own).

**asyncio and warnings** log about a callback outside of it: "Task exception was never retrieved",
a slow step, a warning of the garbage collector. Such a record cannot be told from any other, so
the loggers ``asyncio``, ``concurrent.futures`` and ``py.warnings`` make one event at once, and
then at most one in 30 seconds each; further records count as dropped, as ``limited``.

What edr cannot see is a record that reaches a bridge in a thread without the context of whoever
wrote it: behind a ``QueueListener`` (put the handler before the queue: it never waits either), or
of a callback that hands its work to ``loop.run_in_executor`` (``asyncio.to_thread`` has the
context). Then bind the callback to what is no record:
``Binding(body={"bridge": [{"exists": False}]})``.
"""

from __future__ import annotations

import json
import os
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any, NamedTuple

from edr.bus import Bus, current_event, emit_anywhere
from edr.errors import BusClosedError, InvalidEventError, WrongLoopError
from edr.records import Binding, Event, Severity, Verbosity, snapshot

WARNING, ERROR = 30, 40
"""Levels of ``logging`` from which on a record is of severity warning, and critical."""

_VERBOSITIES = {
    50: Verbosity.FATAL,
    40: Verbosity.ERROR,
    30: Verbosity.WARN,
    20: Verbosity.INFO,
    10: Verbosity.DEBUG,
}
LEVELS = {level: number for number, level in _VERBOSITIES.items()} | {Verbosity.TRACE: 5}
"""Verbosity -> level of ``logging``."""

_LOWEST = {Severity.OK: 0, Severity.WARNING: WARNING, Severity.CRITICAL: ERROR}

BRIDGES = frozenset({"logging", "structlog"})

LIMITED = frozenset({"asyncio", "concurrent.futures", "py.warnings"})
"""Loggers whose records an event may cause outside of the callback that handles it."""

LIMITED_INTERVAL = 30.0
"""Seconds between two events of one such logger; as between two summaries of losses."""

MOST_NESTED = 16
"""Levels of an ``extra`` that are taken apart; what lies deeper is written as text."""


def verbosity_of(level: int) -> Verbosity:
    """Return the verbosity of a level of ``logging``: the nearest one that is not above it."""
    return next(
        (verbosity for least, verbosity in _VERBOSITIES.items() if level >= least), Verbosity.TRACE
    )


def severity_of(level: int) -> Severity:
    """Return the severity of a level of ``logging``: ok < WARNING ≤ warning < ERROR ≤ critical."""
    if level < WARNING:
        return Severity.OK
    return Severity.WARNING if level < ERROR else Severity.CRITICAL


def level_of(event: Event) -> int:
    """Return the level at which ``event`` is logged: its verbosity's, or its severity's if higher.

    A service that is in a critical state shall not be seen by those alone who read every detail.
    """
    return max(LEVELS[event.verbosity], _LOWEST[event.severity])


def was_record(event: Event) -> bool:
    """Tell whether ``event`` was a log record, in this process or another one."""
    bridge = event.body.get("bridge")
    return isinstance(bridge, str) and bridge in BRIDGES


def plain(value: Any, depth: int = MOST_NESTED) -> Any:
    """Return ``value`` as JSON has it; what JSON has not, as text. It never fails."""
    try:
        return snapshot({"": value})[""]
    except InvalidEventError:
        pass
    except Exception:  # another thread changes it just now, or it is a mapping that fails
        return _text(value)
    try:
        if depth and isinstance(value, Mapping):
            return {_text(key): plain(each, depth - 1) for key, each in value.items()}
        if depth and isinstance(value, (list, tuple, set, frozenset)):
            return [plain(each, depth - 1) for each in value]
    except Exception:  # noqa: S110 - as above
        pass
    return _text(value)


def _text(value: object) -> str:
    try:
        return str(value).encode("utf-8", "backslashreplace").decode()
    except Exception:  # whatever the __str__ of somebody's object raises
        return f"<{type(value).__name__} that cannot be written>"


@dataclass(frozen=True, slots=True)
class BridgeStatistics:
    """One moment of one direction of a bridge. All it saw is in one of the three."""

    passed: int
    """What it passed on. The bus counts what becomes of it there."""
    looped: int
    """What it kept, because it came from the other side."""
    dropped: Mapping[str, int]
    """What it could not pass on, by reason: ``refused`` (1,024 events of threads were on their
    way), ``closed`` (the bus is over), ``no bus`` (no event loop runs yet), ``limited`` (its logger
    had an event within the last 30 seconds), ``failed`` (it could not be written, or the other
    side raised)."""


class _Counts:
    """Counted by many threads, and by one that was interrupted while it counted."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self.renew_lock()
        _all_counts.add(self)

    def renew_lock(self) -> None:
        """Be free again, in a child that was forked while another thread counted."""
        self._lock = threading.RLock()

    def add(self, what: str) -> None:
        with self._lock:
            self._counts[what] += 1

    def statistics(self) -> BridgeStatistics:
        with self._lock:
            counts = dict(self._counts)
        passed, looped = counts.pop("passed", 0), counts.pop("looped", 0)
        return BridgeStatistics(passed, looped, counts)


_all_counts: weakref.WeakSet[_Counts] = weakref.WeakSet()


def _after_fork() -> None:
    for counts in _all_counts:
        counts.renew_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class _LastEntry(threading.local):
    """The last structlog entry that became an event in this thread."""

    logger: str = ""
    text: str | None = None


_last_entry = _LastEntry()


def remember_entry(logger: str, text: str) -> None:
    """Remember that a structlog entry became an event; ``logging`` may get it next."""
    _last_entry.logger, _last_entry.text = logger, text


def was_entry(logger: str, message: Callable[[], str]) -> bool:
    """Return whether a record is the structlog entry that became an event last, in this thread.

    structlog calls the logger right after its processors, in the same thread. The record has the
    name of its logger and, in whatever format, its text.
    """
    text, _last_entry.text = _last_entry.text, None
    if text is None or logger != _last_entry.logger:
        return False
    written = message()
    ways = (str, repr, json.dumps, partial(json.dumps, ensure_ascii=False))
    return any(way(text).strip("\"'") in written for way in ways)


class Emit(NamedTuple):
    """The arguments of ``Bus.emit``."""

    app_name: str
    app_version: str
    severity: Severity
    verbosity: Verbosity
    body: Mapping[str, Any]
    account_id: str | None


class Inlet:
    """From records to events. Used by any thread at once; it waits for nobody.

    Args:
        bus: where to; ``None`` for the default bus, of the thread's loop or the only one.
    """

    def __init__(self, bus: Bus | None) -> None:
        self._emit = emit_anywhere if bus is None else bus.emit_anywhere
        self._counts = _Counts()
        self._thread = threading.local()
        self._limited_until: dict[str, float] = {}

    def statistics(self) -> BridgeStatistics:
        """Return the counts of this moment. From any thread."""
        return self._counts.statistics()

    def offer(self, logger: str, write: Callable[[], Emit], *, was_event: bool) -> None:
        """Emit what ``write`` returns, unless that would close a loop.

        Args:
            logger: the name of the logger.
            write: makes the event; it may call code of users.
            was_event: whether the record was an event.

        Raises:
            Exception: whatever ``write`` raises, and ``InvalidEventError``; it is counted.
        """
        handled = current_event()
        if (
            was_event
            or logger == "edr"
            or logger.startswith("edr.")
            or getattr(self._thread, "is_inside", False)
            or (handled is not None and was_record(handled))
        ):
            self._counts.add("looped")
            return
        if logger in LIMITED and not self._is_its_turn(logger):
            self._counts.add("limited")
            return
        self._thread.is_inside = True
        outcome = "failed"
        try:
            outcome = "passed" if self._emit(*write()) else "refused"
        except BusClosedError:
            outcome = "closed"
        except WrongLoopError:
            outcome = "no bus"
        finally:
            self._thread.is_inside = False
            self._counts.add(outcome)

    def _is_its_turn(self, logger: str) -> bool:
        now = monotonic()
        if now < self._limited_until.get(logger, 0.0):
            return False
        self._limited_until[logger] = now + LIMITED_INTERVAL
        return True


class Outlet:
    """From events to records: a bound callback. Returned by ``log_events``; ``unbind`` ends it."""

    def __init__(
        self,
        bus: Bus,
        bindings: tuple[Binding, ...],
        write: Callable[[Event], None],
        options: Mapping[str, Any],
    ) -> None:
        self._write = write
        self._counts = _Counts()
        self._handle = bus.bind(
            bindings or Binding(), self._take, **{"name": "log_events", **options}
        )

    def statistics(self) -> BridgeStatistics:
        """Return the counts of this moment. From any thread."""
        return self._counts.statistics()

    def unbind(self) -> None:
        """Log no further event. Idempotent."""
        self._handle.unbind()

    def _take(self, event: Event) -> None:
        if was_record(event):
            self._counts.add("looped")
            return
        outcome = "failed"
        try:
            self._write(event)
            outcome = "passed"
        finally:
            self._counts.add(outcome)
