"""``Fault`` and ``ConfigurationError``: the faults of a configuration, all at once.

A fault has the path of the setting, its line in the file, and a message with advice. No text of a
file can control the terminal or add a line to the report: all of it is escaped here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from edr.errors import EdrError, join_path
from edr.wire.escaping import one_line

Location: TypeAlias = tuple[str | int, ...]
"""The keys and indexes that lead to a setting: ``("sinks", "audit", "bindings", 0)``."""

MAX_SHOWN = 50
"""Faults in the text of an error. A file of another kind could have one for each of its keys."""

MAX_PATH = 300
"""Characters of a path. The middle of a longer one is left out."""

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]{1,80}")
_WIDEST_PATH = 60
"""Columns of the paths in a report. A longer path moves only its own line."""


class Fault(NamedTuple):
    """One fault of a configuration."""

    path: str
    """The setting, such as ``sinks.audit.bindings[0].severity``; empty for the whole file."""
    line: int | None
    """The line of the file, from 1; None if the fault has no place in it."""
    message: str
    """The fault, and the way out."""


class Note(NamedTuple):
    """A remark about a valid configuration, such as a difference to Kazoo."""

    path: str
    line: int | None
    message: str


class ConfigurationError(EdrError):
    """A configuration has faults. Nothing was started or changed.

    Attributes:
        file: the name of the configuration file.
        faults: all faults, in the order of the file.
    """

    def __init__(self, file: str, faults: Iterable[Fault]) -> None:
        self.file: str = file
        self.faults: tuple[Fault, ...] = tuple(faults)
        super().__init__(self.file, self.faults)

    def __str__(self) -> str:
        count = len(self.faults)
        title = f"{printable(self.file)}: {count:,} fault{'s' * (count != 1)}, nothing was started"
        more = [f"  and {count - MAX_SHOWN:,} more"] if count > MAX_SHOWN else []
        return "\n".join([title, *table(self.faults[:MAX_SHOWN]), *more])


class LocatedError(ValueError):
    """Faults below one setting, found by a validator of it."""

    def __init__(self, faults: Sequence[tuple[Location, str]]) -> None:
        super().__init__(faults)
        self.faults = faults


def table(items: Sequence[Fault | Note]) -> list[str]:
    """Return one line for each item: path, line and message in columns."""
    paths = [each.path or "the file" for each in items]
    lines = ["" if each.line is None else f"line {each.line}" for each in items]
    wide = max((len(path) for path in paths if len(path) <= _WIDEST_PATH), default=0)
    narrow = max(map(len, lines), default=0)
    return [
        f"  {path:<{wide}}   {line:<{narrow}}   {each.message}"
        if narrow
        else f"  {path:<{wide}}   {each.message}"
        for path, line, each in zip(paths, lines, items, strict=True)
    ]


def printable(text: str) -> str:
    """Return ``text`` in one line, without control characters and lone surrogates."""
    return one_line(text).encode("utf-8", "backslashreplace").decode()


def located(
    faults: Iterable[tuple[Location, str]], lines: Mapping[Location, int]
) -> tuple[Fault, ...]:
    """Return faults with path and line, each once, in the order of the file."""
    found = dict.fromkeys(
        Fault(path_text(place), line_of(place, lines), printable(message))
        for place, message in faults
    )
    return tuple(sorted(found, key=lambda fault: fault.line or 0))


def notes_at(
    notes: Iterable[tuple[Location, str]], lines: Mapping[Location, int]
) -> tuple[Note, ...]:
    """Return notes with path and line, in the order of the file."""
    found = (
        Note(path_text(place), line_of(place, lines), printable(message))
        for place, message in notes
    )
    return tuple(sorted(dict.fromkeys(found), key=lambda note: note.line or 0))


def path_text(place: Location) -> str:
    """Return a place as it is written in TOML: ``sinks.my-hook.bindings[0]``."""
    steps = (
        f".{step}" if isinstance(step, str) and _BARE_KEY.fullmatch(step) else join_path(step)
        for step in place
    )
    path = printable("".join(steps)).removeprefix(".")
    if len(path) <= MAX_PATH:
        return path
    return f"{path[: MAX_PATH // 2]}…{path[-MAX_PATH // 2 :]}"


def line_of(place: Location, lines: Mapping[Location, int]) -> int | None:
    """Return the line of a setting, or of the nearest table around it that has a line."""
    for length in range(len(place), 0, -1):
        if (line := lines.get(place[:length])) is not None:
            return line
    return None
