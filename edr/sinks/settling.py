"""``Settlement``: acknowledges the entries of a sink, and counts what became of them.

An entry is settled in one of two ways only: the sink delivered it, or the dead letters have stored
it. It is acknowledged after that.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence

from edr.bus import Gap
from edr.delivery import FaultLog
from edr.journal import Entry, JournalError
from edr.sinks.alerts import Alerts
from edr.sinks.dead_letters import DeadLetter, DeadLetters
from edr.sinks.errors import RetryError
from edr.sinks.files import in_thread
from edr.sinks.intake import Intake
from edr.sinks.sending import Refused


class Settlement:
    """Settles the entries of one sink.

    Args:
        name: the name of the sink, for its dead letters.
        intake: gets the acknowledgements.
        dead_letters: stores entries that will not be delivered. ``None``: they are counted.
        alerts: reports losses.
        log: logs losses and faults.
    """

    def __init__(
        self,
        name: str,
        intake: Intake,
        dead_letters: DeadLetters | None,
        alerts: Alerts,
        log: FaultLog,
    ) -> None:
        self.dead_letters: DeadLetters | None = dead_letters
        self.delivered: int = 0
        """Events that the sink delivered."""
        self._name = name
        self._intake = intake
        self._alerts = alerts
        self._log = log
        self._lost: Counter[str] = Counter()

    @property
    def rejected(self) -> int:
        """Events that became dead letters."""
        return self._lost["rejected"] + self._lost["expired"]

    def lost(self) -> Mapping[str, int]:
        """Return the events that were not delivered: reason -> events."""
        return dict(self._lost + Counter(self._intake.lost()))

    def ack(self, entries: Sequence[Entry]) -> None:
        """Acknowledge ``entries``."""
        try:
            self._intake.ack(*entries)
        except JournalError as exc:  # the journal was closed; the entries are returned again
            self._log.fault(logging.WARNING, "ack", "could not acknowledge events: %s", exc)

    def deliver(self, entries: Sequence[Entry]) -> None:
        """Count and acknowledge ``entries``, which the sink has delivered."""
        self.delivered += len(entries)
        self.ack(entries)

    async def deliver_letters(self, entries: Sequence[Entry]) -> None:
        """Count ``entries``, which the sink has delivered, and remove their dead letters."""
        self.delivered += len(entries)
        assert self.dead_letters is not None, "the letters were read from it"
        delivered = {(entry.position, entry.event.id) for entry in entries}
        try:
            await in_thread(self.dead_letters.remove, lambda each: key_of(each) in delivered)
        except OSError as exc:  # they may be sent again
            self._log.fault(logging.WARNING, "letters", "could not remove dead letters: %s", exc)

    async def refuse(self, refused: Sequence[Refused]) -> None:
        """Store ``refused`` as dead letters, then acknowledge them.

        Raises:
            RetryError: they cannot be stored now.
        """
        if self.dead_letters is not None:
            try:
                await self.dead_letters.append(self._name, refused)
            except OSError as exc:
                raise RetryError(f"dead letters cannot be stored: {exc.strerror or exc}") from exc
        counts = Counter("expired" if each.is_expired else "rejected" for each in refused)
        for reason, count in counts.items():
            self._lost[reason] += count
            self._alerts.lost(reason, count)
        for each in refused:
            self._log.dropped(each.entry.event, "refused", each.reason)
        self.ack([each.entry for each in refused])

    def missed(self, gap: Gap) -> None:
        """Called for entries that the journal removed before the sink got them."""
        self._log.fault(
            logging.WARNING, "gap", "missed %d entries, which the journal removed", gap.missed
        )
        self._alerts.lost("retention", gap.missed)

    def drop(self, count: int) -> None:
        """Called when the sink closes with ``count`` events that are in memory only."""
        if count:
            self._lost["closed"] += count
            self._log.log(logging.WARNING, "closed and dropped %d undelivered events", count)


def key_of(letter: DeadLetter) -> tuple[int, str]:
    """Return what identifies a dead letter of one sink."""
    return letter.position, letter.event.id
