"""What goes wrong with a journal: whose fault it is, and what became of the events."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from edr import EdrError

if TYPE_CHECKING:
    from pathlib import Path

    from edr import Event

MAX_REFUSALS = 32
"""Refusals that an error keeps. Each holds its event; the count goes on."""

MAX_NAMED_REFUSALS = 3
"""Refusals that the text of an error names. A line of a log has to stay readable."""


class JournalError(EdrError):
    """The root of all that a journal raises; raised itself for what has no name of its own.

    From ``append``, ``flush`` and a durable emit it means: not known to be stored. The journal
    keeps what it accepted and tries again by itself, so the event may yet be stored.
    """


class JournalInUseError(JournalError):
    """Another process, or another object of this one, has the journal open. It was not touched."""


class JournalFullError(JournalError):
    """There is no room: on the disk, within its own limit, or in what waits to be stored.

    It recovers by itself when there is room again.
    """


class Refusal(NamedTuple):
    """An event that a journal will never store."""

    event: Event
    reason: str
    """Why, in the words of the storage: SQLite's, or the server's."""


class EventsRefusedError(JournalError):
    """A journal refused events permanently. They are not stored, and it does not try again.

    The other events of the same call were stored.

    Args:
        refusals: the refused events; at least one.
        count: how many events were refused, if that is more than ``refusals`` has.

    Attributes:
        refusals: the first 32 of them, in the order in which they were accepted.
        count: how many events were refused.
    """

    def __init__(self, refusals: Iterable[Refusal], count: int = 0) -> None:
        given = tuple(refusals)
        self.count: int = max(count, len(given))
        self.refusals: tuple[Refusal, ...] = given[:MAX_REFUSALS]
        super().__init__(self.refusals, self.count)

    def __str__(self) -> str:
        named = [
            f"event {each.event.id} of {each.event.app_name}: {each.reason}"
            for each in self.refusals[:MAX_NAMED_REFUSALS]
        ]
        if self.count > len(named):
            named.append(f"and {self.count - len(named)} more")
        events = "1 event was" if self.count == 1 else f"{self.count} events were"
        return f"{events} refused permanently and not stored ({'; '.join(named)})"


class JournalUnusableError(JournalError):
    """What is at this path cannot be used as a journal.

    Attributes:
        path: where.
        moved_to: where it was moved, if it was; ``None``: it is untouched.
    """

    def __init__(self, reason: str, path: Path | str, moved_to: Path | str | None = None) -> None:
        super().__init__(reason, path, moved_to)
        self.reason = reason
        self.path = path
        self.moved_to = moved_to

    def __str__(self) -> str:
        moved = f"; it was moved to {self.moved_to}" if self.moved_to is not None else ""
        return f"{self.path}: {self.reason}{moved}"


class WrongJournalError(JournalError, ValueError):
    """A position that this journal never gave: it is another journal's, or one from before a loss.

    Attributes:
        position: which.
        id: of the journal that was asked.
    """

    def __init__(self, position: int, id: str) -> None:
        super().__init__(position, id)
        self.position = position
        self.id = id

    def __str__(self) -> str:
        return (
            f"journal {self.id} never gave position {self.position}: "
            "compare its id with that of the journal from which you have the position"
        )


class ConsumerInUseError(JournalError):
    """A consumer of this name is open; close it first.

    Attributes:
        name: the consumer's.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"consumer {self.name!r} is open already; close it first, or take another name"
