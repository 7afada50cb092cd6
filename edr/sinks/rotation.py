"""``Rotation``: the older files of a file sink: numbered, compressed, and removed. Its calls block.

``events.jsonl`` is renamed to ``events.jsonl.000001``, the next time to ``.000002``. The numbers
only rise, so no file is renamed twice, and a clock that is set back does not matter.

Each line exists in one file, in every case. A file is compressed under a temporary name, which is
renamed to ``….gz`` when it is complete and on the disk; then the original is removed. After a crash
``tidy`` removes temporary files, and an original whose ``.gz`` exists, and compresses the rest.
"""

from __future__ import annotations

import gzip
import os
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from edr.sinks.files import OPEN_FLAGS, PRIVATE, is_at, lock, sync_folder

CHUNK = 2**18
"""Bytes that are compressed between two checks of ``stop``: about 10 ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotate:
    """When a file is renamed, and how many older files are kept.

    Raises:
        ValueError: a value is out of range.
    """

    size: int = 100 * 2**20
    """Bytes after which the file is renamed, between two batches."""
    keep: int = 10
    """Older files that are kept; the oldest others are removed."""
    compress: bool = True
    """Compress older files with gzip."""

    def __post_init__(self) -> None:
        for name, least in (("size", 1), ("keep", 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")
        if not isinstance(self.compress, bool):
            raise ValueError(f"compress must be true or false, got {self.compress!r}")


class Rotation:
    """The older files of ``path``.

    Args:
        path: the present file.
        rotate: the options.
    """

    def __init__(self, path: Path, rotate: Rotate) -> None:
        self._path = path
        self._rotate = rotate
        self._name = re.compile(rf"{re.escape(path.name)}\.(\d{{6,}})(\.gz|\.gz\.tmp)?")

    def rename(self) -> None:
        """Rename the present file to the next number."""
        number = max(self._numbered(), default=0) + 1
        self._path.rename(self._path.with_name(f"{self._path.name}.{number:06}"))

    def files(self) -> list[Path]:
        """Return the older files, oldest first; of a number with two files, the compressed one."""
        return [
            files.get(".gz") or files[""]
            for _, files in sorted(self._numbered().items())
            if files.keys() & {"", ".gz"}
        ]

    def tidy(self, stop: threading.Event) -> None:
        """Finish what a crash has interrupted, compress, and remove the oldest, until ``stop``.

        Raises:
            OSError: a file cannot be compressed or removed now. No line is lost.
        """
        for files in self._numbered().values():
            if ".gz" in files and "" in files:
                files.pop("").unlink()
            if ".gz.tmp" in files and "" not in files:
                files[".gz.tmp"].unlink()
        for path in self.files()[: -self._rotate.keep]:
            path.unlink()
        if self._rotate.compress:
            for path in self.files():
                if path.suffix != ".gz" and not stop.is_set():
                    self._compress(path, stop)

    def _numbered(self) -> dict[int, dict[str, Path]]:
        """Return the files by number and suffix."""
        found: dict[int, dict[str, Path]] = {}
        for path in self._path.parent.iterdir():
            match = self._name.fullmatch(path.name)
            if match:
                found.setdefault(int(match[1]), {})[match[2] or ""] = path
        return found

    def _compress(self, path: Path, stop: threading.Event) -> None:
        temporary = path.with_name(f"{path.name}.gz.tmp")
        descriptor = os.open(temporary, OPEN_FLAGS, PRIVATE)
        with os.fdopen(descriptor, "wb") as raw:
            # Another sink, or another process, may be compressing this file.
            if not lock(descriptor, wait=False) or not is_at(temporary, descriptor):
                return
            try:
                if self._is_compressed(path, raw, stop):
                    temporary.rename(path.with_name(f"{path.name}.gz"))
                    sync_folder(path.parent)
                    path.unlink()
                else:
                    temporary.unlink()
            except OSError:
                temporary.unlink(missing_ok=True)
                raise

    def _is_compressed(self, path: Path, raw: BinaryIO, stop: threading.Event) -> bool:
        """Write all of ``path`` to ``raw``; return False if it was stopped before the end."""
        raw.truncate(0)  # of a crash
        with (
            path.open("rb") as original,
            gzip.GzipFile(fileobj=raw, mode="wb", filename="", mtime=0) as compressed,
        ):
            while chunk := original.read(CHUNK):
                if stop.is_set():
                    return False
                compressed.write(chunk)
        raw.flush()
        os.fsync(raw.fileno())
        return True
