"""``view``: the screen of ``edr top`` as lines of segments, for a width and a height. Pure.

Columns are as wide as their contents need. On a narrow terminal the least important columns are
left out, and the widest ones are cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from edr.cli.cells import Segment, cut, padded, width_of
from edr.cli.top_rows import SORT_KEYS, Row, Samples
from edr.cli.units import duration, size
from edr.wire.escaping import one_line

Line = list[Segment]

BARS, ASCII_BARS = "▁▂▃▄▅▆▇█", "_.-:=+*#"
SHOWN_RATES = 16
"""Bars of the line of rates."""

GAP = "  "
MAX_LAG = 0.1
"""Seconds of loop lag from which it is marked."""


class Column(NamedTuple):
    """A column of the table."""

    head: str
    least: int
    """Cells that it has at least, if it is shown."""
    most: int
    """Cells that it grows to, if there is space."""
    is_right: bool
    rank: int
    """Columns of a low rank are shown first, and get their width first."""
    text: Callable[[Row], str]


def _backlog(row: Row) -> str:
    if row.backlog is None:
        return ""
    is_limited = row.backlog and row.capacity
    return f"{row.backlog:,}/{row.capacity:,}" if is_limited else f"{row.backlog:,}"


def _lost(row: Row) -> str:
    reasons = row.lost
    if not reasons:
        return ""
    text = f"{row.total_lost:,} {max(reasons, key=lambda reason: reasons[reason])}"
    return text if len(reasons) == 1 else f"{text}, …"


def _rate(row: Row) -> str:
    return "" if row.rate is None else _short_rate(row.rate)


COLUMNS = (
    Column("PART", 14, 28, False, 0, lambda row: f"{row.kind} {row.name}"),
    Column("BINDING", 12, 44, False, 7, lambda row: row.binding),
    Column("IN/S", 6, 9, True, 2, _rate),
    Column("BACKLOG", 11, 15, True, 1, _backlog),
    Column("OLDEST", 6, 7, True, 4, lambda row: duration(row.oldest) if row.oldest else ""),
    Column(
        "DELIVERED",
        9,
        13,
        True,
        6,
        lambda row: "" if row.delivered is None else f"{row.delivered:,}",
    ),
    Column("LOST", 14, 20, False, 3, _lost),
    Column("STATE", 16, 60, False, 5, lambda row: row.state),
)


class Symbols(NamedTuple):
    """The characters that the terminal can show."""

    critical: str = "■"
    warning: str = "▲"
    ellipsis: str = "…"
    bars: str = BARS


def view(
    samples: Samples,
    *,
    title: str,
    by: str,
    width: int,
    height: int | None,
    symbols: Symbols = Symbols(),  # noqa: B008 - immutable
    keys: bool = False,
) -> list[Line]:
    """Return the lines of the screen.

    Args:
        samples: the answers of the process.
        title: names the process.
        by: the key of the order, one of ``SORT_KEYS``.
        width: cells of a line.
        height: lines of the screen; ``None`` for all rows.
        symbols: the characters to use.
        keys: whether to end with a line that explains the keys.
    """
    head = _flowed(_summary(samples, title, symbols), width)
    foot: list[Line] = [_key_line(by)] if keys else []
    rows = samples.sorted(by)
    shown = rows
    if height is not None:
        room = max(1, height - len(head) - 1 - len(foot))
        if len(rows) > room or samples.omitted:
            shown = rows[: max(0, room - 1)]
    hidden = len(rows) - len(shown) + samples.omitted
    lines = [*head, *_table(shown, width, symbols)]
    if not rows:
        lines.append([("no subscriptions or parts", "dim")])
    if hidden:
        lines.append([(f" {symbols.ellipsis} {hidden:,} more", "dim")])
    if height is not None and foot:
        lines += [[] for _ in range(height - len(lines) - len(foot))]
    return [cut(line, width, symbols.ellipsis) for line in [*lines, *foot]]


def _summary(samples: Samples, title: str, symbols: Symbols) -> Iterable[Line]:
    """Return the facts of the first lines."""
    message = samples.message
    bus, lag = message["bus"], message["loop_lag"]
    yield [(title, "bold"), (f"   up {duration(message['uptime'])}", "")]
    if samples.faults:
        noun = "fault" if samples.faults == 1 else "faults"
        yield [(f"{symbols.critical} {samples.faults:,} {noun}", "critical")]
    rate = symbols.ellipsis if samples.rate is None else _short_rate(samples.rate)
    yield [(f"{rate} emits/s ", ""), (_bars(samples.rates, symbols.bars), "key")]
    if "unmatched" in bus:
        share = bus["unmatched"] / max(1, bus["emits"])
        yield [(f"unmatched {share:.0%}".replace("%", " %"), "")]
    if lost := sum(bus["dropped"].values()):
        yield [(f"lost {lost:,}", "warning")]
    yield [(f"loop lag {duration(lag)}", "warning" if lag > MAX_LAG else "")]
    if (journal := message.get("journal")) is not None:
        yield _journal(journal)


def _journal(journal: dict[str, object]) -> Line:
    text = f"journal {size(float(journal.get('bytes') or 0))}"  # type: ignore[arg-type]
    if age := journal.get("oldest_age"):
        text += f", {duration(float(age))}"  # type: ignore[arg-type]
    if waiting := journal.get("waiting"):
        text += f", {waiting:,} waiting"
    if error := journal.get("error"):
        return [(f"{text}: {error}", "critical")]
    return [(text, "warning" if journal.get("failed") else "")]


def _flowed(facts: Iterable[Line], width: int) -> list[Line]:
    """Return the facts side by side, on as many lines as they need."""
    lines: list[Line] = [[]]
    used = 0
    for fact in facts:
        needed = sum(width_of(text) for text, _ in fact)
        if lines[-1] and used + 3 + needed > width:
            lines.append([])
            used = 0
        if lines[-1]:
            lines[-1].append(("   ", ""))
            used += 3
        lines[-1] += [(one_line(text), style) for text, style in fact]
        used += needed
    return lines


def _table(rows: Sequence[Row], width: int, symbols: Symbols) -> Iterable[Line]:
    cells = [[one_line(column.text(row)) for column in COLUMNS] for row in rows]
    widths = _widths(cells, width - 1)
    yield [(" ", ""), *_joined(((column.head, "") for column in COLUMNS), widths, symbols, "bold")]
    marks = {"critical": symbols.critical, "warning": symbols.warning}
    for row, texts in zip(rows, cells, strict=True):
        styles = [
            row.mark if column.head in {"PART", "LOST", "STATE"} else "" for column in COLUMNS
        ]
        if row.mark == "warning":
            styles[-1] = ""
        line = _joined(zip(texts, styles, strict=True), widths, symbols, "")
        yield [(marks.get(row.mark, " "), row.mark), *line]


def _joined(
    cells: Iterable[Segment], widths: Sequence[int], symbols: Symbols, style: str
) -> Iterable[Segment]:
    is_first = True
    for (text, own), column, width in zip(cells, COLUMNS, widths, strict=True):
        if not width:
            continue
        if not is_first:
            yield GAP, style
        is_first = False
        fitting = "".join(part for part, _ in cut([(text, "")], width, symbols.ellipsis))
        space = " " * (width - width_of(fitting))
        yield (space + fitting if column.is_right else padded(fitting, width)), own or style


def _widths(cells: Sequence[Sequence[str]], width: int) -> list[int]:
    """Return the width of each column; 0 for a column that is left out."""
    needed = [
        min(column.most, max([width_of(column.head), *(width_of(row[number]) for row in cells)]))
        for number, column in enumerate(COLUMNS)
    ]
    widths = [0] * len(COLUMNS)
    left = width + len(GAP)
    by_rank = sorted(range(len(COLUMNS)), key=lambda number: COLUMNS[number].rank)
    for number in by_rank:
        least = min(needed[number], COLUMNS[number].least)
        if least + len(GAP) > left:
            break
        widths[number] = least
        left -= least + len(GAP)
    for number in by_rank:
        if widths[number]:
            more = min(left, needed[number] - widths[number])
            widths[number] += more
            left -= more
    return widths


def _bars(rates: Sequence[float] | Iterable[float], bars: str) -> str:
    shown = list(rates)[-SHOWN_RATES:]
    highest = max(shown, default=0.0)
    if not highest:
        return bars[0] * len(shown)
    return "".join(bars[round(rate / highest * (len(bars) - 1))] for rate in shown)


def _short_rate(rate: float) -> str:
    if not rate:
        return "0"
    return f"{rate:.1f}" if rate < 10 else f"{rate:,.0f}"  # noqa: PLR2004 - a second digit


def _key_line(by: str) -> Line:
    line: Line = [("q", "bold"), (" quit   sort by ", "dim")]
    for name in SORT_KEYS:
        style = "bold" if name == by else "dim"
        line += [(name[0], "bold"), (f"{name[1:]} ", style)]
    return line
