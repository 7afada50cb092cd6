"""Cursors: a position in a stream as text, such as ``9f2c41d0-48113``.

A client stores the cursor of the last event that it received, and continues after it. The first
part names the window (or the journal), so that a cursor of an earlier process is recognised. The
second part is the position. For clients the text is opaque.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_CURSOR = re.compile(r"([0-9A-Za-z_]{1,64})-([0-9]{1,19})", re.ASCII)

NOWHERE = "0-0"
"""A cursor of no window. A place that must still report an unknown loss has it, so that a client
that disconnects before the report receives the report when it returns."""


class Cursor(NamedTuple):
    """A parsed cursor."""

    window_id: str
    position: int

    def __str__(self) -> str:
        return f"{self.window_id}-{self.position}"


def parse_cursor(text: object) -> Cursor | None:
    """Return the cursor of ``text``; ``None`` if it is not the text of a cursor.

    A cursor has at most 84 characters, so text of any length is refused in constant time.
    """
    match = _CURSOR.fullmatch(text) if isinstance(text, str) else None
    return None if match is None else Cursor(match[1], int(match[2]))
