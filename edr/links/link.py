"""``Link``: a bus joined to a broker.

The problem: a broker is on another machine. It starts late, goes away, hangs, refuses. The bus must
not notice: an emitted event goes into the link's own queue, as for any subscription, and everything
that can wait or fail happens in the link's task.

A link has five parts:

* ``Transport``: one kind of broker: connect, send, announce the interest, close.
* ``Outbox``: the events to send, in memory or in a journal.
* ``Inbound``: publishes received events on the bus.
* ``Interest``: the events that the broker is to send, as subscriptions come and go.
* ``Reconnector``: connects, and connects again after a loss.

``NatsLink`` and ``RabbitLink`` make the parts and put them together.

Invariants, at every moment: of the events that the bus gave the link,
``offered = sent + uncertain + dropped + pending``; of the messages that the broker sent,
``received = delivered + duplicates + refused``.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, final

from edr._util.tasks import first_of
from edr.bus import Bus, Overflow, parts_of
from edr.delivery import (
    ConnectionState,
    FaultLog,
    JournalOutbox,
    KeepDropped,
    MemoryOutbox,
    Outbox,
    OutboxStatistics,
    Reconnector,
)
from edr.errors import BusClosedError
from edr.journal.errors import ConsumerInUseError, JournalError
from edr.links.errors import LinkError, LinkRefusedError
from edr.links.inbound import Inbound
from edr.links.interest import Interest
from edr.links.statistics import LinkStatistics
from edr.links.transport import Transport
from edr.records import Binding, Event

if TYPE_CHECKING:
    from edr.journal import Journal

IDLE_GRACE = 30.0
"""Seconds that the end of ``async with link`` waits for the callbacks of the bus, which may still
emit events to send. A bus that drains accepts events for as long."""

BACKLOG = "link:"
"""The names of backlogs in a journal begin with it."""

MAX_NAME_LENGTH = 128
"""Most characters of a consumer's name in a journal."""

_NOTHING_SENT = OutboxStatistics(0, 0, 0, {}, 0, 0)


