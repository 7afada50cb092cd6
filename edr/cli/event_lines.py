"""Events and gaps as lines of text, in columns that widen with their contents.

``12:04:31.203 ▲ warning  warn   acdc  branch_07  event=agent_status_change queue.id=q7``
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from edr.cli.cells import Segment, padded, width_of, without_last_space
from edr.cli.output import Output, pairs
from edr.cli.units import counted
from edr.wire.escaping import one_line

MAX_COLUMN = 16
"""Cells to which the columns of apps and accounts widen. A longer name moves its line only."""

REASONS = {
    "slow": "this terminal was slower than the stream",
    "expired": "the process no longer held them",
    "restarted": "the process had restarted",
    "cut off": "the process did not send the rest before the connection ended",
    "disconnected": "the connection to the broker was interrupted",
    "retention": "the journal removed them, as its limits require",
    "damage": "the files of the journal are damaged",
}


class EventLines:
    """Writes events and gaps in the form of ``output``, and counts them.

    Attributes:
        shown: events written.
        lost: events reported as lost, in gaps that have a number.
        unknown: gaps without a number.
    """

    def __init__(self, output: Output) -> None:
        self._output = output
        self._app = self._account = 0
        self._date = _today(output)
        self.shown: int = 0
        self.lost: int = 0
        self.unknown: int = 0

    def event(self, event: Mapping[str, Any], *, wrapped: bool = False) -> None:
        """Write ``event``: the JSON of an ``edr.Event`` as a mapping.

        Args:
            event: the event.
            wrapped: on a terminal, wrap a long line in every case. It is cut by default.
        """
        self.shown += 1
        if self._output.form == "json":
            self._output.record(event)
        elif self._output.form == "logfmt":
            self._output.record(_logfmt_fields(event))
        else:
            self._text(event, wrapped=wrapped)

    def gap(self, missed: int | None, reason: str) -> None:
        """Write that ``missed`` events are missing here; ``None`` is an unknown number."""
        self.lost += missed or 0
        self.unknown += missed is None
        if self._output.form != "text":
            self._output.record({"is": "gap", "missed": missed, "reason": reason})
            return
        number = "an unknown number of events" if missed is None else counted(missed, "event")
        why = REASONS.get(reason, reason)
        rule = self._output.symbol("rule") * 2
        self._output.text((f"{rule} {number} lost here: {why} {rule}", "critical"))

    def summary(self) -> str:
        """Return ``812 shown, 0 lost``. After a gap without a number it is ``at least 3 lost``."""
        lost = f"{self.lost:,}"
        if self.unknown:
            lost = f"at least {lost}" if self.lost else "an unknown number"
        return f"{self.shown:,} shown, {lost} lost"

    def _text(self, event: Mapping[str, Any], *, wrapped: bool) -> None:
        severity = str(event.get("severity", ""))
        time = self._time(str(event.get("timestamp", "")))
        app, account = one_line(str(event.get("app_name", ""))), event.get("account_id")
        account = "" if account is None else one_line(str(account))
        self._app = max(self._app, min(width_of(app), MAX_COLUMN))
        self._account = max(self._account, min(width_of(account), MAX_COLUMN))
        style = severity if severity in {"ok", "warning", "critical"} else ""
        line: list[Segment] = [
            (f"{time} ", "dim"),
            (f"{self._output.symbol(style)} " if style else "  ", style),
            (f"{padded(severity, 8)} ", style),
            (f"{padded(str(event.get('verbosity', '')), 5)}  ", ""),
            (f"{padded(app, self._app)}  ", "bold"),
        ]
        if self._account:
            line.append((f"{padded(account, self._account)}  ", ""))
        body = event.get("body")
        for key, value in pairs(body, typed=True) if isinstance(body, Mapping) else ():
            line += [(f"{key}=", "key"), (f"{value} ", "")]
        self._output.text(*without_last_space(line), indent=len(time) + 1, wrapped=wrapped)

    def _time(self, text: str) -> str:
        """Return the time of day on a terminal, in a pipe the full time with its offset."""
        try:
            time = datetime.fromisoformat(text).astimezone(UTC if self._output.utc else None)
        except ValueError:
            return text
        if not self._output.terminal:
            return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        if time.date() != self._date:
            self._date = time.date()
            rule = self._output.symbol("rule") * 2
            self._output.text((f"{rule} {self._date:%A %Y-%m-%d} {rule}", "dim"))
        return f"{time:%H:%M:%S}.{time.microsecond // 1000:03}"


def _today(output: Output) -> date:
    return datetime.now(UTC if output.utc else None).astimezone().date()


_LOGFMT_NAMES = {
    "timestamp": "time",
    "severity": "severity",
    "verbosity": "verbosity",
    "app_name": "app",
    "app_version": "version",
    "account_id": "account",
    "node": "node",
    "id": "id",
    "traceparent": "traceparent",
    "body": "body",
}


def _logfmt_fields(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that ``edr.wire.logfmt`` writes, in its order and by its names."""
    return {
        name: event[field]
        for field, name in _LOGFMT_NAMES.items()
        if event.get(field) is not None and (field != "body" or event[field])
    }
