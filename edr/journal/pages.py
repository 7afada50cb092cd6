"""``Pages``: finds the blocks of a damaged database in its pages, without SQLite.

If the tree of a table is damaged, SQLite cannot read the table, although nearly all pages are
sound. So a salvage reads each page alone. A leaf of a table has whole rows, with the numbers of the
pages on which they continue. A row with the form of a block and a correct checksum is a block.

Pages in the log are newer than those in the file, up to the last complete commit.

The file format is https://www.sqlite.org/fileformat2.html: chapters 1.5 (free pages) and 4.1 (the
log). ``cells`` reads the rows.

Rejected: reading a copy with SQLite. One blank page, the first or the root of a tree, loses all
blocks there and none here, and the copy needs as much space again.
"""

from __future__ import annotations

import os
import struct
import zlib
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self

from edr.journal.cells import LEAF, Cells, NoRowError, short
from edr.journal.codec import Block, DamagedBlockError, check_header
from edr.journal.schema import PAGE, ConsumerState, Metadata

LOG_HEADER, FRAME_HEADER = 32, 24

LOCK_PAGE = (1 << 30) // PAGE + 1
"""The page with the bytes that SQLite locks. It is never used."""


class Found(NamedTuple):
    """The place of a block."""

    first: int
    last: int
    page: int
    cell: int


class Pages:
    """The pages of the database at ``path``, with its log. A context manager."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._size = os.fstat(self._file.fileno()).st_size // PAGE
        self._log = None
        self._frames: dict[int, int] = {}
        with suppress(OSError):
            self._log = path.with_name(path.name + "-wal").open("rb")
            self._frames = _frames_in(self._log.read())
        self.count: int = max([self._size, *self._frames])
        self._cells = Cells(self._page, self.count)
        self.metadata: Metadata | None = None
        self.consumers: dict[str, ConsumerState] = {}
        self.blocks: list[Found] = []
        """The blocks with sound headers, by position, without overlaps."""
        self.is_whole: bool = self._has_claimed_length()
        """Whether the file is as long as its header claims, and no used page is blank. Otherwise
        entries may be missing after the last one that was found."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        if self._log is not None:
            self._log.close()

    def scan(self) -> None:
        """Find ``blocks``, ``metadata`` and ``consumers``."""
        found: list[Found] = []
        may_be_blank = self._free() | {LOCK_PAGE}
        for number in range(1, self.count + 1):
            page = self._page(number)
            if not page.strip(b"\0"):
                self.is_whole = self.is_whole and number in may_be_blank
            elif page[0] == LEAF:
                for cell in range(min(short(page, 3), PAGE // 8)):
                    self._take(number, cell, found)
        self.blocks = _without_overlaps(found)

    def block(self, found: Found) -> Block:
        """Return a block that ``scan`` found. Its rows may be damaged.

        Raises:
            DamagedBlockError: it cannot be read.
        """
        with suppress(NoRowError):
            return Block(found.first, *self._cells.row(found.page, found.cell)[1][1:])
        raise DamagedBlockError

    def _take(self, number: int, cell: int, found: list[Found]) -> None:
        try:
            rowid, values = self._cells.row(number, cell)
            if len(values) == len(Block._fields) and isinstance(values[-1], bytes):
                block = Block(rowid, *values[1:])
                check_header(block)
                found.append(Found(block.first, block.last, number, cell))
            elif len(values) == 3 and isinstance(values[2], bytes):
                self._take_record(rowid, values[1], values[2])
        except (NoRowError, DamagedBlockError, TypeError, ValueError):
            pass  # an unused or damaged page; in the latter case, positions are missing

    def _take_record(self, rowid: int, crc: int, data: bytes) -> None:
        if zlib.crc32(data) != crc:
            raise DamagedBlockError
        # An unused page may have an older state, which has lower positions.
        with suppress(ValueError, TypeError):
            metadata = Metadata.from_bytes(data)
            if rowid == 1 and (
                self.metadata is None or self.metadata.high_water_mark <= metadata.high_water_mark
            ):
                self.metadata = metadata
            return
        with suppress(ValueError, TypeError):
            consumer = ConsumerState.from_bytes(data)
            known = self.consumers.get(consumer.name)
            if known is None or known.delivered_up_to <= consumer.delivered_up_to:
                self.consumers[consumer.name] = consumer

    def _page(self, number: int) -> bytes:
        at = self._frames.get(number)
        if at is not None and self._log is not None:
            return os.pread(self._log.fileno(), PAGE, at).ljust(PAGE, b"\0")
        return os.pread(self._file.fileno(), PAGE, (number - 1) * PAGE).ljust(PAGE, b"\0")

    def _free(self) -> set[int]:
        """Return the numbers of the unused pages."""
        free: set[int] = set()
        trunk = int.from_bytes(self._page(1)[32:36], "big")
        while 0 < trunk <= self.count and trunk not in free:
            page = self._page(trunk)
            following, count = struct.unpack_from(">II", page)
            free.add(trunk)
            free.update(struct.unpack_from(f">{min(count, PAGE // 4 - 2)}I", page, 8))
            trunk = following
        return free

    def _has_claimed_length(self) -> bool:
        header = self._page(1)
        claimed = int.from_bytes(header[28:32], "big")
        return header.startswith(b"SQLite format 3\0") and 0 < claimed <= self.count


def _frames_in(log: bytes) -> dict[int, int]:
    """Return the offset in the log of the newest version of each page, up to the last commit."""
    frames: dict[int, int] = {}
    uncommitted: dict[int, int] = {}
    salts = log[16:24]
    for at in range(LOG_HEADER, len(log) - FRAME_HEADER - PAGE + 1, FRAME_HEADER + PAGE):
        number, commits = struct.unpack_from(">II", log, at)
        if log[at + 8 : at + 16] != salts or not number:
            break
        uncommitted[number] = at + FRAME_HEADER
        if commits:
            frames.update(uncommitted)
            uncommitted.clear()
    return frames


def _without_overlaps(found: list[Found]) -> list[Found]:
    """Drop blocks that others contain: unused pages may have older versions."""
    blocks: list[Found] = []
    for each in sorted(found, key=lambda block: (block.first, -block.last)):
        if not blocks or each.first > blocks[-1].last:
            blocks.append(each)
    return blocks
