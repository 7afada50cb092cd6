"""The errors of a journal. Each tells the cause, and whether the events may still be stored.

``JournalError``, ``EventsRefusedError`` and ``Refusal`` are in ``edr.errors``, since durable emits
raise them too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edr.errors import MAX_REFUSALS, EventsRefusedError, JournalError, Refusal

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "MAX_REFUSALS",
    "ConsumerInUseError",
    "EventsRefusedError",
    "JournalError",
    "JournalFullError",
    "JournalInUseError",
    "JournalUnusableError",
    "Refusal",
    "WrongJournalError",
]


class JournalInUseError(JournalError):
    """The journal is open in another process, or in another object of this one. It is unchanged."""


class JournalFullError(JournalError):
    """The disk, the journal or its queue of pending events is full.

    The journal stores events again when there is room.
    """


class AttemptsExceededError(JournalError):
    """An entry was delivered ``attempts`` times, and no attempt ended: the process ended first.

    ``Consumer.process`` passes it to ``dead_letters``.

    Attributes:
        position: the position of the entry.
        deliveries: how often it was delivered before.
    """

    def __init__(self, position: int, deliveries: int) -> None:
        super().__init__(position, deliveries)
        self.position: int = position
        self.deliveries: int = deliveries

    def __str__(self) -> str:
        return (
            f"the entry at position {self.position} was delivered {self.deliveries} times, and the "
            "process ended each time before it was handled"
        )


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
