"""``Samples``: successive answers to ``top``, as rows with rates and marks.

A row is a subscription, a callback, a part or a consumer of the journal. A fault is a state of this
moment: stalled, not connected, an error. A warning is a loss, a queue that is nearly full, or an
event that has waited for long.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

from edr.cli.describe import describe_briefly
from edr.cli.health import BEHIND, FAULTY_STATES, emits_waiting
from edr.cli.units import counted

NEARLY_FULL = 0.9
"""Share of the capacity of a queue from which it is marked."""

RATES_KEPT = 60
"""Rates of emits that are kept for the line of bars."""

NEW_SHARE = 0.3
"""Weight of the last rate in the usual rate."""

Message = Mapping[str, Any]


class Row(NamedTuple):
    """One line of the table."""

    kind: str
    name: str
    binding: str
    rate: float | None
    """Offered events a second since the last sample; ``None`` if it is not known."""
    usual_rate: float
    """The rate over the last samples, so that rows of similar rates keep their places."""
    backlog: int | None
    capacity: int | None
    oldest: float
    """Seconds since the oldest event of the backlog was emitted."""
    delivered: int | None
    lost: Mapping[str, int]
    losing: int
    """Events lost since the last sample."""
    state: str
    fault: bool
    waiting: int = 0
    """Emits that wait for space in its queue."""

    @property
    def mark(self) -> str:
        """``critical``, ``warning`` or nothing."""
        if self.fault:
            return "critical"
        has_warning = self.total_lost or self.is_nearly_full or self.is_behind
        return "warning" if has_warning else ""

    @property
    def total_lost(self) -> int:
        """Events lost so far."""
        return sum(self.lost.values())

    @property
    def is_nearly_full(self) -> bool:
        """Whether the backlog has reached ``NEARLY_FULL`` of its capacity."""
        return bool(self.capacity) and (self.backlog or 0) >= NEARLY_FULL * (self.capacity or 0)

    @property
    def is_behind(self) -> bool:
        """Whether an event has waited for ``BEHIND`` seconds in the queue of a subscription."""
        return self.kind in {"sub", "callback"} and self.oldest > BEHIND

    @property
    def trouble(self) -> tuple[bool, ...]:
        """Is greater for a row that an operator must see first.

        A process has few parts and may have thousands of subscriptions, so parts are before them.
        """
        is_part = self.kind not in {"sub", "callback"}
        return (
            self.fault,
            self.fault and is_part,
            self.waiting > 0,
            self.losing > 0,
            self.is_nearly_full,
            self.is_behind,
            self.total_lost > 0,
            is_part,
        )


SORT_KEYS: dict[str, Any] = {
    "in": lambda row: row.usual_rate,
    "backlog": lambda row: row.backlog or 0,
    "oldest": lambda row: row.oldest,
    "delivered": lambda row: row.delivered or 0,
    "lost": lambda row: row.total_lost,
    "name": lambda _: 0,
}
"""Keys of the rows without trouble, and of those with the same trouble: the highest value first."""


_Key: TypeAlias = tuple[str, object]


class _Counts(NamedTuple):
    """The counts of a row in the sample before."""

    offered: int
    lost: int
    usual_rate: float | None


class Samples:
    """The last answer to ``top``, compared with the one before.

    Attributes:
        message: the last answer.
        rate: emits a second since the one before; ``None`` after the first.
        rates: the last rates, the newest last.
    """

    def __init__(self) -> None:
        self.message: Message = {}
        self.rate: float | None = None
        self.rates: deque[float] = deque(maxlen=RATES_KEPT)
        self.rows: list[Row] = []
        self._emits = 0
        self._counts: dict[_Key, _Counts] = {}

    def add(self, message: Message) -> None:
        """Take the next answer."""
        elapsed = message["uptime"] - self.message.get("uptime", message["uptime"])
        emits = message["bus"]["emits"]
        if elapsed > 0:
            self.rate = max(0, emits - self._emits) / elapsed
            self.rates.append(self.rate)
        self._emits = emits
        self.message = message
        counts = self._counts
        self._counts = {}
        self.rows = [
            self._with_rates(row, key, counts.get(key), elapsed) for key, row in _rows(message)
        ]

    def sorted(self, by: str) -> list[Row]:
        """Return the rows, those with trouble first, then by ``by``, one of ``SORT_KEYS``."""
        key = SORT_KEYS[by]
        by_name = sorted(self.rows, key=lambda row: (row.name, row.kind))
        return sorted(by_name, key=lambda row: (row.trouble, key(row)), reverse=True)

    @property
    def faults(self) -> int:
        """Rows with a fault, also among the subscriptions that the process did not send."""
        stalled = sum(bool(each["stalled"]) for each in self.message["subscriptions"])
        hidden = int(self.message["bus"].get("stalled", 0)) - stalled
        return len([row for row in self.rows if row.fault]) + max(0, hidden)

    @property
    def omitted(self) -> int:
        """Rows that the process did not send."""
        journal = self.message.get("journal") or {}
        return (
            int(self.message.get("omitted", 0))
            + int(self.message.get("parts_omitted", 0))
            + int(journal.get("consumers_omitted") or 0)
        )

    def _with_rates(self, row: Row, key: _Key, before: _Counts | None, elapsed: float) -> Row:
        offered = None if row.rate is None else int(row.rate)  # the count of events until here
        rate = usual = None
        losing = 0
        if before is not None and elapsed > 0:
            losing = max(0, row.total_lost - before.lost)
            if offered is not None:
                rate = max(0, offered - before.offered) / elapsed
                known = rate if before.usual_rate is None else before.usual_rate
                usual = known + NEW_SHARE * (rate - known)
        self._counts[key] = _Counts(offered or 0, row.total_lost, usual)
        return row._replace(rate=rate, usual_rate=usual or 0.0, losing=losing)


def _rows(message: Message) -> Iterator[tuple[_Key, Row]]:
    for each in message["subscriptions"]:
        yield ("sub", each["number"]), _subscription(each)
    for each in message["parts"]:
        yield (each["kind"], each["name"]), _part(each)
    for each in (message.get("journal") or {}).get("consumers") or ():
        yield ("consumer", each["name"]), _consumer(each)


def _subscription(each: Message) -> Row:
    lost = {reason: count for reason, count in each["dropped"].items() if count}
    if each["failed"]:
        lost["failed"] = each["failed"]
    state = each["overflow"]
    if each["stalled"]:
        state = "stalled"
    elif each["kind"] == "callback":
        state = each["last_error"] or (
            f"{each['in_flight']} in flight" if each["in_flight"] else ""
        )
    if waiting := emits_waiting(each):
        state = f"{counted(waiting, 'emit')} waiting"
    return Row(
        kind="callback" if each["kind"] == "callback" else "sub",
        name=each["name"],
        binding=_binding(each),
        rate=each["offered"],
        usual_rate=0.0,
        backlog=each["pending"],
        capacity=each["capacity"],
        oldest=each["oldest_age"] or 0.0,
        delivered=each["delivered"],
        lost=lost,
        losing=0,
        state=state,
        fault=bool(each["stalled"]),
        waiting=waiting,
    )


def _part(each: Message) -> Row:
    state, error = str(each.get("state") or ""), each.get("error")
    lost = each.get("lost") or {}
    if not isinstance(lost, Mapping):
        lost = {"lost": lost} if isinstance(lost, int) else {}
    return Row(
        kind=each["kind"],
        name=each["name"],
        binding=_binding(each),
        rate=_number(each.get("offered")),
        usual_rate=0.0,
        backlog=_number(each.get("backlog")),
        capacity=_number(each.get("capacity")),
        oldest=float(each.get("oldest_age") or 0.0),
        delivered=_number(each.get("delivered")),
        lost={reason: count for reason, count in lost.items() if count},
        losing=0,
        state=f"{state}: {error}" if state and error else str(error or state),
        fault=bool(error) or state in FAULTY_STATES,
    )


def _consumer(each: Message) -> Row:
    return Row(
        kind="consumer",
        name=each["name"],
        binding=_binding(each),
        rate=None,
        usual_rate=0.0,
        backlog=each["lag"],
        capacity=None,
        oldest=0.0,
        delivered=None,
        lost={"missed": each["missed"]} if each["missed"] else {},
        losing=0,
        state=("open" if each["open"] else "not open")
        + (f", {each['unacked']:,} unacked" if each["unacked"] else ""),
        fault=False,
    )


def _binding(each: Message) -> str:
    bindings = each.get("bindings")
    if bindings is None:
        count = each.get("bindings_count")
        return f"{count:,} bindings" if count else ""
    return describe_briefly(bindings)


def _number(value: object) -> int | None:
    return int(value) if isinstance(value, (int, float)) else None
