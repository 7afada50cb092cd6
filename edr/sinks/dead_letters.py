"""``DeadLetters``: the events that a sink will not deliver, in a file of JSON lines.

A line is ``{"at", "sink", "reason", "attempts", "position", "event"}``, so ``jq`` reads it. Lines
are on the disk when ``append`` returns: the worker acknowledges an event after that.

The file is opened for each append, because dead letters are rare, and because ``edr dead`` changes
it while the program runs. A kernel lock on ``NAME.lock`` makes each change one step.

A full file is renamed to ``NAME.1``, and so on. The oldest one of ``keep`` is removed, and logged.
An incomplete last line, which a crash has left, is terminated, and ignored by readers.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from edr._util.log import log_safely
from edr.errors import InvalidEventError
from edr.records import Event
from edr.sinks.appending import AppendedFile
from edr.sinks.files import OPEN_FLAGS, PRIVATE, in_thread, lock, sync_folder, write_all
from edr.sinks.sending import Refused

MAX_SIZE = 16 * 2**20
"""Bytes after which the file is renamed."""

KEEP = 8
"""Renamed files that are kept, at most."""

_logger = logging.getLogger("edr.sinks")


class DeadLetter(NamedTuple):
    """One line of the file."""

    at: datetime
    """When it was given up."""
    sink: str
    """The name of the sink."""
    reason: str
    attempts: int
    """How often the event was sent."""
    position: int
    """Its position in the journal; its number if it came from a subscription."""
    event: Event

    def to_json(self) -> bytes:
        """Return the line, without its end."""
        fields = {
            "at": self.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "sink": self.sink,
            "reason": self.reason,
            "attempts": self.attempts,
            "position": self.position,
            "event": orjson.Fragment(self.event.to_json()),
        }
        return orjson.dumps(fields)

    @classmethod
    def from_json(cls, line: bytes) -> DeadLetter:
        """Return the dead letter of a line.

        Raises:
            ValueError: it is not a dead letter.
        """
        fields: Any = orjson.loads(line)
        try:
            return cls(
                datetime.fromisoformat(fields["at"]),
                str(fields["sink"]),
                str(fields["reason"]),
                int(fields["attempts"]),
                int(fields["position"]),
                Event.from_json(orjson.dumps(fields["event"])),
            )
        except (KeyError, TypeError, InvalidEventError) as exc:
            raise ValueError(f"must be a dead letter: {exc}") from exc


class DeadLetters:
    """The dead letters of one sink.

    Args:
        path: the file, such as ``dead/alarms.jsonl``. It and its folder are created when necessary,
            for this user only.
        max_size: bytes after which the file is renamed.
        keep: renamed files that are kept.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, max_size: int = MAX_SIZE, keep: int = KEEP
    ) -> None:
        self.path: Path = Path(path)
        self._max_size = max_size
        self._keep = keep

    def __repr__(self) -> str:
        return f"<DeadLetters {str(self.path)!r}>"

    async def append(self, sink: str, refused: Sequence[Refused]) -> None:
        """Write a line for each of ``refused``, and return when the disk has them.

        Cancellation: they are written all the same.

        Raises:
            OSError: they could not be written. The file is as it was before.
        """
        now = datetime.now(UTC)
        lines = [
            DeadLetter(
                now, sink, each.reason, each.attempts, each.entry.position, each.entry.event
            ).to_json()
            for each in refused
        ]
        await in_thread(self._write, b"\n".join([*lines, b""]))

    def read(self) -> Iterator[DeadLetter]:
        """Yield the dead letters, oldest first. Lines that cannot be read are left out."""
        for path in self.files():
            with suppress(FileNotFoundError), path.open("rb") as file:
                for line in file:
                    with suppress(ValueError):
                        yield DeadLetter.from_json(line)

    def files(self) -> list[Path]:
        """Return the files that exist, oldest first."""
        numbered = [self._numbered(n) for n in range(self._keep, 0, -1)]
        return [path for path in [*numbered, self.path] if path.exists()]

    def remove(self, is_removed: Callable[[DeadLetter], bool]) -> list[DeadLetter]:
        """Remove and return the dead letters for which ``is_removed`` returns True, in one step.

        ``edr dead drop`` uses it, while the program runs or not. It blocks.

        Raises:
            OSError: a file could not be written; its letters are kept.
        """
        removed: list[DeadLetter] = []
        if not self.path.parent.exists():
            return removed
        with self._locked():
            for path in self.files():
                removed += self._remove_from(path, is_removed)
        return removed

    def _remove_from(
        self, path: Path, is_removed: Callable[[DeadLetter], bool]
    ) -> list[DeadLetter]:
        kept, removed = [], []
        for line in path.read_bytes().splitlines(keepends=True):
            try:
                letter = DeadLetter.from_json(line)
            except ValueError:
                kept.append(line)
                continue
            if is_removed(letter):
                removed.append(letter)
            else:
                kept.append(line)
        if not removed:
            return []
        temporary = path.with_name(f"{path.name}.tmp")
        if kept:
            descriptor = os.open(temporary, OPEN_FLAGS | os.O_TRUNC, PRIVATE)
            try:
                write_all(descriptor, b"".join(kept))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            temporary.replace(path)
        else:
            path.unlink()
        sync_folder(path.parent)
        return removed

    def _numbered(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")

    def _write(self, data: bytes) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._locked():
            if self._is_full():
                self._rotate()
            file = AppendedFile(self.path)
            try:
                file.append(data, sync=True)
            finally:
                file.close()

    def _is_full(self) -> bool:
        try:
            return self.path.stat().st_size >= self._max_size
        except FileNotFoundError:
            return False

    def _rotate(self) -> None:
        oldest = self._numbered(self._keep)
        if self._keep and oldest.exists():
            log_safely(
                logging.WARNING,
                "removed the oldest file of dead letters, %s, as there are %d",
                *(oldest, self._keep),
                logger=_logger,
            )
        for number in range(self._keep - 1, 0, -1):
            with suppress(FileNotFoundError):
                self._numbered(number).replace(self._numbered(number + 1))
        self.path.replace(self._numbered(1))
        sync_folder(self.path.parent)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self.path.with_name(f"{self.path.name}.lock"), OPEN_FLAGS, PRIVATE)
        try:
            lock(descriptor, wait=True)
            yield
        finally:
            os.close(descriptor)
