"""Parts that all bridges between events and log records share: levels, bodies, counts, loops.

**Loops.** A log record becomes an event, a callback handles the event and logs, and that record
becomes an event again. Without a stop, one line becomes thousands. So a bridge does not emit an
event for a record

* of edr's own loggers, because they report on events;
* that is logged within the emit of another record, by the same thread;
* that ``log_events`` wrote (it marks its records);
* that is logged while a callback handles the event of another record. ``edr.current_event`` is set
  in the callback, in its tasks, and in threads of ``asyncio.to_thread``.

The event of a record is not logged again either. All of these are counted as ``looped``. So a
record becomes one event. An event becomes one record, and one event for each line that its
callbacks log.

The event of a record is marked in its body: ``"bridge": "logging"``. Rejected: a list of ids (it
does not reach another process, where the loop may close) and a context variable of the emitter
(the consumer runs in another context).

**asyncio and warnings** log about a callback from outside it: "Task exception was never retrieved",
a slow step, a warning of the garbage collector. Such a record looks like any other. So the loggers
``asyncio``, ``concurrent.futures`` and ``py.warnings`` make one event at once and then at most one
in 30 seconds each. Further records are counted as dropped, with the reason ``limited``.

**Not detected**: a record that reaches a bridge in a thread without the context of its author. A
``QueueListener`` does this (put the handler before the queue instead; it never waits), and so does
a callback that uses ``loop.run_in_executor`` (use ``asyncio.to_thread``). Otherwise bind the
callback to events that were not records: ``Binding(body={"bridge": [{"exists": False}]})``.
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

from edr.bus import Bus, current_event, emit_nowait
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
"""Levels of an ``extra`` that are converted to JSON. Deeper values are written as text."""


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

    So a critical event is visible at any log level, even if its verbosity is debug.
    """
    return max(LEVELS[event.verbosity], _LOWEST[event.severity])


def was_record(event: Event) -> bool:
    """Return whether ``event`` was a log record, in this process or another one."""
    bridge = event.body.get("bridge")
    return isinstance(bridge, str) and bridge in BRIDGES


def plain(value: Any, depth: int = MOST_NESTED) -> Any:
    """Return ``value`` as JSON; parts that JSON cannot hold become text. It never fails."""
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
    except Exception:  # __str__ of a user's object may raise anything
        return f"<{type(value).__name__} that cannot be written>"


@dataclass(frozen=True, slots=True)
class BridgeStatistics:
    """Counts of one direction of a bridge. Each record or event is in exactly one of the three."""

    passed: int
    """Passed on to the other side. The bus has counts of its own for them."""
    looped: int
    """Not passed on, because they came from the other side."""
    dropped: Mapping[str, int]
    """Lost, by reason: ``refused`` (the inbox for events of other threads was full), ``closed``
    (the bus is closed), ``no bus`` (no event loop runs yet), ``limited`` (the logger made an event
    within the last 30 seconds), ``failed`` (the record could not be converted, or the other side
    raised)."""


class _Counts:
    """Counters for several threads. Reentrant: a signal handler may log while one counts."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self.renew_lock()
        _all_counts.add(self)

    def renew_lock(self) -> None:
        """Replace the lock, in a child that was forked while another thread held it."""
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
    """The direction from records to events. Any thread may use it at any time; it never waits.

    Args:
        bus: the bus to emit on; ``None`` for the default bus of the thread's loop, or of the only
            loop that runs.
    """

    def __init__(self, bus: Bus | None) -> None:
        self._emit = emit_nowait if bus is None else bus.emit_nowait
        self._counts = _Counts()
        self._thread = threading.local()
        self._limited_until: dict[str, float] = {}

    def statistics(self) -> BridgeStatistics:
        """Return the counts of this moment. From any thread."""
        return self._counts.statistics()

    def offer(self, logger: str, write: Callable[[], Emit], *, was_event: bool) -> None:
        """Emit the event that ``write`` returns, unless that would loop.

        Args:
            logger: the name of the logger.
            write: makes the event; it may call code of users.
            was_event: whether the record was an event.

        Raises:
            Exception: any error of ``write``, and ``InvalidEventError``; it is counted.
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
    """The direction from events to records: a bound callback. Returned by ``log_events``."""

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