@final
class Link:
    """A bus joined to a broker. Make one with ``NatsLink`` or ``RabbitLink``.

    Args:
        bus: the bus. When it ends, it drains first and then ends the link.
        transport: connects to the broker.
        inbound: publishes the received events.
        log: the log of the link and its parts.
        name: names the link in logs and statistics.
        backlog: names the link's consumer in the journal. It must not contain the address, so that
            the consumer survives a move of the broker.
        receive: as in ``Interest``. With a journal, a link that receives sends the events of its
            own node only.
        send: the published events that match are sent; none if it is empty.
        capacity: most events that wait to be sent.
        overflow: drops an event when the queue is full: ``drop_oldest`` or ``drop_newest``. Not
            ``block``, because an emit never waits for a broker.
        timeout: seconds to connect, for an answer of the broker, and to drain.
        journal: keeps the events to send, in place of a queue in memory; see ``JournalOutbox``.
    """

    def __init__(
        self,
        bus: Bus,
        transport: Transport,
        inbound: Inbound,
        log: FaultLog,
        *,
        name: str,
        backlog: str,
        receive: Literal["wanted"] | Sequence[Binding] = "wanted",
        send: Sequence[Binding] = (Binding(),),
        capacity: int = 10_000,
        overflow: Overflow | str = Overflow.DROP_OLDEST,
        timeout: float = 10.0,
        journal: Journal | None = None,
    ) -> None:
        if timeout <= 0:
            raise ValueError(f"timeout must be more than 0 seconds, got {timeout}")
        if Overflow(overflow) not in {Overflow.DROP_OLDEST, Overflow.DROP_NEWEST}:
            raise ValueError(
                f"overflow must be drop_oldest or drop_newest, got {overflow!r}: an emit never "
                "waits for a broker, and a link does not end because its broker is away"
            )
        self.name: str = name
        self.is_skipped: Callable[[Event], bool] | None = None
        """With a journal: whether an event is not to be sent. Set it before ``start``."""
        self.keep_dropped: KeepDropped | None = None
        """With a journal: stores the events that the broker refuses, before they are acknowledged.
        Set it before ``start``. By default they are counted and logged."""
        self._backlog = backlog_name(backlog)
        self._bus = bus
        self._lifecycle = parts_of(bus).lifecycle
        self._transport = transport
        self._inbound = inbound
        self._log = log
        self._receives = bool(receive)
        self._send = tuple(send)
        self._capacity = capacity
        self._overflow = Overflow(overflow)
        self._timeout = timeout
        self._journal = journal
        self._pid = os.getpid()
        self._is_closed = False
        self._interest = Interest(bus, receive, transport)
        self._outbox: Outbox | None = None
        """Made by ``start``."""
        self._reconnector = Reconnector(
            connect=self._connect,
            serve=self._serve,
            disconnect=self._disconnect,
            log=log,
            timeout=timeout,
            refused=LinkRefusedError,
            on_closed=self._close,
        )

    def __repr__(self) -> str:
        return f"<Link {self.name!r} {self.state}>"

    @property
    def state(self) -> ConnectionState:
        """The state of the connection."""
        state = self._reconnector.state
        if state is ConnectionState.UP and self._transport.is_blocked:
            return ConnectionState.BLOCKED
        return state

    @property
    def consumer(self) -> str | None:
        """The name of its consumer in the journal; ``None`` without a journal, or events to send.

        The consumer keeps the events for the next link of this name.
        """
        return self._backlog if self._journal is not None and self._send else None

    async def start(self) -> None:
        """Register with the bus, and connect.

        Returns after the first attempt. If that found no broker, further attempts are made in the
        background, and emitted events wait in the outbox. Idempotent.

        Raises:
            LinkRefusedError: a retry cannot help; the link is closed.
            LinkError: the link was closed before.
            BusClosedError, WrongLoopError: the bus cannot be used here.
        """
        if self._is_closed:
            raise LinkError(f"link {self.name!r} was closed; make a new link")
        if self._outbox is None:
            self._bus.enter()
            outbox = self._outbox = await self._open_outbox()
            self._inbound.exclude = outbox.subscription
            self._bus.add_service(self, f"link {self.name}", outbox.subscription)
            self._interest.start(outbox.subscription)
            self._reconnector.start(f"edr link {self.name}")
        try:
            await self._reconnector.first_attempt()
        except BaseException:
            await self.aclose()
            raise

    async def _open_outbox(self) -> Outbox:
        if self._journal is not None and self._send:  # no binding would mean every entry
            return await self._open_journal_outbox(self._journal)
        subscription = self._bus.subscribe(
            *self._send,
            capacity=self._capacity,
            overflow=self._overflow,
            name=f"link {self.name}",
        )
        if not self._send:  # no binding would mean every event
            subscription.shutdown()
        return MemoryOutbox(subscription)

    async def _open_journal_outbox(self, journal: Journal) -> Outbox:
        node = self._bus.node if self._receives else None
        try:
            outbox = await JournalOutbox.open(
                journal,
                self._backlog,
                self._send,
                node=node,
                on_error=self._on_journal_error,
                is_skipped=self.is_skipped,
                keep_dropped=self.keep_dropped,
            )
        except ConsumerInUseError as exc:
            raise LinkError(
                f"another link uses the backlog {self._backlog!r} of the journal; "
                "give each link a name: name=…"
            ) from exc
        try:
            await self._warn_of_backlogs(journal)
        except BaseException:
            await outbox.aclose()
            raise
        return outbox

    async def _warn_of_backlogs(self, journal: Journal) -> None:
        """Log the backlogs in the journal that no link sends."""
        for status in await journal.consumers():
            is_link = status.name.startswith(BACKLOG) and status.name != self._backlog
            if is_link and status.lag and not status.open:
                self._log.log(
                    logging.WARNING,
                    "does not send the backlog %r in its journal, of a link with another name "
                    "(%d entries): open it by that name, or remove it with journal.forget",
                    status.name,
                    status.lag,
                )

    def _on_journal_error(self, exc: JournalError) -> None:
        self._log.last_error = str(exc)
        self._log.fault(logging.ERROR, "journal", "cannot read its journal: %s; trying again", exc)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Wait until the bus is idle, send the pending events, and close the link.

        If the bus is not idle after ``IDLE_GRACE`` seconds, and its drain will follow (in ``async
        with``, or under ``edr.run``), the link stays for the drain, which then ends it. The same
        holds for a program that ends after a signal. After another error the link closes at once.
        """
        if exc_type is None:
            with suppress(BusClosedError):
                left = await self._bus.join(IDLE_GRACE)
                if left and self._lifecycle.drain_follows(exc):
                    return
            self._lifecycle.report_unprocessed(await self.drain())
        elif self._lifecycle.drain_follows(exc):
            return
        await self.aclose()

    async def ready(self) -> None:
        """Wait until there is a connection, and the broker received the present interest.

        In a NATS cluster, the server that the link is connected to; it informs the others.

        Raises:
            LinkError: the link is closed.
        """
        while True:
            if not await self._reconnector.connected():
                raise LinkError(
                    f"link {self.name!r} is not ready: it is closed, or was not started"
                )
            if not self._receives or self._interest.is_announced:
                return
            await self._interest.announced()

    async def drain(self, timeout: float | None = None) -> int:
        """Accept no further event from the bus, send the pending ones, and close the link.

        A link with a journal sends the events that the journal contains at this moment. Without a
        connection it does not wait: the journal keeps the events for the next start.

        Args:
            timeout: seconds; by default the timeout of the link.

        Returns:
            The number of events that were not sent, or not confirmed. They are logged.
        """
        outbox = self._outbox
        if outbox is None or self._is_closed or self._pid != os.getpid():
            return 0
        seconds = self._timeout if timeout is None else timeout
        if self.state is not ConnectionState.UP:
            if outbox.is_durable:
                seconds = 0
            elif outbox.pending:
                self._log.log(
                    logging.WARNING,
                    "is not connected and waits at most %g s to send %d events: %s",
                    seconds,
                    outbox.pending,
                    self._log.last_error,
                )
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await first_of(outbox.drain(), self._reconnector.closed())
        left = await outbox.remaining()
        await self.aclose()
        return left

    async def aclose(self) -> None:
        """Close now. Pending events are dropped and counted, or kept by the journal. Idempotent."""
        if self._pid != os.getpid():
            return  # after a fork, connection and loop belong to the parent process
        left = 0 if self._outbox is None or self._is_closed else self._outbox.pending
        await self._reconnector.aclose()
        self._close()
        if self._outbox is not None:
            await self._outbox.aclose()
        await self._inbound.aclose()
        if left and self._outbox is not None:
            fate = "the journal keeps them" if self._outbox.is_durable else "they are lost"
            words = "closed before %d events were sent and confirmed (%s): %s"
            error = self._log.last_error or "no error"
            self._log.log(logging.WARNING, words, left, fate, error)

    def _close(self) -> None:
        self._is_closed = True
        self._interest.close()
        self._bus.remove_service(self)

    # Called by the Reconnector

    async def _connect(self) -> None:
        await self._transport.connect()
        await self._interest.announce()

    async def _serve(self) -> None:
        assert self._outbox is not None
        await first_of(
            self._transport.send(self._outbox, outage=self._reconnector.outage),
            self._transport.lost(),
            self._interest.keep_announced(),
        )

    async def _disconnect(self) -> None:
        self._interest.on_connection_lost()
        try:
            await self._transport.close()
        finally:
            if self._outbox is not None:
                self._outbox.on_connection_lost()

    @property
    def kind(self) -> str:
        """``"link"``, for ``edr.control``, which shows a link as a part of the process."""
        return "link"

    @property
    def bindings(self) -> tuple[Binding, ...]:
        """The events that it sends."""
        return self._send

    def status(self) -> dict[str, object]:
        """Return the state and the counts as ``edr.control.Part`` names them."""
        counts = self.statistics()
        lost = {**counts.dropped, "uncertain": counts.uncertain}
        return {
            "state": counts.state.value,
            "offered": counts.offered,
            "delivered": counts.sent,
            "pending": counts.pending,
            "backlog": 0 if self._outbox is None else self._outbox.backlog,
            "lost": {reason: count for reason, count in lost.items() if count},
            "received": counts.received,
            "published": counts.delivered,
            "refused": dict(counts.refused),
            "reconnects": counts.reconnects,
            "error": None if counts.state is ConnectionState.UP else counts.last_error,
            "last_error": counts.last_error,
        }

    def statistics(self) -> LinkStatistics:
        """Return the counts of this moment, as a frozen snapshot."""
        out = _NOTHING_SENT if self._outbox is None else self._outbox.statistics()
        inbound = self._inbound
        return LinkStatistics(
            name=self.name,
            state=self.state,
            offered=out.offered,
            sent=out.sent,
            uncertain=out.uncertain,
            dropped=out.dropped,
            pending=out.pending,
            skipped=out.skipped,
            received=inbound.received,
            delivered=inbound.delivered,
            duplicates=inbound.duplicates,
            refused=dict(inbound.refused),
            reconnects=max(0, self._reconnector.connections - 1),
            patterns=self._transport.patterns,
            skew=inbound.skew,
            last_error=self._log.last_error,
        )


def backlog_name(name: str) -> str:
    """Return the name of a link's consumer in its journal, which must be short and printable."""
    full = BACKLOG + name
    if len(full) <= MAX_NAME_LENGTH and full.isprintable():
        return full
    return BACKLOG + hashlib.blake2b(name.encode("utf-8", "replace"), digest_size=16).hexdigest()
