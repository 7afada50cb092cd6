"""``LogFrames``: the committed pages in the write-ahead log of a database, read as it grows.

SQLite appends a frame for each page that a transaction changes. The last frame of a transaction
marks its commit. Each frame has the salts of the log and a checksum over all frames before it. When
all frames were copied into the database, the log restarts: its header gets new salts, and frames
are overwritten from the beginning.

A crash of the machine may leave gaps in the log, so the first look checks the checksum of every
frame. Afterwards the owner writes one frame after the other, so only the last one may be
incomplete, and only its checksum is checked: in Python that takes 0.1 ms for each frame, longer
than SQLite takes to write it.

The file format is https://www.sqlite.org/fileformat2.html, chapter 4.
"""

from __future__ import annotations

import os
import struct

from edr.journal.schema import PAGE

HEADER_SIZE, FRAME_HEADER = 32, 24
FRAME = FRAME_HEADER + PAGE
FRAMES_AT_ONCE = 256
"""Frames that one read takes, 1 MB."""

MAGIC = {0x377F0682: "<", 0x377F0683: ">"}
"""The first number of a log, and the byte order of its checksums."""


class LogFrames:
    """The committed frames of an open log file.

    Args:
        file: the descriptor of the log; -1 if the log does not exist.
    """

    def __init__(self, file: int) -> None:
        self._file = file
        self._header = b""
        self._is_first = True
        self._restart(b"")

    def _restart(self, header: bytes) -> None:
        self._header = header
        self._order = MAGIC.get(int.from_bytes(header[:4], "big"), "")
        self._checksum = struct.unpack(">II", header[24:32]) if self._order else (0, 0)
        self._offset = HEADER_SIZE
        self._places: dict[int, int] = {}
        self.page_count: int = 0
        """Pages of the database after the last commit; 0 without a commit in the log."""

    @property
    def has_restarted(self) -> bool:
        """Whether the log was restarted or emptied since ``advance``."""
        return self._read(HEADER_SIZE, 0) != self._header

    @property
    def has_grown(self) -> bool:
        """Whether there may be a commit after the last one that ``advance`` read."""
        header = self._read(FRAME_HEADER, self._offset)
        return bool(self._order) and header[8:16] == self._header[16:24]

    def advance(self) -> bool:
        """Read the frames of new commits. Return whether there were any, or a restart."""
        header = self._read(HEADER_SIZE, 0)
        has_changed = header != self._header
        if has_changed:
            self._restart(header if len(header) == HEADER_SIZE else b"")
            self._header = header
        found = self._read_commits()
        self._is_first = False
        return found or has_changed

    def page(self, number: int) -> bytes | None:
        """Return the newest committed version of a page; None if the log does not have it."""
        place = self._places.get(number)
        return None if place is None else self._read(PAGE, place)

    def _read_commits(self) -> bool:
        """Read frames up to the last commit. Return whether there was one."""
        places: dict[int, int] = {}
        uncommitted: dict[int, int] = {}
        offset, checksum = self._offset, self._checksum
        while self._order and (frames := self._read(FRAME * FRAMES_AT_ONCE, offset)):
            sound = self._sound(frames, checksum)
            for at in range(0, sound * FRAME, FRAME):
                number, commits = struct.unpack_from(">II", frames, at)
                uncommitted[number] = offset + at + FRAME_HEADER
                checksum = struct.unpack_from(">II", frames, at + 16)
                if commits:
                    places.update(uncommitted)
                    uncommitted.clear()
                    self._offset, self._checksum = offset + at + FRAME, checksum
                    self.page_count = commits
            offset += sound * FRAME
            if sound < FRAMES_AT_ONCE:
                break
        self._places.update(places)
        return bool(places)

    def _sound(self, frames: bytes, checksum: tuple[int, int]) -> int:
        """Return how many of ``frames`` belong to the log and are completely written."""
        salts = self._header[16:24]
        for number in range(len(frames) // FRAME):
            at = number * FRAME
            if frames[at + 8 : at + 16] != salts or frames[at : at + 4] == bytes(4):
                break
            following = frames[at + FRAME + 8 : at + FRAME + 16]
            if self._is_first or following != salts:
                expected = _add(checksum, frames[at : at + 8], self._order)
                page = frames[at + FRAME_HEADER : at + FRAME]
                if _add(expected, page, self._order) != struct.unpack_from(">II", frames, at + 16):
                    break
            checksum = struct.unpack_from(">II", frames, at + 16)
        else:
            return len(frames) // FRAME
        return number

    def _read(self, size: int, offset: int) -> bytes:
        return os.pread(self._file, size, offset) if self._file >= 0 else b""


def _add(checksum: tuple[int, int], data: bytes, order: str) -> tuple[int, int]:
    """Return the checksum of more data: two sums, each of which adds the other."""
    first, second = checksum
    numbers = iter(struct.unpack(f"{order}{len(data) // 4}I", data))
    for even, odd in zip(numbers, numbers, strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second
