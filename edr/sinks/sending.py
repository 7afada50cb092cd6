"""``Sending``: what is left to send of one batch, and what became of its entries.

A batch is sent as a whole until it is delivered or refused. A refused one is cut into parts: its
halves if it is too large, otherwise its entries one by one. The parts are sent in order, each as a
batch of its own. A failed part stays the first one, whole: a receiver may have taken any of it.

Entries that will not be sent are ``letters``, until the dead letters have stored them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from edr.journal import Entry
from edr.sinks.errors import RejectError


class Refused(NamedTuple):
    """An entry that will not be sent again."""

    entry: Entry
    reason: str
    attempts: int
    """How often it was sent."""
    is_expired: bool = False
    """Whether the worker gave it up; otherwise the receiver refused it."""


class _Part:
    """Entries that are sent together."""

    __slots__ = ("attempts", "entries")

    def __init__(self, entries: Sequence[Entry], attempts: int = 0) -> None:
        self.entries = list(entries)
        self.attempts = attempts


class Sending:
    """The parts of one batch. It is true while an entry is neither delivered nor stored elsewhere.

    Args:
        entries: the batch; at least one.
        is_repeated: they are dead letters, which stay in their file until they are delivered.
    """

    def __init__(self, entries: Iterable[Entry], *, is_repeated: bool = False) -> None:
        self.is_repeated: bool = is_repeated
        self._parts = deque([_Part(list(entries))])
        self.refused: list[Refused] = []
        """Entries for the dead letters. The owner clears it once they are stored."""

    def __bool__(self) -> bool:
        return bool(self._parts or self.refused)

    def __len__(self) -> int:
        return sum(len(part.entries) for part in self._parts) + len(self.refused)

    @property
    def has_parts(self) -> bool:
        """Whether something is left to send."""
        return bool(self._parts)

    @property
    def first(self) -> Sequence[Entry]:
        """The entries to send now."""
        return self._parts[0].entries

    @property
    def entries(self) -> list[Entry]:
        """All entries that are not settled, in order of the attempts to come."""
        return [each.entry for each in self.refused] + [
            entry for part in self._parts for entry in part.entries
        ]

    def began(self) -> None:
        """Count an attempt of the first part."""
        self._parts[0].attempts += 1

    def delivered(self) -> list[Entry]:
        """Remove the first part and return its entries."""
        return self._parts.popleft().entries

    def rejected(self, error: RejectError) -> list[Entry]:
        """Cut the first part as ``error`` demands, and return the entries that were delivered."""
        part = self._parts.popleft()
        count = len(part.entries)
        if isinstance(error.reasons, str):
            if count == 1:
                self.refused.append(Refused(part.entries[0], error.reasons, part.attempts))
            elif error.too_large:
                middle = (count + 1) // 2
                self._prepend([part.entries[:middle], part.entries[middle:]], part.attempts)
            else:
                self._prepend([[entry] for entry in part.entries], part.attempts)
            return []
        named = {index for index in error.reasons if 0 <= index < count}
        if not named:  # a fault of the sink; the batch is cut, so that it cannot go on forever
            self._parts.appendleft(part)
            return self.rejected(RejectError("the sink rejected events that the batch has not"))
        reasons = error.reasons
        for index in sorted(named):
            self.refused.append(Refused(part.entries[index], reasons[index], part.attempts))
        others = [entry for index, entry in enumerate(part.entries) if index not in named]
        if error.delivered:
            return others
        if others:
            self._prepend([others], part.attempts)
        return []

    def expire(self, is_expired: Callable[[Entry], bool], error: str | None) -> None:
        """Give up the entries for which ``is_expired`` returns True, after the last ``error``."""
        reason = f"not delivered in time: {error or 'no attempt was made'}"
        for part in self._parts:
            over = [entry for entry in part.entries if is_expired(entry)]
            if over:
                self.refused += [
                    Refused(entry, reason, part.attempts, is_expired=True) for entry in over
                ]
                part.entries = [entry for entry in part.entries if not is_expired(entry)]
        self._remove_empty()

    def remove(self, is_unwanted: Callable[[Entry], bool]) -> list[Entry]:
        """Remove and return the entries for which ``is_unwanted`` returns True."""
        removed = []
        for part in self._parts:
            removed += [entry for entry in part.entries if is_unwanted(entry)]
            part.entries = [entry for entry in part.entries if not is_unwanted(entry)]
        self._remove_empty()
        return removed

    def _prepend(self, parts: Iterable[Sequence[Entry]], attempts: int) -> None:
        self._parts.extendleft(reversed([_Part(entries, attempts) for entries in parts]))

    def _remove_empty(self) -> None:
        self._parts = deque(part for part in self._parts if part.entries)
