"""What got slower since a saved run, beyond the noise that both runs measured.

What is compared never depends on how fast the machine was: a ratio to the baseline of its table;
of a baseline of edr's own, its ratio to fixed work that was done in the same rounds; bytes.
"""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.harness.table import Row, Table, format_ratio, format_value

LEAST = 0.1
"""Changes below a tenth are not told: code that moves in memory brings as much."""

SPREADS = 3
"""How many times the noise of both runs a change must exceed."""

BYTES = 2**20
"""What a resident size may differ by: the allocator's grain."""


def slower_since(before: Mapping[str, Table], now: Mapping[str, Table]) -> list[str]:
    """Return a line for each row of edr that costs more than it did."""
    lines = []
    for name, table in now.items():
        old_rows = {row.key: row for row in before[name].rows} if name in before else {}
        for row in table.rows:
            old = old_rows.get(row.key)
            if row.ours and old is not None and _is_slower(old, row):
                lines.append(f"{name}: {row.key}: {_shown(old)} -> {_shown(row)}")
    return lines


def _is_slower(old: Row, new: Row) -> bool:
    before, now = _compared(old), _compared(new)
    if before is None or now is None:
        return False
    if new.unit == "B" and new.at is None and now - before < BYTES:
        return False
    allowed = max(LEAST, SPREADS * (old.noise + new.noise))
    return now > before * (1 + allowed)


def _compared(row: Row) -> float | None:
    if row.ratio is not None:
        return row.ratio
    return row.value if row.unit == "B" else row.pace


def _shown(row: Row) -> str:
    figure = format_value(row.value, row.unit)
    return figure if row.ratio is None else f"{format_ratio(row.ratio)} ({figure})"
