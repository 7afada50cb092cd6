"""The table of outcomes in docs/delivery.md, and what a test has observed of a row of it."""

import logging
import re
from collections.abc import Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

PAGE = Path(__file__).parents[2] / "docs" / "delivery.md"
HEAD = "| Where | Outcome | The caller | Counters | Log |"


class Row(NamedTuple):
    """A row of the table: names in backticks, levels in capitals."""

    caller: str
    counters: str
    log: str


def documented():
    """Return the rows by where it happens and what the outcome is."""
    lines = iter(PAGE.read_text(encoding="utf-8").splitlines())
    rows = {}
    for line in lines:
        if line == HEAD:
            next(lines)
            for row in lines:
                if not row.startswith("|"):
                    break
                where, outcome, *cells = [cell.strip() for cell in row.strip("|").split("|")]
                rows[where.strip("`"), outcome] = Row(*cells)
    return rows


class Observed:
    """What the caller got, which counters have changed, and which levels were logged.

    ``where`` and ``outcome`` name the row. ``counters`` returns the counts of a moment by name; a
    value of None or 0 is none.
    """

    def __init__(self, where, outcome, counters):
        self.row = documented()[where, outcome]
        self._counters = counters
        self._before = counters()
        self._levels = set()
        self._error = None
        self._changed = set()

    @contextmanager
    def caller(self):
        """Observe the call; its error is kept. The counters are compared when it ends."""
        try:
            yield self
        except Exception as error:
            self._error = error
        self.compare()

    def compare(self):
        """Compare the counters now; a caller that does not wait does so later."""
        after = self._counters()
        self._changed = {name for name in after if after[name] != self._before.get(name)}

    def check(self, records: Iterable[logging.LogRecord]):
        """Compare all of it with the row; return the error of the caller."""
        if self._error is None:
            assert "return" in self.row.caller
        else:
            assert type(self._error).__name__ in _names(self.row.caller)
        assert self._changed == _names(self.row.counters)
        levels = {each.levelname for each in records if each.levelno >= logging.WARNING}
        assert levels == set(re.findall(r"\b[A-Z]{5,}\b", self.row.log))
        return self._error


def _names(cell):
    return set(re.findall(r"`(\w+)", cell))
