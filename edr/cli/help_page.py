"""The page that ``--help`` prints: two columns of plain text.

``cyclopts`` calls the formatter with its own objects, so it is imported only to print help.
"""

from __future__ import annotations

import shutil
import textwrap
from typing import TYPE_CHECKING, Any, TextIO

from cyclopts.help.formatters import PlainFormatter

if TYPE_CHECKING:
    from cyclopts.help import HelpPanel
    from rich.console import Console, ConsoleOptions

NAMES_WIDTH = 26
"""Columns of the names of flags. A longer name has its text in the next line."""

MAX_WIDTH = 100
"""Columns of the page. Longer lines are hard to read."""


class HelpPage(PlainFormatter):
    """Prints each group of flags or commands as a table."""

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:  # noqa: ARG002
        """Print one group."""
        entries = [entry for entry in panel.entries if entry.display_labels]
        if not entries:
            return
        lines = [f"{panel.title}:"]
        for entry in entries:
            longs_last = sorted(entry.display_labels, key=lambda name: name.startswith("--"))
            names = ", ".join(longs_last)
            if entry.metavar and not entry.positional_label:
                names += f" {entry.metavar}"
            text = _plain(entry.description)
            if entry.choices:
                choices = ", ".join(entry.choices)
                text = f"{choices}; {text}" if text else choices
            lines += _entry(names, " ".join(text.split()))
        _print(console, "\n".join(lines) + "\n")

    def render_description(
        self,
        console: Console,
        options: ConsoleOptions,  # noqa: ARG002
        description: Any,
    ) -> None:
        """Print the text of a command, wrapped."""
        paragraphs = _plain(description).strip().split("\n\n")
        _print(console, "\n\n".join(_filled(paragraph) for paragraph in paragraphs) + "\n")


def console_of(page: TextIO | None) -> Console:
    """Return a console that writes to ``page``; by default to stdout."""
    from rich.console import Console  # noqa: PLC0415 - takes 50 ms

    return Console(file=page, width=_width(), color_system=None)


def _plain(text: Any) -> str:
    """Return the characters of a text of rich, or of cyclopts's wrapper of one."""
    inner = getattr(text, "primary_renderable", text)
    return str(getattr(inner, "plain", inner) or "")


def _entry(names: str, text: str) -> list[str]:
    indent = " " * (NAMES_WIDTH + 4)
    first = f"  {names:{NAMES_WIDTH}}  "
    if len(names) > NAMES_WIDTH:
        return [f"  {names}", *_wrapped(text, indent, indent)]
    return _wrapped(text, first, indent) or [first.rstrip()]


def _wrapped(text: str, first: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text,
        _width(),
        initial_indent=first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _filled(text: str) -> str:
    return "\n".join(_wrapped(" ".join(text.split()), "", ""))


def _width() -> int:
    return min(MAX_WIDTH, shutil.get_terminal_size().columns)


def _print(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)
