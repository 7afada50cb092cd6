"""``TailLines``: makes the lines of one tail, and counts its events.

The JSON of an event is made once for all observers. So lines are joined, and not encoded.
"""

from __future__ import annotations

import orjson

from edr.control.connection import Answers
from edr.control.protocol import MAX_LINE


class TailLines:
    """The lines of the events and gaps of one tail.

    Args:
        answers: makes a line, with the id of the request.
    """

    def __init__(self, answers: Answers) -> None:
        self.shown: int = 0
        """Events."""
        self.missed: int = 0
        """Missed events of which the number is known."""
        self._answers = answers
        self._head = answers.line("event", b'{"cursor":')[:-1]

    @property
    def counts(self) -> dict[str, int]:
        """The fields of the last message."""
        return {"shown": self.shown, "missed": self.missed}

    def gap(self, missed: int | None, reason: str, cursor: str) -> bytes:
        """Return the line for missed events; ``None`` if their number is not known."""
        self.missed += missed or 0
        fields = {"missed": missed, "reason": reason, "cursor": cursor}
        return self._answers.line("gap", orjson.dumps(fields))

    def event(self, cursor: str, json: bytes) -> bytes:
        """Return the line for an event, or for its loss if the line would be too long."""
        line = b'%b"%b","event":%b}\n' % (self._head, cursor.encode(), json)
        if len(line) > MAX_LINE:
            return self.gap(1, "too_large", cursor)
        self.shown += 1
        return line
