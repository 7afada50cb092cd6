"""Rows and tables: what a bench found, as text, as Markdown and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

TIMES = "×"  # noqa: RUF001 - it reads better than an x


@dataclass(frozen=True)
class Row:
    """One figure, and what it is held against.

    A limit is one of the ratio if there is a ratio, otherwise of the value.
    """

    what: str
    value: float | None = None
    unit: str = "ns"
    does: str = ""
    ratio: float | None = None
    """Cost as a multiple of the baseline's."""
    pace: float | None = None
    """Of a baseline: its cost as a multiple of fixed work in the same rounds."""
    noise: float = 0.0
    """Of the ratio, else of the pace, else of the value; a share of it."""
    limit: float | None = None
    at: int | None = None
    """The number of subscriptions."""
    ours: bool = False

    @property
    def judged(self) -> float | None:
        return self.value if self.ratio is None else self.ratio

    @property
    def met(self) -> bool | None:
        if self.limit is None or self.judged is None:
            return None
        return self.judged <= self.limit

    @property
    def key(self) -> str:
        """What tells the row from the others of its table, in every run."""
        return self.what if self.at is None else f"{self.what} @ {self.at}"


def not_installed(what: str) -> Row:
    """Return the row of a peer that is not there."""
    return Row(what, does="not installed")


@dataclass(frozen=True)
class Table:
    """The answer to one question."""

    question: str
    rows: list[Row]
    per: str = "operation"
    """What the cost is one of."""
    notes: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self:
        return cls(**{**document, "rows": [Row(**row) for row in document["rows"]]})

    def as_text(self) -> str:
        head, *lines = self._cells()
        widths = [max(len(line[i]) for line in (head, *lines)) for i in range(len(head))]
        rule = ["-" * width for width in widths]
        rows = [_line(line, widths, head) for line in (head, rule, *lines)]
        return "\n".join([self.question, "", *rows, "", self.notes]).rstrip()

    def as_markdown(self, name: str) -> str:
        """Return the table under a heading that starts with the name of its question."""
        head, *lines = self._cells()
        rule = ["---" if name in _LEFT else "---:" for name in head]
        rows = ["| " + " | ".join(line) + " |" for line in (head, rule, *lines)]
        return "\n".join([f"### `{name}`: {self.question}", "", *rows, "", self.notes]).rstrip()

    def _cells(self) -> list[list[str]]:
        """Return the head and the lines, without the columns in which nothing stands."""
        columns: list[tuple[str, Callable[[Row], str]]] = [
            ("who", lambda row: row.what),
            ("subscriptions", lambda row: "" if row.at is None else f"{row.at:,}"),
            (f"per {self.per}", lambda row: format_value(row.value, row.unit)),
            ("ratio", lambda row: "" if row.ratio is None else format_ratio(row.ratio)),
            ("noise", lambda row: "" if row.value is None else f"± {row.noise:.0%}"),
            ("target", format_limit),
            ("met", lambda row: {True: "yes", False: "NO", None: ""}[row.met]),
            ("what it does", lambda row: row.does),
        ]
        filled = [(name, show) for name, show in columns if any(show(row) for row in self.rows)]
        names = [name for name, _ in filled]
        return [names, *([show(row) for _, show in filled] for row in self.rows)]


_LEFT = ("who", "what it does", "met")


def _line(cells: list[str], widths: list[int], head: list[str]) -> str:
    padded = [
        cell.ljust(width) if name in _LEFT else cell.rjust(width)
        for cell, width, name in zip(cells, widths, head, strict=True)
    ]
    return "  ".join(padded).rstrip()


def format_judged(row: Row) -> str:
    """Write what a limit would be one of: the ratio, or else the value."""
    return format_value(row.value, row.unit) if row.ratio is None else format_ratio(row.ratio)


def format_limit(row: Row) -> str:
    """Write the target, or nothing."""
    if row.limit is None:
        return ""
    is_ratio = row.ratio is not None
    return f"≤ {format_ratio(row.limit) if is_ratio else format_value(row.limit, row.unit)}"


def format_ratio(ratio: float) -> str:
    """Write a multiple, with three digits where it is small."""
    return f"{ratio:.3f} {TIMES}" if ratio < 0.1 else f"{ratio:,.2f} {TIMES}"


_SCALES: dict[str, Sequence[tuple[float, str]]] = {
    "ns": ((1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1, "ns")),
    "B": ((2**30, "GiB"), (2**20, "MiB"), (1, "B")),
}


def format_value(value: float | None, unit: str) -> str:
    """Write a figure in the scale in which it reads well, with three digits."""
    if value is None:
        return ""
    for size, name in _SCALES[unit]:
        if abs(value) >= size:
            return f"{_three_digits(value / size)} {name}"
    return f"{_three_digits(value)} {_SCALES[unit][-1][1]}"


def _three_digits(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
