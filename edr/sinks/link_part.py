"""``LinkPart``: a link to a broker as a part of an application, which can be paused and restarted.

A link has its own queue, retries and confirms, so ``SinkWorker`` would only repeat them. But a link
cannot be paused, gets no other bindings, and does not start if the broker refuses it. This part
makes a new link for each of these. With a journal, the consumer of the link keeps the events in
between: the part creates it before it starts.

A link that only sends, with the journal of the application, is a durable sink. One that receives
too is a link of the application, and sends the events of its own node only.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

from edr.bus import Bus
from edr.delivery import ConnectionState, FaultLog, KeepDropped
from edr.errors import EdrError
from edr.journal import Entry, Journal
from edr.records import Binding, Event, Severity
from edr.sinks.alerts import Alerts
from edr.sinks.dead_letters import DeadLetters
from edr.sinks.link_counts import LinkCounts
from edr.sinks.link_health import LinkHealth
from edr.sinks.sending import Refused
from edr.sinks.state import SinkState

REFUSED_DELAY = 60.0
"""Seconds before a link that the broker refused is tried again: a person must repair something."""

WATCH_INTERVAL = 1.0
"""Seconds between two looks at the state of the link."""

_logger = logging.getLogger("edr.sinks")


class LinkLike(Protocol):
    """The attributes of a link that a part uses; see ``edr.links.Link``."""

    is_skipped: Callable[[Event], bool] | None
    """With a journal: whether an event is not to be sent. Set before ``start``."""

    keep_dropped: KeepDropped | None
    """With a journal: stores refused events before they are acknowledged. Set before ``start``."""

    @property
    def state(self) -> ConnectionState:
        """The state of its connection."""
        ...

    @property
    def consumer(self) -> str | None:
        """The name of its consumer in the journal; ``None`` if it has none."""
        ...

    async def start(self) -> None:
        """Register with the bus, and connect."""
        ...

    async def drain(self, timeout: float | None = None) -> int:
        """Send the pending events and close; return how many were not sent."""
        ...

    async def aclose(self) -> None:
        """Close now."""
        ...

    def status(self) -> Mapping[str, Any]:
        """Return the state and the counts."""
        ...


class LinkPart:
    """A link as a part. Promises: at least once and in order with a journal, as the link has them.

    ``pause``, ``restart`` and ``rebind`` close the link. Events in flight at that moment are sent
    again, so the receiver may get them twice. Without a journal, queued events are lost then, and
    are counted.

    Args:
        name: the name of the part.
        make: makes a link that sends the events of the bindings that it gets. It is not started.
        bindings: the events to send.
        kind: ``"sink"`` for a link that only sends, else ``"link"``.
        journal: the journal of the link, where it has one.
        start: where a new consumer begins: at the events stored from ``"now"`` on, or at the
            ``"oldest"`` one.
        bus: gets the alerts; ``None`` for the log only.
        dead_letters: stores the events that the broker refuses, before they are acknowledged. With
            a journal only; otherwise they are counted, and logged.

    Raises:
        ValueError: ``make`` refuses an option of the link.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[tuple[Binding, ...]], LinkLike],
        bindings: tuple[Binding, ...] = (),
        *,
        kind: Literal["sink", "link"] = "sink",
        journal: Journal | None = None,
        start: Literal["now", "oldest"] = "now",
        bus: Bus | None = None,
        dead_letters: DeadLetters | None = None,
    ) -> None:
        self.name: str = name
        self.kind: str = kind
        self.bindings: tuple[Binding, ...] = tuple(bindings)
        """The events that it sends."""
        self._make = make
        self._journal = journal
        self._start_at = start
        self._log = FaultLog(f"{kind} {name!r}", _logger)
        self._alerts = Alerts(bus, kind, name, self._log)
        self._link = make(self.bindings)
        """The present link, or the last one: a closed link has its counts."""
        self._is_used = False
        """Whether ``_link`` was started."""
        self._task: asyncio.Task[None] | None = None
        self._is_paused = False
        self._is_stopping = False
        self._refusal: str | None = None
        self._dead_letters = dead_letters
        self._rejected = 0
        """Events that became dead letters."""
        self._counts = LinkCounts(self._alerts)
        self._health = LinkHealth(self._alerts)
        self._position: int | None = None
        """The position of the consumer before the first link."""
        self._changing = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<LinkPart {self.kind} {self.name!r} {self.state}>"

    @property
    def consumer(self) -> str | None:
        """The name of its consumer in the journal; ``None`` if it has none."""
        return self._link.consumer

    @property
    def is_durable(self) -> bool:
        """Whether events that were not sent are kept for the next start."""
        return self._link.consumer is not None

    @property
    def services(self) -> tuple[object, ...]:
        """The link, which is a service of the bus, and is not shown next to this part."""
        return (self._link,)

    @property
    def state(self) -> SinkState:
        """The state of this moment."""
        if self._is_stopping:
            return SinkState.STOPPING if self._task is not None else SinkState.STOPPED
        if self._is_paused:
            return SinkState.PAUSED
        if self._task is None:
            return SinkState.STOPPED
        if self._refusal is not None:
            return SinkState.REFUSED
        return self._health.state(self._link.state, self._link.status()["last_error"])

    def status(self) -> Mapping[str, object]:
        """Return the state and the counts, those of all links so far."""
        counts = self._counts.total(self._link.status())
        state = self.state
        is_well = state in (SinkState.RUNNING, SinkState.PAUSED)
        return {
            **counts,
            "state": state,
            "backlog": self._backlog(counts["backlog"]),
            "error": None if is_well else self._refusal or counts["last_error"],
            "durable": self.is_durable,
            "rejected": self._rejected,
        }

    def _backlog(self, of_link: int) -> int:
        if self._is_used or self._position is None or self._journal is None:
            return of_link
        statistics = self._journal.statistics()
        return max(0, statistics.last + statistics.waiting - self._position)

    # The service

    async def prepare(self) -> None:
        """Create the consumer, so that events are kept from now on. ``start`` does it too.

        Raises:
            ConsumerInUseError, JournalError: the consumer cannot be opened.
        """
        name = self.consumer
        if self._journal is None or name is None or self._position is not None:
            return
        consumer = await self._journal.consumer(
            name, *self.bindings, start=self._start_at, rebind=True
        )
        self._position = consumer.position
        await consumer.aclose()

    async def start(self) -> None:
        """Create the consumer and start to connect. It does not wait for the broker. Idempotent.

        Raises:
            ConsumerInUseError, JournalError: the consumer cannot be opened.
        """
        if self._is_stopping:
            raise RuntimeError(f"{self.kind} {self.name!r} is closed; make another part")
        async with self._changing:
            if self._task is None:
                await self.prepare()
                self._spawn()

    async def drain(self, timeout: float | None = None) -> int:
        """Send the pending events, and close. Without a connection it does not wait.

        Returns:
            The number of events that were not sent. With a journal, it keeps them.
        """
        async with self._changing:
            self._is_stopping = True
            left = 0
            if self._link.state is not ConnectionState.CLOSED:
                left = await self._link.drain(timeout)
            elif self._is_used:
                left = int(self._link.status()["backlog"]) if self.is_durable else 0
            await self._end()
        return left

    async def aclose(self) -> None:
        """Close now. With a journal, it keeps the events. Idempotent."""
        async with self._changing:
            self._is_stopping = True
            await self._end()

    async def _end(self) -> None:
        await self._halt()
        self._task = None
        self._alerts.aclose()

    # Commands

    async def pause(self) -> None:
        """Close the link until ``resume`` or ``restart``."""
        async with self._changing:
            if not self._is_paused:
                self._log.log(logging.INFO, "was paused")
            self._is_paused = True
            await self._halt()

    async def resume(self) -> None:
        """Connect again. Without effect if it was not paused."""
        async with self._changing:
            if self._is_paused:
                self._log.log(logging.INFO, "was resumed")
                self._is_paused = False
                self._spawn_again()

    async def restart(self) -> None:
        """Close the link and connect again, at once. It also resumes one that was paused."""
        async with self._changing:
            await self._halt()
            self._is_paused = False
            self._spawn_again()

    async def rebind(self, *bindings: Binding) -> None:
        """Send the events that ``bindings`` match, of the entries that were not read yet."""
        async with self._changing:
            await self._halt()
            self.bindings = bindings
            if not self._is_paused:
                self._spawn_again()

    async def _halt(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        await self._link.aclose()
        self._refusal = None

    def _spawn_again(self) -> None:
        if self._task is not None and not self._is_stopping:
            self._spawn()

    def _spawn(self) -> None:
        self._refusal = None
        self._health.started()
        self._task = asyncio.get_running_loop().create_task(
            self._run(), name=f"edr:{self.kind}:{self.name}"
        )

    # The task

    async def _run(self) -> None:
        is_started = False
        while True:
            if is_started:
                self._watch()
            else:
                is_started = await self._connects()
            await asyncio.sleep(WATCH_INTERVAL if is_started else REFUSED_DELAY)

    async def _connects(self) -> bool:
        """Start a new link; return False if it was refused."""
        if self._is_used:
            self._counts.keep(self._link.status(), is_durable=self.is_durable)
            self._link = self._make(self.bindings)
        self._is_used = True
        self._link.is_skipped = self._alerts.is_own  # a lost alert would cause the next one
        if self._dead_letters is not None:
            self._link.keep_dropped = self._bury
        try:
            await self._link.start()
        except EdrError as exc:
            self._refusal = str(exc)
            self._log.fault(
                logging.ERROR,
                "refused",
                "was refused: %s; trying again in %g s",
                exc,
                REFUSED_DELAY,
            )
            self._alerts.trouble(Severity.CRITICAL, SinkState.REFUSED, str(exc))
            return False
        self._refusal = None
        return True

    async def _bury(self, dropped: Sequence[tuple[Entry, str]]) -> None:
        """Store events that the broker refused as dead letters."""
        assert self._dead_letters is not None
        refused = [Refused(entry, reason, attempts=1) for entry, reason in dropped]
        try:
            await self._dead_letters.append(self.name, refused)
        except OSError as exc:
            reason = exc.strerror or exc
            self._log.fault(
                logging.ERROR, "letters", "dead letters cannot be stored: %s; trying again", reason
            )
            raise
        self._rejected += len(refused)

    def _watch(self) -> None:
        """Look at the link, and report what changed."""
        status = self._link.status()
        self._health.look(self._link.state, status, self.state)
        self._counts.report(status)
