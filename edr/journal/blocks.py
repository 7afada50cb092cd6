"""``BlockTable``: the table of blocks, and ``SqliteBlocks``, which reads it through SQLite.

A ``Fetcher`` reads any table of blocks: that of the owner through SQLite, and that of a journal
which another process has open through ``tree``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import closing
from typing import Any, Protocol

from edr.journal.codec import Block
from edr.journal.schema import COLUMNS, header_in

MAX_POSITION = 2**63 - 2
"""A position that no journal reaches: the highest row id of SQLite, less one."""


class BlockTable(Protocol):
    """The blocks of a journal, by their first positions.

    Headers are blocks without keys and rows.

    Raises:
        sqlite3.DatabaseError: from each method, if a header is damaged.
    """

    def ascending(self, position: int) -> Generator[Block, None, None]:
        """Yield headers in order, from the last one that begins at ``position`` or before.

        Without such a block, it begins with the oldest.
        """
        ...

    def descending(self, before: int | None = None) -> Generator[Block, None, None]:
        """Yield the headers of the blocks that begin before ``before``, the newest first."""
        ...

    def stored(self, column: str, first: int) -> Any:
        """Return the unchecked ``keys`` or ``rows`` of the block at ``first``; None if missing."""
        ...

    def size(self, first: int) -> int:
        """Return the bytes of the keys and rows of the block at ``first``; 0 if missing."""
        ...


class SqliteBlocks:
    """The table of blocks, read through SQLite."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def ascending(self, position: int) -> Generator[Block, None, None]:
        """See ``BlockTable``."""
        return self._headers(
            "first >= coalesce((SELECT max(first) FROM blocks WHERE first <= :at), :at) "
            "ORDER BY first",
            position,
        )

    def descending(self, before: int | None = None) -> Generator[Block, None, None]:
        """See ``BlockTable``."""
        end = MAX_POSITION + 1 if before is None else before
        return self._headers("first < :at ORDER BY first DESC", end)

    def stored(self, column: str, first: int) -> Any:
        """See ``BlockTable``."""
        found = self._connection.execute(
            f"SELECT {column} FROM blocks WHERE first = ?", (first,)
        ).fetchone()
        return None if found is None else found[0]

    def size(self, first: int) -> int:
        """See ``BlockTable``."""
        return self.stored("length(keys) + length(rows)", first) or 0

    def _headers(self, condition: str, at: int) -> Generator[Block, None, None]:
        rows = self._connection.execute(
            f"SELECT {COLUMNS} FROM blocks WHERE {condition}", {"at": at}
        )
        with closing(rows):
            yield from map(header_in, rows)
