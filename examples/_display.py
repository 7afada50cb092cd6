"""What the examples show: with rich on a terminal, as plain lines everywhere else."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self, TextIO

try:
    from rich.console import Console, Group
    from rich.live import Live
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn
    from rich.table import Table as RichTable
    from rich.text import Text

    HAS_RICH = True
except ImportError:  # it comes with the extra `examples`; without it everything is plain
    HAS_RICH = False

Row = Sequence[str | int]


def can_be_rich(stream: TextIO) -> bool:
    """Tell whether rich is there, and ``stream`` a terminal that it can draw on."""
    return HAS_RICH and stream.isatty() and not Console(file=stream).is_dumb_terminal


def printable(text: str) -> str:
    """Escape what would break a line or steer the terminal: names may hold any character."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def print_text(text: str, *, rich: bool) -> None:
    """Print ``text``; on a terminal its lines are broken between words."""
    if rich:
        Console().print(text, markup=False, highlight=False)
    else:
        print(text)


def print_table(columns: Sequence[str], rows: Sequence[Row], *, rich: bool) -> None:
    """Print ``rows`` under ``columns``; numbers stand to the right."""
    if rich:
        Console().print(_rich_table(columns, rows))
        return
    lines = [[printable(str(cell)) for cell in line] for line in (columns, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    numeric = _numeric(columns, rows)
    for line in lines:
        cells = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ]
        print("  ".join(cells).rstrip())


def _numeric(columns: Sequence[str], rows: Sequence[Row]) -> list[bool]:
    return [all(isinstance(row[i], int) for row in rows) for i in range(len(columns))]


def _rich_table(columns: Sequence[str], rows: Sequence[Row]) -> RichTable:
    table = RichTable()
    for column, right in zip(columns, _numeric(columns, rows), strict=True):
        table.add_column(column, justify="right" if right else "left", overflow="fold")
    for row in rows:
        # Text, not str: rich would take "[x]" in a name for markup.
        table.add_row(*(Text(printable(str(cell))) for cell in row))
    return table


class Screen:
    """A table that is kept current, and below it the lines that came last.

    Without rich the lines are printed as they come, and there is no table.
    """

    def __init__(
        self, columns: Sequence[str], rows: Callable[[], Sequence[Row]], *, rich: bool
    ) -> None:
        self._columns = columns
        self._rows = rows
        self._lines: deque[str] = deque(maxlen=200)
        # No thread of rich's own draws: the rows are the event loop's.
        self._live = Live(auto_refresh=False, transient=True) if rich else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def line(self, text: str) -> None:
        """Show one more line."""
        if self._live is None:
            print(printable(text), flush=True)
        else:
            self._lines.append(printable(text))

    def refresh(self) -> None:
        """Draw everything anew."""
        if self._live is None:
            return
        rows = self._rows()
        # What the table leaves of the screen: it has four lines of its own, and the last line
        # of a terminal stays free for the cursor.
        room = max(0, self._live.console.height - len(rows) - 5)
        last = list(self._lines)[-room:] if room else []
        lines = [Text(line, no_wrap=True, overflow="ellipsis") for line in last]
        self._live.update(Group(_rich_table(self._columns, rows), *lines), refresh=True)


@contextmanager
def progress(title: str, total: int) -> Iterator[Callable[[int], object]]:
    """Show a bar on stderr if that is a terminal; call what this gives with each step's bytes."""
    if not can_be_rich(sys.stderr):
        yield lambda _step: None
        return
    columns = ("{task.description}", BarColumn(), DownloadColumn(), TimeRemainingColumn())
    # rich prints what meanwhile goes to stderr above its bar.
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total or None)
        yield lambda step: bar.advance(task, step)


@contextmanager
def quiet_end() -> Iterator[None]:
    """Exit without a traceback at Ctrl-C, or when the reader of a pipe (``| head``) has left."""
    code = 0
    try:
        yield
    except* KeyboardInterrupt:
        code = 130  # 128 + the number of the signal, as shells have it
    except* BrokenPipeError:
        # Else the interpreter would complain once more, when it flushes stdout at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    if code:
        sys.exit(code)
