"""``Tree``: the rows of a table in the order of their ids, and ``TreeBlocks``: a table of blocks.

They read pages, not a connection, so they can read a journal that another process has open.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator, Iterator
from typing import Any

from edr.journal.cells import (
    FIRST_PAGE_HEADER,
    INTERIOR,
    INTERIOR_HEADER,
    LEAF,
    Cells,
    NoRowError,
    short,
)
from edr.journal.codec import HEADER, Block
from edr.journal.schema import header_in

MAX_DEPTH = 20
"""Levels of a tree, at most. A damaged page may lead back to one above it."""

ROOT_COLUMN, NAME_COLUMN = 3, 1
"""Columns of the table of tables."""

COLUMN_NUMBERS = {"keys": len(HEADER), "rows": len(HEADER) + 1}


class Tree:
    """A table, from the page of its root.

    Args:
        page: returns the page of a number, padded with zeros.
        cells: decodes its cells.
        root: number of the page of its root.

    Raises:
        NoRowError: from each method, if a page is damaged.
    """

    def __init__(self, page: Callable[[int], bytes], cells: Cells, root: int) -> None:
        self._page = page
        self.cells: Cells = cells
        self._root = root

    def ascending(self, start: int = 0) -> Iterator[tuple[int, int]]:
        """Yield the place of each row from id ``start`` on: its page and cell."""
        yield from self._ascending(self._root, start, 0)

    def descending(self, before: int) -> Iterator[tuple[int, int]]:
        """Yield the place of each row with an id below ``before``, the highest first."""
        yield from self._descending(self._root, before, 0)

    def find(self, rowid: int) -> tuple[int, int] | None:
        """Return the place of the row of an id, or None."""
        for place in self._ascending(self._root, rowid, 0):
            return place if self.cells.rowid(*place) == rowid else None
        return None

    def _ascending(self, number: int, start: int, depth: int) -> Iterator[tuple[int, int]]:
        is_leaf, count, right = self._look(number, depth)
        if is_leaf:
            low = self._bisect(count, start, lambda cell: self.cells.rowid(number, cell))
            yield from ((number, cell) for cell in range(low, count))
            return
        low = self._bisect(count, start, lambda cell: self.cells.child(number, cell)[1])
        for cell in range(low, count):
            yield from self._ascending(self.cells.child(number, cell)[0], start, depth + 1)
        yield from self._ascending(right, start, depth + 1)

    def _descending(self, number: int, before: int, depth: int) -> Iterator[tuple[int, int]]:
        is_leaf, count, right = self._look(number, depth)
        if is_leaf:
            low = self._bisect(count, before, lambda cell: self.cells.rowid(number, cell))
            yield from ((number, cell) for cell in reversed(range(low)))
            return
        low = self._bisect(count, before, lambda cell: self.cells.child(number, cell)[1])
        # The child at ``low`` may have ids on both sides of ``before``.
        if low == count:
            yield from self._descending(right, before, depth + 1)
        else:
            low += 1
        for cell in reversed(range(low)):
            yield from self._descending(self.cells.child(number, cell)[0], before, depth + 1)

    def _look(self, number: int, depth: int) -> tuple[bool, int, int]:
        """Return whether a page is a leaf, its number of cells, and its rightmost child."""
        page = self._page(number)
        start = FIRST_PAGE_HEADER if number == 1 else 0
        kind = page[start]
        if kind not in (LEAF, INTERIOR) or depth > MAX_DEPTH or (kind == INTERIOR and start):
            raise NoRowError
        right = int.from_bytes(page[start + INTERIOR_HEADER - 4 : start + INTERIOR_HEADER], "big")
        return kind == LEAF, short(page, start + 3), right

    def _bisect(self, count: int, wanted: int, rowid: Callable[[int], int]) -> int:
        """Return the first cell whose row id is ``wanted`` or more."""
        low, high = 0, count
        while low < high:
            middle = (low + high) // 2
            if rowid(middle) < wanted:
                low = middle + 1
            else:
                high = middle
        return low


def tables(page: Callable[[int], bytes], cells: Cells) -> dict[str, Tree]:
    """Return the tables of a database by name.

    Raises:
        NoRowError: the first page is damaged.
    """
    found = {}
    for place in Tree(page, cells, 1).ascending():
        _, values = cells.row(*place)
        if not isinstance(values[NAME_COLUMN], bytes) or not isinstance(values[ROOT_COLUMN], int):
            raise NoRowError
        name = values[NAME_COLUMN].decode(errors="replace")
        found[name] = Tree(page, cells, values[ROOT_COLUMN])
    return found


class TreeBlocks:
    """The table of blocks, read from a tree."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    def ascending(self, position: int) -> Generator[Block, None, None]:
        """See ``BlockTable``."""
        before = next(self._headers(self._tree.descending(position + 1)), None)
        return self._headers(self._tree.ascending(position if before is None else before.first))

    def descending(self, before: int | None = None) -> Generator[Block, None, None]:
        """See ``BlockTable``."""
        return self._headers(self._tree.descending(2**63 - 1 if before is None else before))

    def stored(self, column: str, first: int) -> Any:
        """See ``BlockTable``."""
        try:
            place = self._tree.find(first)
            if place is None:
                return None
            return self._tree.cells.row(*place)[1][COLUMN_NUMBERS[column]]
        except (NoRowError, IndexError):
            raise _damaged() from None

    def size(self, first: int) -> int:
        """See ``BlockTable``."""
        return sum(len(self.stored(column, first) or b"") for column in COLUMN_NUMBERS)

    def _headers(self, places: Iterator[tuple[int, int]]) -> Generator[Block, None, None]:
        try:
            for place in places:
                yield header_in(self._tree.cells.start(*place, len(HEADER)))
        except NoRowError:
            raise _damaged() from None


def _damaged() -> sqlite3.DatabaseError:
    return sqlite3.DatabaseError("a page of the table of blocks is damaged")
