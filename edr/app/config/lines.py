"""Line numbers: which line of a TOML or JSON text has which key.

``tomllib`` and ``json`` return values without their places. These scanners read text that the
parser has accepted already. So they find the ends of strings, tables and arrays, and check nothing.
They use no recursion: the depth of a document is the choice of its author.
"""

from __future__ import annotations

import json
import re
import tomllib
from bisect import bisect_right
from collections.abc import Callable

from edr.app.config.faults import Location

_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
# A multi-line string may end with one or two quotes before its delimiter.
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?!")'
    r"|'''.*?'''(?!')"
    r'|"(?:\\.|[^"\\])*"'
    r"|'[^']*'",
    re.DOTALL,
)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_DOT = re.compile(r"[ \t]*\.[ \t]*")
_SCALAR = re.compile(r"[^,\]}\n#]+")


def toml_lines(text: str) -> dict[Location, int]:
    """Return the line of each key, table and element in a TOML text that ``tomllib`` accepts."""
    # tomllib counts CR LF as one line feed, as every editor does.
    return _TomlScanner(text.replace("\r\n", "\n")).scan()


def json_lines(text: str) -> dict[Location, int]:
    """Return the line of each key and element in a JSON text that ``json`` accepts."""
    scanner = _Scanner(text, lambda raw: json.loads(raw, strict=False))
    scanner.value((), scanner.skip(0))
    return scanner.lines


class _Scanner:
    """Reads the values that TOML and JSON have in common. ``=`` and ``:`` follow a key."""

    def __init__(self, text: str, decode: Callable[[str], str]) -> None:
        self.text = text
        self.lines: dict[Location, int] = {}
        self._decode = decode
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def skip(self, at: int) -> int:
        """Return the place after spaces, line feeds and comments."""
        match = _SPACE.match(self.text, at)
        assert match is not None  # it matches nothing too
        return match.end()

    def note(self, place: Location, at: int) -> None:
        """Record the line of ``place``, unless an earlier one has it."""
        self.lines.setdefault(place, bisect_right(self._starts, at))

    def key(self, at: int) -> tuple[Location, int]:
        """Return a dotted key that starts at ``at``, and its end."""
        parts: list[str] = []
        while True:
            if bare := _BARE_KEY.match(self.text, at):
                parts.append(bare[0])
                at = bare.end()
            else:
                raw = self._string(at)
                parts.append(self._decode(raw))
                at += len(raw)
            if (dot := _DOT.match(self.text, at)) is None:
                return tuple(parts), at
            at = dot.end()

    def value(self, place: Location, at: int) -> int:
        """Record the lines of all keys and elements of a value, and return its end."""
        self.note(place, at)
        # The open tables (-1) and arrays (number of elements so far), with their places.
        open_ones: list[tuple[Location, int]] = []
        at = self._enter(place, at, open_ones)
        while open_ones:
            at = self.skip(at)
            if self.text[at] == ",":
                at += 1
                continue
            outer, count = open_ones.pop()
            if self.text[at] in "]}":
                at += 1
                continue
            if count < 0:
                open_ones.append((outer, count))
                keys, end = self.key(at)
                for length in range(1, len(keys) + 1):
                    self.note(outer + keys[:length], at)
                inner: Location = outer + keys
                at = self.skip(self.skip(end) + 1)
            else:
                open_ones.append((outer, count + 1))
                inner = (*outer, count)
            self.note(inner, at)
            at = self._enter(inner, at, open_ones)
        return at

    def _enter(self, place: Location, at: int, open_ones: list[tuple[Location, int]]) -> int:
        """Open the table or array at ``at``, or return the end of the plain value."""
        first = self.text[at]
        if first in "{[":
            open_ones.append((place, -1 if first == "{" else 0))
            return at + 1
        if first in "\"'":
            return at + len(self._string(at))
        match = _SCALAR.match(self.text, at)
        return at + 1 if match is None else match.end()

    def _string(self, at: int) -> str:
        match = _STRING.match(self.text, at)
        return match[0] if match else self.text[at : at + 1]


class _TomlScanner(_Scanner):
    """Reads the headers and the keys of a TOML text."""

    def __init__(self, text: str) -> None:
        super().__init__(text, lambda raw: str(tomllib.loads(f"k = {raw}")["k"]))
        self._elements: dict[Location, int] = {}

    def scan(self) -> dict[Location, int]:
        table: Location = ()
        at = self.skip(0)
        while at < len(self.text):
            if self.text[at] == "[":
                is_element = self.text.startswith("[[", at)
                keys, end = self.key(self.skip(at + 1 + is_element))
                table = self._table(keys, at, is_element=is_element)
                at = self.text.index("]", end) + 1 + is_element
            else:
                keys, end = self.key(at)
                for length in range(1, len(keys) + 1):
                    self.note(table + keys[:length], at)
                at = self.value(table + keys, self.skip(self.skip(end) + 1))
            at = self.skip(at)
        return self.lines

    def _table(self, keys: Location, at: int, *, is_element: bool) -> Location:
        """Return the place of a header's table: within the last elements of arrays of tables."""
        place: Location = ()
        for number, key in enumerate(keys, 1):
            place = (*place, key)
            self.note(place, at)
            if is_element and number == len(keys):
                self._elements[place] = self._elements.get(place, 0) + 1
            if (count := self._elements.get(place)) is not None:
                place = (*place, count - 1)
                self.note(place, at)
        return place
