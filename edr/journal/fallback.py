"""``FallbackReader``: reads a journal in place, or a salvaged copy of its damaged files.

Sound files are read as of the last commit (``snapshot``). Damaged files are copied into a temporary
folder, see ``TMPDIR``, and the copy is opened as the owner would open the journal. It has the
entries that the owner would read, and only the copy is salvaged.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

from edr.journal.copying import copy_journal
from edr.journal.errors import JournalUnusableError
from edr.journal.folder import DATABASE
from edr.journal.retention import Limits
from edr.journal.snapshot import Snapshot, SnapshotReader, UnreadableError
from edr.journal.store import BlockStore

T = TypeVar("T")


class FallbackReader:
    """Reads the journal in a folder. Use it in one thread at a time, and close it.

    Args:
        path: the folder of the journal.

    Raises:
        JournalUnusableError: the folder has no journal of this format version.
    """

    def __init__(self, path: Path) -> None:
        check_folder(path)
        self.path: Path = path
        self._reader: SnapshotReader | None = None
        self._copy: BlockStore | None = None
        self._copies = ExitStack()

    @property
    def has_copy(self) -> bool:
        """Whether it reads a copy."""
        return self._copy is not None

    @property
    def is_salvaged(self) -> bool:
        """Whether it reads a copy that was salvaged."""
        return self._copy is not None and self._copy.salvaged is not None

    def has_changed(self) -> bool:
        """Return whether the files may have changed since the last read. This is cheap."""
        return self._reader is None or self._reader.has_changed()

    def read(self, query: Callable[[Snapshot], T]) -> T:
        """Return the result of ``query`` on the files, or on a copy if they are damaged.

        Once it has made a copy, it reads the copy until ``drop_copy``.

        Raises:
            JournalUnusableError: it is not a journal of this version, or cannot be salvaged.
            JournalError: it is written faster than it can be read.
            OSError: it cannot be read, or the copy cannot be written.
        """
        if self._copy is None:
            try:
                if self._reader is None:
                    self._reader = SnapshotReader(self.path)
                return self._reader.read(query)
            except (UnreadableError, FileNotFoundError):
                pass
        store = self.copied()
        return store.read(
            lambda fetcher: query(
                Snapshot(
                    store.id,
                    store.missing_ranges,
                    store.consumers,
                    fetcher,
                    store.first,
                    store.last,
                    store.bytes,
                )
            )
        )

    def copied(self) -> BlockStore:
        """Return the store of a copy. See ``read`` for its errors."""
        if self._copy is None:
            self._copy = self._copies.enter_context(_copied(self.path))
        return self._copy

    def drop_copy(self) -> None:
        """Remove the copy, and read the files in place again. Idempotent."""
        self._copy = None
        self._copies.close()

    def close(self) -> None:
        """Close the files and remove the copy. A later ``read`` opens them again. Idempotent."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        self.drop_copy()


@contextmanager
def _copied(path: Path) -> Iterator[BlockStore]:
    """Copy the journal in ``path`` into a temporary folder, and open the copy."""
    check_folder(path)
    with tempfile.TemporaryDirectory(prefix="edr-journal-") as folder:
        copy = Path(folder) / "copy"
        copy_journal(path, copy)
        store = BlockStore(
            copy,
            Limits(),
            full_sync=False,
            now=lambda: time.time_ns() // 1000,
            report=lambda _: None,  # a salvage of the copy
        )
        try:
            store.open()
        except JournalUnusableError as exc:
            raise JournalUnusableError(exc.reason, path) from exc
        try:
            yield store
        finally:
            store.close()


def check_folder(path: Path) -> None:
    """Raise ``JournalUnusableError`` unless ``path`` looks like the folder of a journal."""
    if not path.is_dir():
        raise JournalUnusableError("the folder does not exist; check the path", path)
    if not (path / DATABASE).is_file():
        raise JournalUnusableError(
            f"must be the folder of a journal, but it has no {DATABASE}; check the path", path
        )
