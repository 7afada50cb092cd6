"""Text in the cells of a terminal: its width, and lines that are cut or wrapped to a width.

East Asian characters take two cells, combining characters none. Texts have no control characters:
``edr.wire.escaping`` has replaced them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias
from unicodedata import category, east_asian_width

Segment: TypeAlias = tuple[str, str]
"""A text and its style: the parameters of an SGR sequence such as ``1;31``, or nothing."""

_WITHOUT_A_CELL = {"Mn", "Me", "Cf"}
"""Categories of characters that are drawn over the one before, or not drawn."""


def width_of(text: str) -> int:
    """Return the number of cells that ``text`` takes."""
    return len(text) if text.isascii() else sum(map(_width, text))


def _width(character: str) -> int:
    if east_asian_width(character) in {"W", "F"}:
        return 2
    return 0 if category(character) in _WITHOUT_A_CELL else 1


def padded(text: str, width: int) -> str:
    """Return ``text`` with spaces at its end, so that it takes at least ``width`` cells."""
    return text + " " * (width - width_of(text))


def head(text: str, width: int) -> str:
    """Return the longest beginning of ``text`` that takes at most ``width`` cells."""
    if text.isascii():
        return text[:width]
    taken = 0
    for index, character in enumerate(text):
        taken += _width(character)
        if taken > width:
            return text[:index]
    return text


def without_last_space(segments: Iterable[Segment]) -> list[Segment]:
    """Return ``segments`` without the spaces at the end of the line."""
    line = list(segments)
    while line and not (text := line[-1][0].rstrip()):
        line.pop()
    return [*line[:-1], (text, line[-1][1])] if line else []


def cut(segments: Iterable[Segment], width: int, ellipsis: str = "…") -> list[Segment]:
    """Return ``segments`` as a line of at most ``width`` cells; a cut line ends in ``ellipsis``."""
    line: list[Segment] = []
    left = width
    waiting = list(segments)
    if sum(width_of(text) for text, _ in waiting) <= width:
        return waiting
    left -= width_of(ellipsis)
    for text, style in waiting:
        fitting = head(text, left)
        line.append((fitting, style))
        left -= width_of(fitting)
        if fitting != text:
            break
    return [*line, (ellipsis, "")]


def wrap(segments: Iterable[Segment], width: int, indent: int) -> Iterator[list[Segment]]:
    """Yield lines of at most ``width`` cells. From the second on they start with spaces.

    Lines break between words where they can. ``indent`` is the number of spaces, and is reduced
    where less than half of the line would be left.
    """
    indent = min(indent, width // 2)
    line: list[Segment] = []
    left = width
    for word, style in _words(segments):
        if width_of(word.rstrip()) > left and left < width - indent:
            yield without_last_space(line)
            line, left = [(" " * indent, "")], width - indent
        rest = word
        while width_of(rest.rstrip()) > left:  # a word that is longer than a line
            beginning = head(rest, left) or rest[0]
            line.append((beginning, style))
            yield line
            line, left = [(" " * indent, "")], width - indent
            rest = rest[len(beginning) :]
        line.append((rest, style))
        left -= width_of(rest)
    if line:
        yield line


def _words(segments: Iterable[Segment]) -> Iterator[Segment]:
    """Split the segments after each run of spaces."""
    for text, style in segments:
        start = 0
        while (space := text.find(" ", start)) >= 0:
            end = space
            while end < len(text) and text[end] == " ":
                end += 1
            yield text[start:end], style
            start = end
        if start < len(text):
            yield text[start:], style
