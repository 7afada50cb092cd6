"""Events that a command reads: from a file, from its standard input, or written as JSON."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, TextIO

import orjson

from edr.cli.exits import CommandError, Exit
from edr.errors import kind_of


def read_events(source: str | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each event with its place, such as ``line 3``: one line of JSON for each event.

    Gaps, which ``edr tail -o json`` writes among the events, are skipped.

    Args:
        source: JSON text, the name of a file, or ``-`` or ``None`` for standard input.

    Raises:
        CommandError: the input cannot be read, or a line is not a JSON object.
    """
    if source is not None and source.lstrip().startswith("{"):
        yield "the event", _event("the event", source)
        return
    name = "stdin" if source in (None, "-") else str(source)
    for number, line in enumerate(_lines(source), 1):
        place = f"{name}, line {number}"
        if line.strip():
            event = _event(place, line)
            if event.get("is") != "gap":
                yield place, event


def _lines(source: str | None) -> Iterator[bytes | str]:
    if source in (None, "-"):
        if sys.stdin is None or sys.stdin.isatty():
            raise CommandError(
                Exit.USAGE, "an event must be given: JSON, the name of a file, or lines on stdin"
            )
        yield from _stdin_lines(sys.stdin)
        return
    try:
        with open(source, "rb") as file:  # noqa: PTH123 - as it reads
            yield from file
    except OSError as exc:
        raise CommandError(Exit.BAD_INPUT, f"{source}: {exc.strerror}") from None


def _stdin_lines(stdin: TextIO) -> Iterator[bytes | str]:
    try:
        descriptor = stdin.fileno()
    except OSError:  # a test's or an embedding program's
        yield from getattr(stdin, "buffer", stdin)
        return
    # Not its buffer: a thread that waits in it would hold its lock at the end of the program.
    with open(descriptor, "rb", closefd=False) as file:
        yield from file


def _event(place: str, text: str | bytes) -> dict[str, Any]:
    try:
        event = orjson.loads(text)
    except orjson.JSONDecodeError as exc:
        raise CommandError(Exit.BAD_INPUT, f"{place}: must be JSON: {exc}") from None
    if not isinstance(event, dict):
        raise CommandError(Exit.BAD_INPUT, f"{place}: must be an object, got {kind_of(event)}")
    return event
