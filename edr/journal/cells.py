"""``Cells``: decodes the rows in the pages of a database, without SQLite.

The file format is https://www.sqlite.org/fileformat2.html, chapters 1.6 (trees) and 2.1 (rows).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any

from edr.journal.schema import PAGE

LEAF = 0x0D
"""The type of a page that has rows."""

INTERIOR = 0x05
"""The type of a page that has the numbers of other pages, each with its highest row id."""

MAX_LOCAL, MIN_LOCAL = PAGE - 35, (PAGE - 12) * 32 // 255 - 23
"""Bytes of a row on its leaf: all, up to the first number; otherwise at least the second."""


class NoRowError(Exception):
    """The bytes are not a row, or not a page of a tree."""


class Cells:
    """The cells of pages.

    Args:
        page: returns the page of a number, padded with zeros.
        count: number of pages of the database.

    Raises:
        NoRowError: from each method, if the cell does not exist.
    """

    def __init__(self, page: Callable[[int], bytes], count: int) -> None:
        self._page = page
        self._count = count

    def row(self, number: int, cell: int) -> tuple[int, list[Any]]:
        """Return the row id and the values of a row."""
        rowid, size, local, page, at = self._start_of_row(number, cell)
        parts = [page[at : at + local]]
        if size > local:
            parts += self._overflow(page[at + local : at + local + 4], size - local)
        return rowid, _values(b"".join(parts))

    def start(self, number: int, cell: int, count: int) -> list[Any]:
        """Return the row id and the first ``count`` values of a row, without its further pages.

        They must be numbers, of which the leaf always has about forty.
        """
        rowid, _, local, page, at = self._start_of_row(number, cell)
        return [rowid, *_values(page[at : at + local], count)[1:]]

    def child(self, number: int, cell: int) -> tuple[int, int]:
        """Return the page of an interior cell, and the highest row id below it."""
        page = self._page(number)
        try:
            at = short(page, INTERIOR_HEADER + 2 * cell)
            rowid, _ = varint(page, at + 4)
        except IndexError:
            raise NoRowError from None
        return int.from_bytes(page[at : at + 4], "big"), rowid

    def rowid(self, number: int, cell: int) -> int:
        """Return the row id of a row."""
        return self._start_of_row(number, cell)[0]

    def _start_of_row(self, number: int, cell: int) -> tuple[int, int, int, bytes, int]:
        page = self._page(number)
        start = FIRST_PAGE_HEADER if number == 1 else 0
        try:
            at = short(page, start + LEAF_HEADER + 2 * cell)
            size, at = varint(page, at)
            rowid, at = varint(page, at)
        except (IndexError, struct.error):
            raise NoRowError from None
        local = size
        if size > MAX_LOCAL:
            local = MIN_LOCAL + (size - MIN_LOCAL) % (PAGE - 4)
            if local > MAX_LOCAL:
                local = MIN_LOCAL
        if at + local > PAGE or size > PAGE * self._count:
            raise NoRowError
        return rowid, size, local, page, at

    def _overflow(self, pointer: bytes, left: int) -> Iterator[bytes]:
        while left > 0:
            number = int.from_bytes(pointer, "big")
            if not 1 < number <= self._count:
                raise NoRowError
            page = self._page(number)
            part = page[4 : 4 + min(left, PAGE - 4)]
            left -= len(part)
            pointer = page[:4]
            yield part


LEAF_HEADER, INTERIOR_HEADER = 8, 12
"""Bytes of the header of a page, before its list of cells."""

FIRST_PAGE_HEADER = 100
"""Bytes of the header of the database, on page 1 before that of the page."""


def short(page: bytes, at: int) -> int:
    """Return the unsigned 16-bit number at ``at``."""
    return int.from_bytes(page[at : at + 2], "big")


def varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the number of variable length at ``at``, and the place after it.

    Raises:
        IndexError: the data ends within it.
    """
    value = 0
    for _ in range(8):
        byte = data[at]
        at += 1
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at
    return value << 8 | data[at], at + 1


def _values(record: bytes, count: int | None = None) -> list[Any]:
    try:
        end, at = varint(record, 0)
        types: list[int] = []
        while at < end and (count is None or len(types) < count):
            kind, at = varint(record, at)
            types.append(kind)
    except IndexError:
        raise NoRowError from None
    at = max(at, end)
    values: list[Any] = []
    for kind in types:
        size = _INTEGERS.get(kind)
        if kind == 0:
            values.append(None)
        elif kind in (8, 9):
            values.append(kind - 8)
        elif size is not None:
            values.append(int.from_bytes(record[at : at + size], "big", signed=True))
            at += size
        elif kind >= 12:
            size = (kind - 12) // 2  # an odd number is that of a text
            values.append(record[at : at + size])
            at += size
        else:
            raise NoRowError
    if at > len(record):
        raise NoRowError
    return values


_INTEGERS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
"""The types of integer values, and their bytes."""
