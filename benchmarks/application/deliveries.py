"""``Deliveries``: the events that a sink delivered, and which of them more than once."""

from __future__ import annotations

import gzip
import json
from collections.abc import Collection, Iterator
from pathlib import Path

from benchmarks.application.load import CLIENT_BITS


class Deliveries:
    """Counts deliveries. ``end_period`` returns those of one period that were repetitions."""

    def __init__(self) -> None:
        self.numbers: set[int] = set()
        self.repeated: int = 0
        self.disordered: int = 0
        """Events whose first delivery came after the first one of a later event."""
        self._last: dict[int, int] = {}
        self._before = (0, 0)

    def add(self, number: int) -> None:
        """Count a delivery."""
        if number in self.numbers:
            self.repeated += 1
            return
        self.numbers.add(number)
        client = number >> CLIENT_BITS
        self.disordered += number < self._last.get(client, -1)
        self._last[client] = max(number, self._last.get(client, -1))

    def end_period(self) -> tuple[int, bool]:
        """Return the repetitions since the last call, and whether there were new deliveries."""
        repeated, new = self._before
        self._before = self.repeated, len(self.numbers)
        return self.repeated - repeated, len(self.numbers) > new

    def lost(self, accepted: Collection[int]) -> int:
        """Return how many of the ``accepted`` events were not delivered."""
        return len(set(accepted) - self.numbers)


class FileDeliveries(Deliveries):
    """The deliveries of a file sink.

    Args:
        path: its file. Rotated files have numbers, and ``.gz`` if they are compressed.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.cut: int = 0
        """Lines that a kill has cut."""
        self._path = path
        self._number = 1
        """Of the file to read, once it was rotated."""
        self._offset = 0

    def read(self) -> None:
        """Count the lines that were added since the last call."""
        while (rotated := self._rotated()) is not None:
            self._add(rotated[self._offset :])
            self._number += 1
            self._offset = 0
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._offset)
                self._offset += self._add(file.read())

    def _rotated(self) -> bytes | None:
        """Return the content of the present file after its rotation."""
        name = f"{self._path.name}.{self._number:06}"
        plain = self._path.with_name(name)
        if plain.exists():
            return plain.read_bytes()
        packed = self._path.with_name(f"{name}.gz")
        return gzip.decompress(packed.read_bytes()) if packed.exists() else None

    def _add(self, data: bytes) -> int:
        """Count the complete lines of ``data``, and return their length."""
        complete = data[: data.rfind(b"\n") + 1]
        for line in complete.splitlines():
            try:
                number = number_of(json.loads(line))
            except ValueError:
                self.cut += 1
            else:
                if number is not None:
                    self.add(number)
        return len(complete)


def number_of(event: dict[str, dict[str, int]]) -> int | None:
    """Return the number of an event of ``Load``; ``None`` for another, such as an alert."""
    return event["body"].get("n")


def numbers_of(body: bytes) -> Iterator[int]:
    """Yield the numbers of the events in a request."""
    document = json.loads(body)
    for event in document if isinstance(document, list) else [document]:
        number = number_of(event)
        if number is not None:
            yield number
