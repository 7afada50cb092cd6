r"""What keeps a line a line: characters that break lines, steer terminals or turn text around.

A line that people and tools read must not be what an event's author wants it to look like. So in
``text`` and ``logfmt`` none of these stands as itself, wherever it came from: control characters
(C0, DEL, C1; among them line feeds, escapes and the backspace), the line and paragraph separators,
and the marks that change the direction of text. Each becomes ``\uXXXX``, as in JSON.
"""

from __future__ import annotations

import re

UNSAFE = "\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff"
"""For use within a class of a regular expression."""

_unsafe = re.compile(f"[{UNSAFE}]")


def _escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


def one_line(text: str) -> str:
    """Return ``text`` with each unsafe character escaped; in JSON text this changes no value."""
    return _unsafe.sub(_escape, text)
