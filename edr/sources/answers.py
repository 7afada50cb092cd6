"""``Answer``: the answer of a source to the lines that it received; ``Reply`` counts them.

A line is counted once it is decided: accepted after the journal has stored its event, or refused.
Lines are decided in their order. So an answer always covers the first lines of the input, and
``not_stored`` names the first line that it does not cover.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

MAX_REFUSED = 1000
"""Refused lines that an answer lists. The others are counted, so that its memory is bounded."""

MAX_TEXT = 1000
"""Characters of a path or a reason. They may quote the input, which may be 1 MiB."""


class Refused(NamedTuple):
    """A line that is not a valid event, or whose event may not be stored."""

    line: int
    """Its number, from 1; in an array, the place of the document."""
    path: str
    """The place of the fault in the document, such as ``body.a``; empty for the whole of it."""
    reason: str


class NotStored(NamedTuple):
    """The lines that an answer does not cover: the sender should send them again."""

    line: int
    """The first of these lines. Events of this and later lines may or may not be stored."""
    reason: str


class Answer(NamedTuple):
    """The answer to some lines. Blank lines are not counted among accepted and refused ones."""

    accepted: int
    """Events that the journal has stored."""
    refused: tuple[Refused, ...] = ()
    """Refused lines by number, at most 1,000."""
    omitted: int = 0
    """Further refused lines."""
    not_stored: NotStored | None = None
    """Set if lines were not decided, because the journal failed or the source stopped."""

    def to_json(self) -> bytes:
        """Return the JSON object. ``omitted`` and ``not_stored`` are left out if they are empty."""
        document: dict[str, Any] = {
            "accepted": self.accepted,
            "refused": [each._asdict() for each in self.refused],
        }
        if self.omitted:
            document["omitted"] = self.omitted
        if self.not_stored is not None:
            document["not_stored"] = self.not_stored._asdict()
        return orjson.dumps(document)


class Reply:
    """The lines of one answer, while they are read and stored."""

    def __init__(self) -> None:
        self.lines: int = 0
        """Lines that were read, with blank ones."""
        self.accepted: int = 0
        self.refused_count: int = 0
        self.not_stored: NotStored | None = None
        self._refused: list[Refused] = []

    def add_line(self) -> int:
        """Count a line, and return its number."""
        self.lines += 1
        return self.lines

    def refuse(self, line: int, path: str, reason: str) -> None:
        """Add a refused line."""
        self.refused_count += 1
        if len(self._refused) < MAX_REFUSED:
            self._refused.append(Refused(line, _printable(path), _printable(reason)))

    def fail(self, line: int, reason: str) -> None:
        """Note that the lines from ``line`` on were not decided."""
        if self.not_stored is None:
            self.not_stored = NotStored(line, _printable(reason))

    def answer(self) -> Answer:
        """Return the answer of this moment."""
        return Answer(
            self.accepted,
            tuple(sorted(self._refused)),
            self.refused_count - len(self._refused),
            self.not_stored,
        )


def _printable(text: str) -> str:
    """Return ``text`` in a length and an encoding that JSON can have."""
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"
