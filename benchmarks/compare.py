"""What got slower since a saved run, beyond the noise that both runs measured.

A ratio to a baseline of the same run is compared where there is one: a slower machine slows both
sides. Where there is none, the figure itself is, which means something on one machine only.
"""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.table import Row, Table, format_ratio, format_value

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
    if old.judged is None or new.judged is None or (old.ratio is None) != (new.ratio is None):
        return False
    if new.unit == "B" and new.judged - old.judged < BYTES and new.at is None:
        return False
    allowed = max(LEAST, SPREADS * (old.noise + new.noise))
    return new.judged > old.judged * (1 + allowed)


def _shown(row: Row) -> str:
    figure = format_value(row.value, row.unit)
    return figure if row.ratio is None else f"{format_ratio(row.ratio)} ({figure})"
