"""The speed tables of README.md and docs/comparison.md, with their figures from RESULTS.md.

python -m benchmarks.harness.figures    writes both tables again, between their two comments

RESULTS.md is the only place where a figure is written down. A test holds the two pages to it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.harness.table import TIMES

ROOT = Path(__file__).parents[2]
BEGIN, END = "<!-- figures from benchmarks/RESULTS.md -->", "<!-- end of figures -->"


class Measured(NamedTuple):
    """One row of RESULTS.md, as it is written there."""

    value: str
    ratio: str
    target: str
    met: str


class Key(NamedTuple):
    """Names a row of RESULTS.md: its question, its first column, its number of subscriptions."""

    question: str
    who: str
    subscriptions: str = ""


Results = Mapping[Key, Measured]


class Line(NamedTuple):
    """One line of the README's table."""

    question: str
    edr: Key
    other: Key | None = None
    other_is: str = ""


_IDLE = Key("memory", "edr", "1,000,000")
_MIXED = "1,000 mixed patterns, {} each: "

README = (
    Line(
        "publish an existing event to 100 subscriptions, per delivery",
        Key("fanout", "edr, publish"),
        Key("fanout", "asyncio.Queue, await put"),
        "a loop over 100 `asyncio.Queue`s",
    ),
    Line(
        "the same, and create and validate the event",
        Key("fanout", "edr, emit"),
        Key("fanout", "asyncio.Queue, await put"),
        "the same loop",
    ),
    Line(
        "the same, and wake each consumer for each event",
        Key("fanout", "edr, emit; one by one"),
        Key("fanout", "asyncio.Queue, await put; one by one"),
        "the same loop",
    ),
    Line(
        "emit to one subscription: create, validate, deliver",
        Key("emit", "edr, call body"),
        Key("emit", "Pydantic model and asyncio.Queue, call body"),
        "a Pydantic model and an `asyncio.Queue`",
    ),
    Line(
        "publish an existing event to one subscription",
        Key("publish", "edr, publish"),
        Key("publish", "blinker, send_async to all"),
        "blinker's `send_async`",
    ),
    Line(
        "emit an event without a subscriber",
        Key("nobody", "edr, emit"),
        Key("nobody", "await of an empty coroutine"),
        "`await` of an empty coroutine",
    ),
    Line(
        "emit to one of 1,000,000 subscriptions",
        Key("growth", "edr, distinct apps, hot keys", "1,000,000"),
        Key("growth", "edr, distinct apps, hot keys", "10"),
        "emit to one of 10",
    ),
    Line(
        "find one match among 100,000 body patterns",
        Key("patterns", "match, one exact field", "100,000"),
        Key("patterns", "match, one exact field", "10"),
        "find one match among 10",
    ),
    Line(
        "match one event against 1,000 patterns of three conditions",
        Key("patterns", _MIXED.format("three conditions") + "the index"),
        Key("patterns", _MIXED.format("three conditions") + "one by one"),
        "test them one by one",
    ),
    Line("memory of an idle subscription (1,000,000 exist)", _IDLE),
)

COMPARISON = (
    ("edr", ("edr, publish", "edr, emit", "edr, emit"), Key("memory", "edr", "1,000,000")),
    (
        "asyncio.Queue",
        ("asyncio.Queue, await put",) * 2 + ("",),
        Key("memory", "asyncio.Queue, await put", "100,000"),
    ),
    (
        "blinker",
        ("blinker, send_async to all",) * 2 + ("blinker, send_async",),
        Key("memory", "blinker, send_async", "100,000"),
    ),
    ("pyee", ("pyee, async handlers",) * 3, Key("memory", "pyee, async handlers", "100,000")),
    ("abxbus", ("", "abxbus", "abxbus"), None),
    (
        "litestar channels",
        ("litestar channels, memory",) * 3,
        Key("memory", "litestar channels, memory", "100,000"),
    ),
    (
        "anyio streams",
        ("anyio memory streams",) * 2 + ("",),
        Key("memory", "anyio memory streams", "100,000"),
    ),
)
"""Who; its rows for one ready event to one, one event to 100, an event without a taker; memory."""


def read_results(text: str) -> Results:
    """Return each row of the tables below "All questions", by its key."""
    found: dict[Key, Measured] = {}
    for section in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
        question = section.split("`")[1]
        rows = [_cells(line) for line in section.splitlines() if line.startswith("| ")]
        head = next(iter(rows), [])
        per = next((name for name in head if name.startswith("per ")), "")
        for cells in rows[2:]:
            row = dict(zip(head, cells, strict=True))
            key = Key(question, row["who"], row.get("subscriptions", ""))
            met = row.get("met", "")
            # The first row of a key holds: later ones ask the same of other events.
            found.setdefault(
                key, Measured(row.get(per, ""), row.get("ratio", ""), row.get("target", ""), met)
            )
    return found


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def readme_table(results: Results) -> str:
    """Return the README's speed table."""
    return _table(
        ["question", "edr", "compared with", "ratio", "target"],
        (_readme_line(line, results) for line in README),
        left=("question", "compared with", "target"),
    )


def _readme_line(line: Line, results: Results) -> list[str]:
    ours = results[line.edr]
    ratio = ours.ratio.removesuffix(f" {TIMES}")
    other = "" if line.other is None else f"{results[line.other].value}, {line.other_is}"
    target = {"yes": f"met: {ours.target}", "NO": f"**missed**: {ours.target}"}.get(ours.met, "")
    return [line.question, ours.value, other, ratio, target]


def comparison_table(results: Results) -> str:
    """Return the table of docs/comparison.md."""
    return _table(
        [
            "",
            "one ready event to one consumer",
            "one event to 100 consumers, per delivery",
            "an event without a consumer",
            "memory of an idle subscription",
        ],
        (
            [who, *(_value(results, *each) for each in zip(QUESTIONS, rows, strict=True)), memory]
            for who, rows, key in COMPARISON
            for memory in [results[key].value if key else ""]
        ),
        left=("",),
    )


QUESTIONS = ("publish", "fanout", "nobody")


def _value(results: Results, question: str, who: str) -> str:
    return results[Key(question, who)].value if who else ""


def _table(head: Sequence[str], lines: Iterator[list[str]], left: Sequence[str]) -> str:
    rule = ["---" if name in left else "---:" for name in head]
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, rule, *lines))


def pages(results: Results) -> Iterator[tuple[Path, str]]:
    """Yield each page that shows figures, with the text that it must have."""
    for path, table in (
        (ROOT / "README.md", readme_table(results)),
        (ROOT / "docs" / "comparison.md", comparison_table(results)),
    ):
        before, rest = path.read_text(encoding="utf-8").split(BEGIN)
        after = rest.split(END)[1]
        yield path, f"{before}{BEGIN}\n{table}\n{END}{after}"


def main() -> int:
    results = read_results((ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8"))
    for path, text in pages(results):
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
