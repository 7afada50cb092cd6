r"""Escapes characters that break lines, control terminals or change the direction of text.

The author of an event must not be able to forge a line of a log. So ``text`` and ``logfmt`` escape
control characters (C0, DEL, C1; among them line feeds, escapes and the backspace), the line and
paragraph separators, and the marks that change the direction of text. Each becomes ``\uXXXX``, as
in JSON.
"""

from __future__ import annotations

import re

UNSAFE = "\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff"
"""These characters, for a character class of a regular expression."""

_unsafe = re.compile(f"[{UNSAFE}]")


def _escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


def one_line(text: str) -> str:
    """Return ``text`` with each unsafe character escaped. JSON keeps its meaning."""
    return _unsafe.sub(_escape, text)
