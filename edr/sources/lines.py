"""``LineSplitter``: the lines of a stream of bytes, each of at most 1 MiB."""

from __future__ import annotations

MAX_LINE = 2**20
"""Bytes of a line without its end. An event has at most 256 KiB by default."""


class LineSplitter:
    r"""Splits bytes at ``\n``. It keeps at most ``limit`` bytes of an incomplete line.

    Args:
        limit: bytes of a line.
    """

    def __init__(self, limit: int = MAX_LINE) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes | None]:
        """Return the lines that ``data`` completes; ``None`` for a line that is too long."""
        *ended, rest = data.split(b"\n")
        lines: list[bytes | None] = []
        for piece in ended:
            self._add(piece)
            lines.append(self._taken())
        self._add(rest)
        return lines

    def rest(self) -> list[bytes | None]:
        """Return the last line, if it has no end, and forget it."""
        return [self._taken()] if self._size else []

    def _add(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._limit:
            self._parts.clear()
        else:
            self._parts.append(piece)

    def _taken(self) -> bytes | None:
        line = None if self._size > self._limit else b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        return line
