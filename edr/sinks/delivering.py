"""``Delivery``: sends the entries of an intake to a sink, batch by batch, one step a call.

The entries that it holds outlive the task that calls it, and the sink that it calls. A call that
was cancelled or has failed leaves its batch as the next thing to send.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from enum import Enum, auto

from edr.delivery import FaultLog
from edr.journal import Entry
from edr.sinks.collecting import Collector
from edr.sinks.dead_letters import DeadLetter
from edr.sinks.errors import RejectError
from edr.sinks.guarded_sink import GuardedSink
from edr.sinks.health import Health
from edr.sinks.intake import Intake
from edr.sinks.options import Batch
from edr.sinks.sending import Sending
from edr.sinks.settling import Settlement, key_of


class Step(Enum):
    """The result of ``Delivery.advance``."""

    DONE = auto()
    IDLE = auto()
    """Nothing is left to do before ``collect`` has returned."""
    ENDED = auto()
    """The last entry of the intake was settled."""


class Delivery:
    """The batches of one sink.

    Args:
        intake: supplies the entries.
        collector: makes batches of them.
        settlement: settles them.
        health: gets the successes, and the delay after which an entry is given up.
        log: logs rejections.
    """

    def __init__(
        self,
        intake: Intake,
        collector: Collector,
        settlement: Settlement,
        health: Health,
        log: FaultLog,
    ) -> None:
        self._intake = intake
        self._collector = collector
        self._settlement = settlement
        self._health = health
        self._log = log
        self._sending: Sending | None = None
        """The present batch, while any of it is not settled."""
        self._letters: deque[DeadLetter] = deque()
        """Dead letters to send again."""
        self._is_rebound = False
        """Whether held entries may not match any more."""

    @property
    def held(self) -> int:
        """Entries that were taken and are not settled."""
        return len(self._collector) + (0 if self._sending is None else len(self._sending))

    @property
    def offered(self) -> int:
        """Entries that were taken."""
        return self._collector.offered

    @property
    def batch(self) -> Batch:
        """The limits of a batch."""
        return self._collector.batch

    @batch.setter
    def batch(self, batch: Batch) -> None:
        self._collector.batch = batch

    def oldest_age(self) -> float:
        """Return the seconds since the oldest held entry was stored; 0 without one."""
        oldest = self._collector.oldest
        if self._sending:
            oldest = min(entry.recorded_at for entry in self._sending.entries)
        if oldest is None:
            return 0.0
        return max(0.0, (datetime.now(UTC) - oldest).total_seconds())

    def repeat(self, letters: Iterable[DeadLetter]) -> int:
        """Send ``letters`` before later entries, and return how many do not wait for it already."""
        known = set(map(key_of, self._letters))
        chosen = [letter for letter in letters if key_of(letter) not in known]
        self._letters += chosen
        return len(chosen)

    def rebound(self) -> None:
        """Called when the intake has new bindings. ``drop_unmatched`` applies them later."""
        self._is_rebound = True

    def drop_unmatched(self) -> None:
        """After ``rebound``, acknowledge the held entries that no binding matches.

        It must not be called while the sink writes: its answer has the indexes of the batch.
        """
        if not self._is_rebound:
            return
        self._is_rebound = False
        bindings = self._intake.bindings

        def is_unwanted(entry: Entry) -> bool:
            return not any(binding.matches(entry.event) for binding in bindings)

        if not bindings:
            return
        removed = self._collector.remove(is_unwanted)
        if self._sending is not None and not self._sending.is_repeated:
            removed += self._sending.remove(is_unwanted)
            self._sending = self._sending or None
        self._settlement.ack(removed)
        self._has_progressed()

    async def advance(self, sink: GuardedSink) -> Step:
        """Do the next thing for the present batch, or for the next one.

        Raises:
            Exception: of the sink, the intake or the dead letters; the same thing is next.
        """
        if self._sending is None and sink.is_open and (step := self._next()) is not Step.DONE:
            return step
        sending = self._sending
        if sending is not None:
            self._give_up_old(sending)
        if sending is not None and sending.refused:
            await self._refuse(sending)
        elif not sink.is_open:
            await self._open(sink)
        elif sending is not None:
            await self._send(sending, sink)
        return Step.DONE

    async def collect(self) -> None:
        """Wait for the next batch, unless there is one. Cancellation: safe.

        Raises:
            JournalError: the intake cannot be read now.
        """
        if self._sending is None and not self._collector.has_ended:
            self._begin(await self._collector.next())

    def _next(self) -> Step:
        """Begin the next batch if it is complete; return ``DONE`` then."""
        if self._letters:
            self._begin_letters()
        elif self._collector.has_ended and not self._collector:
            return Step.ENDED
        elif entries := self._collector.next_nowait():
            self._begin(entries)
        else:
            return Step.IDLE
        return Step.DONE

    def _begin(self, entries: list[Entry]) -> None:
        if entries:
            self._sending = Sending(entries)
            self._has_progressed()

    def _begin_letters(self) -> None:
        now = datetime.now(UTC)
        count = min(self.batch.events, len(self._letters))
        letters = [self._letters.popleft() for _ in range(count)]
        self._sending = Sending(
            [Entry(each.position, now, each.event) for each in letters], is_repeated=True
        )
        self._has_progressed()

    async def _open(self, sink: GuardedSink) -> None:
        await sink.open()
        self._health.succeeded()
        self._has_progressed()

    async def _send(self, sending: Sending, sink: GuardedSink) -> None:
        entries = sending.first
        sending.began()
        try:
            await sink.write([entry.event for entry in entries])
        except RejectError as error:
            delivered = sending.rejected(error)
            self._log.fault(
                logging.WARNING, "rejected", "had events of a batch rejected: %s", error
            )
        else:
            delivered = sending.delivered()
        self._sending = sending or None  # also if the task is cancelled while letters are removed
        if sending.is_repeated:
            await self._settlement.deliver_letters(delivered)
        else:
            self._settlement.deliver(delivered)
        self._health.succeeded()
        self._has_progressed()

    async def _refuse(self, sending: Sending) -> None:
        refused = list(sending.refused)
        if not sending.is_repeated:  # letters are stored
            await self._settlement.refuse(refused)
        del sending.refused[: len(refused)]
        self._sending = sending or None
        self._has_progressed()

    def _give_up_old(self, sending: Sending) -> None:
        delay = self._health.retry.give_up_after
        if delay is not None:
            oldest = datetime.now(UTC) - timedelta(seconds=delay)
            sending.expire(lambda entry: entry.recorded_at < oldest, self._log.last_error)

    def _has_progressed(self) -> None:
        self._health.progressed(holds_events=self._sending is not None)
