"""The errors of a journal. Each tells the cause, and whether the events may still be stored."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from edr import EdrError

if TYPE_CHECKING:
    from pathlib import Path

    from edr import Event

MAX_REFUSALS = 32
"""Refusals that an error keeps, at most, as each keeps its event in memory. All are counted."""

MAX_NAMED_REFUSALS = 3
"""Refusals that the text of an error names, so that a log line stays readable."""


class JournalError(EdrError):
    """The base class of the errors of a journal, and the error for any other failure.

    From ``append``, ``flush`` and a durable emit it means that events are not known to be stored.
    The journal keeps accepted events and tries again, so they may still be stored.
    """


class JournalInUseError(JournalError):
    """The journal is open in another process, or in another object of this one. It is unchanged."""


class JournalFullError(JournalError):
    """The disk, the journal or its queue of pending events is full.

    The journal stores events again when there is room.
    """


class Refusal(NamedTuple):
    """An event that a journal will never store."""

    event: Event
    reason: str
    """The error text of SQLite or the server."""


class EventsRefusedError(JournalError):
    """A journal refused events permanently. It does not try to store them again.

    The other events of the same call were stored.

    Args:
        refusals: the refused events; at least one.
        count: the number of refused events, if it is more than ``refusals`` has.

    Attributes:
        refusals: the first 32 refused events, in the order in which they were accepted.
        count: the number of refused events.
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
    """The files at this path cannot be used as a journal.

    Attributes:
        path: the path.
        moved_to: the path to which the files were moved; ``None`` if they are unchanged.
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
    """This journal never assigned the position. It belongs to another journal.

    Attributes:
        position: the position.
        id: the id of this journal.
    """

    def __init__(self, position: int, id: str) -> None:
        super().__init__(position, id)
        self.position = position
        self.id = id

    def __str__(self) -> str:
        return (
            f"journal {self.id} never assigned position {self.position}; "
            "compare the id of the journal that the position comes from"
        )


class ConsumerInUseError(JournalError):
    """A consumer of this name is open already.

    Attributes:
        name: the name of the consumer.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"consumer {self.name!r} is open already; close it first, or use another name"
