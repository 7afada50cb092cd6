"""Output of the examples: with rich on a terminal, else as plain lines."""

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
except ImportError:  # rich is part of the extra `examples`; without it the output is plain
    HAS_RICH = False

Row = Sequence[str | int]


def can_be_rich(stream: TextIO) -> bool:
    """Return whether rich is installed and ``stream`` is a terminal that it supports."""
    return HAS_RICH and stream.isatty() and not Console(file=stream).is_dumb_terminal


def printable(text: str) -> str:
    """Escape line breaks and control characters, since names may have any character."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def print_text(text: str, *, rich: bool) -> None:
    """Print ``text``. On a terminal, lines are wrapped between words."""
    if rich:
        Console().print(text, markup=False, highlight=False)
    else:
        print(text)


def print_table(columns: Sequence[str], rows: Sequence[Row], *, rich: bool) -> None:
    """Print ``rows`` under ``columns``, with numbers aligned to the right."""
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
    """A live table, and the latest lines below it.

    Without rich it prints each line, and no table.
    """

    def __init__(
        self, columns: Sequence[str], rows: Callable[[], Sequence[Row]], *, rich: bool
    ) -> None:
        self._columns = columns
        self._rows = rows
        self._lines: deque[str] = deque(maxlen=200)
        # No drawing thread of rich, because the rows belong to the event loop.
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
        """Draw the screen again."""
        if self._live is None:
            return
        rows = self._rows()
        # The rest of the screen: the table has four lines in addition to its rows, and the last
        # line of a terminal is for the cursor.
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
    # rich prints output on stderr above its bar.
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
        # Otherwise the interpreter reports an error when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    if code:
        sys.exit(code)
