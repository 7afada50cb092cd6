"""``edr status``: the health of a process at a glance.

A fault is a state of this moment that needs an operator: a stalled subscription, a journal that
cannot store, a part with an error. A warning is a loss since the start of the process, or a late
consumer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from edr.cli.exits import Exit
from edr.cli.health import BEHIND, FAULTY_STATES, emits_waiting
from edr.cli.output import Output, OutputFlags
from edr.cli.process import ProcessName, attach, run
from edr.cli.table import write_table
from edr.cli.units import counted, duration, size

MAX_LOOP_LAG = 0.5
"""Seconds. An event loop that is held up for longer delays every event of the process."""

MAX_SHOWN = 20
"""Rows of subscriptions, parts or consumers. Those with faults come first."""

MAX_ACCOUNTS = 5
"""Accounts of a gateway that are named: the ones with the most clients."""


class Row(NamedTuple):
    """A subscription, part, consumer or other component, and its health."""

    kind: str
    name: str
    fault: str
    """Empty without one."""
    warning: str
    detail: str

    @property
    def health(self) -> str:
        """``fault``, ``warning`` or ``ok``."""
        return "fault" if self.fault else "warning" if self.warning else "ok"


def status(
    process: ProcessName = None,
    /,
    *,
    output: OutputFlags = OutputFlags(),
) -> Exit | None:
    """Print the health of a process: subscriptions with losses, journal, consumers and parts.

    Exits with 1 if there is a fault: a stalled subscription, a journal that cannot store events, a
    part with an error, or an event loop that is held up. Losses since the start are warnings.
    """
    out = Output(output)
    hello, state = run(_read(process))
    rows = sorted(rows_of(state), key=lambda row: ("fault", "warning", "ok").index(row.health))
    if out.form == "text":
        _write_text(out, hello, state, rows)
    else:
        health = max((row.health for row in rows), key=("ok", "warning", "fault").index)
        out.record(
            {
                "health": health,
                "faults": [_reported(row, row.fault) for row in rows if row.fault],
                "warnings": [_reported(row, row.warning) for row in rows if row.warning],
                **{key: hello.get(key) for key in ("node", "pid", "version")},
                "name": hello["bus"],
                **{key: value for key, value in state.items() if key not in {"id", "is"}},
            }
        )
    return Exit.NO if any(row.fault for row in rows) else None


async def _read(process: str | None) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    async with attach(process) as client:
        return client.hello, await client.ask("statistics")


def _reported(row: Row, reason: str) -> dict[str, str]:
    return {"kind": row.kind, "name": row.name, "reason": reason}


def rows_of(state: Mapping[str, Any]) -> Iterator[Row]:
    """Yield a row for each component of the answer to ``statistics``."""
    yield _bus(state)
    yield from map(_subscription, state["subscriptions"])
    if (journal := state.get("journal")) is not None:
        yield _journal(journal)
        parts = None if state.get("parts_omitted") else {each["name"] for each in state["parts"]}
        for each in journal.get("consumers") or ():
            yield _consumer(each, parts)
    yield from map(_part, state["parts"])


def _bus(state: Mapping[str, Any]) -> Row:
    bus, lag = state["bus"], state["loop_lag"]
    fault = f"the event loop is held up for {duration(lag)}" if lag > MAX_LOOP_LAG else ""
    hidden_stalled = bus["stalled"] - sum(each["stalled"] for each in state["subscriptions"])
    if hidden_stalled > 0:
        fault = fault or counted(hidden_stalled, "further stalled subscription")
    warnings = [
        losses(bus["dropped"]),
        _some(bus["callback_errors"], "failed callback"),
        _some(bus["refused"], "refused event"),
        _some(bus["account_failures"], "failed account look-up"),
        _some(bus["tap_errors"], "failed tap call"),
    ]
    detail = (
        f"{counted(bus['emits'], 'event')} emitted, {bus['pending']:,} pending, "
        f"loop lag {duration(lag)}"
    )
    return Row("bus", "", fault, ", ".join(filter(None, warnings)), detail)


def _subscription(each: Mapping[str, Any]) -> Row:
    fault = ""
    if each["stalled"]:
        fault = f"stalled with {each['pending']:,} of {each['capacity']:,} queued"
    waiting = emits_waiting(each)
    is_behind = each["oldest_age"] > BEHIND
    failed = _some(each["failed"], "failed call")
    if failed and each["last_error"]:
        failed += f", last: {each['last_error']}"
    warnings = [
        f"full: {counted(waiting, 'emit')} waiting for it" if waiting else "",
        f"behind by {duration(each['oldest_age'])}" if is_behind else "",
        losses(each["dropped"]),
        failed,
    ]
    details = [
        f"{counted(each['delivered'], 'event')} delivered"
        if each["offered"]
        else "no event has matched",
        _some(each["in_flight"], "call running", "calls running"),
    ]
    if each["pending"]:
        queued = min(each["pending"], each["capacity"])
        details += [
            "" if fault else f"{queued:,} of {each['capacity']:,} queued",
            "" if is_behind else f"oldest {duration(each['oldest_age'])}",
        ]
    kind = "callback" if each["kind"] == "callback" else "sub"
    warning, detail = (", ".join(filter(None, each)) for each in (warnings, details))
    return Row(kind, each["name"], fault, warning, detail)


def _journal(journal: Mapping[str, Any]) -> Row:
    fault = f"cannot store events: {journal['error']}" if journal.get("error") else ""
    warnings = [
        _some(journal.get("failed"), "event not stored", "events not stored"),
        _some(journal.get("corrupt"), "unreadable entry", "unreadable entries"),
        f"consumers unknown: {journal['consumers_error']}"
        if journal.get("consumers_error")
        else "",
    ]
    first, last = journal.get("first") or 0, journal.get("last") or 0
    count = last - first + 1 if last else 0
    entries = "1 entry" if count == 1 else f"{count:,} entries"
    detail = f"{entries}, {size(journal.get('bytes') or 0)}"
    if journal.get("waiting"):
        detail += f", {journal['waiting']:,} waiting"
    return Row("journal", "", fault, ", ".join(filter(None, warnings)), detail)


def _consumer(each: Mapping[str, Any], parts: Collection[str] | None) -> Row:
    kind, _, part = each["name"].partition(":")
    # The application names its consumers by the part; another program may use any names.
    is_left = parts and kind in ("sink", "link") and part not in parts and not each["open"]
    warnings = [
        "has no part; edr journal forget removes it" if is_left else "",
        _some(each["missed"], "missed entry", "missed entries"),
    ]
    warning = ", ".join(filter(None, warnings))
    detail = f"lag {each['lag']:,}, {each['unacked']:,} unacknowledged"
    return Row(
        "consumer", each["name"], "", warning, detail + ("" if each["open"] else ", not open")
    )


def _part(part: Mapping[str, Any]) -> Row:
    state, error = str(part.get("state") or ""), part.get("error")
    fault = ""
    if error:
        fault = f"{state}: {error}" if state else str(error)
    elif state in FAULTY_STATES:
        fault = state
    lost = part.get("lost")
    warning = losses(lost) if isinstance(lost, Mapping) else _some(lost, "lost event")
    details = [
        state,
        _known(part.get("delivered"), "{:,} delivered"),
        _known(part.get("backlog"), "backlog {:,}"),
        _clients(part.get("clients"), part.get("accounts")),
        f"oldest {duration(part['oldest_age'])}" if part.get("oldest_age") else "",
    ]
    return Row(part["kind"], part["name"], fault, warning, ", ".join(filter(None, details)))


def _clients(count: Any, accounts: Any) -> str:
    """Return ``12 clients (acme 7, globex 5)`` of a gateway; the accounts with the most clients."""
    if not isinstance(count, int):
        return ""
    by_account = accounts if isinstance(accounts, Mapping) else {}
    most = sorted(by_account.items(), key=lambda item: (-item[1], item[0]))
    named = ", ".join(f"{name} {n:,}" for name, n in most[:MAX_ACCOUNTS])
    more = f", {len(most) - MAX_ACCOUNTS:,} more" if len(most) > MAX_ACCOUNTS else ""
    return counted(count, "client") + (f" ({named}{more})" if named else "")


def losses(by_reason: Mapping[str, int]) -> str:
    """Return ``1,902 lost (overflow)``; nothing without a loss."""
    lost = {reason: count for reason, count in by_reason.items() if count}
    if not lost:
        return ""
    reasons = (
        ", ".join(lost) if len(lost) == 1 else ", ".join(f"{n:,} {r}" for r, n in lost.items())
    )
    return f"{sum(lost.values()):,} lost ({reasons})"


def _some(count: Any, noun: str, nouns: str = "") -> str:
    if not isinstance(count, int) or not count:
        return ""
    return f"{count:,} {nouns}" if nouns and count != 1 else counted(count, noun)


def _known(number: Any, form: str) -> str:
    return form.format(number) if isinstance(number, (int, float)) else ""


_SYMBOLS = {"fault": "critical", "warning": "warning", "ok": "ok"}


def _write_text(
    out: Output, hello: Mapping[str, Any], state: Mapping[str, Any], rows: Sequence[Row]
) -> None:
    out.text(
        (f"{hello['bus']}@{hello['node']}", "bold"),
        (f"   up {duration(state['uptime'])}   edr {hello.get('version', '')}", ""),
    )
    shown = [row for row in rows if row.health != "ok"]
    shown += [row for row in rows if row.health == "ok"][: max(0, MAX_SHOWN - len(shown))]
    lines = [
        (
            f"{out.symbol(_SYMBOLS[row.health])} {row.kind} {row.name}".rstrip(),
            "; ".join(filter(None, (row.fault, row.warning, row.detail))),
        )
        for row in shown
    ]
    write_table(out, None, lines, [_SYMBOLS[row.health] for row in shown])
    hidden = len(rows) - len(shown) + state["omitted"] + state["parts_omitted"]
    if hidden:
        out.text((f"  and {hidden:,} more without a fault", "dim"))
