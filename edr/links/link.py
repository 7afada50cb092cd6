"""``Link``: what every link has in common. Connect, lose, connect again; send, receive, count.

The problem: a broker is on another machine. It comes late, goes away, hangs, refuses. The bus
must not feel it: what is emitted goes into the link's own queue, as for any subscription, and
all that can wait or fail does so here, in the one task of the link.

**Life.** ``start`` makes the task, which connects, serves the connection until it is lost, lets
go of it, and begins anew after a pause that doubles. A connection is never repaired: each attempt
is a fresh one. (The reconnecting modes of client libraries leave a client that believes to be
connected, or that has given up without a word.) What a retry cannot cure, such as a wrong
password, is ``LinkRefusedError``: raised by ``start``, and later a state with an error, since a
service that runs is not to die of it.

**Out.** One subscription, the outbox; or with a journal a consumer of it, the spool. The outbox's
policy decides what is dropped when the broker is away for longer than ``capacity`` lasts. An event
leaves it only when a connection takes it.

**In.** An event that came in is published ``exclude`` the outbox, so that it does not go back, and
in no way waits: see ``Publisher.publish_soon``. A ``DedupWindow`` for each bus drops repeated
events.

Invariants, at every moment: of what the bus gave the link,
``offered = sent + uncertain + dropped + pending``; of what the broker sent,
``received = delivered + duplicates + refused``.

A class of one broker gives ``_connect``, ``_serve`` and ``_disconnect``, and calls ``_peek``,
``_deliver`` and ``_refuse``.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import random
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from math import inf
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from edr._util.tasks import is_cancelled, raise_if_cancelled
from edr.bus import Bus, Overflow, Subscription, log_safely, parts_of
from edr.delivery import ConnectionState
from edr.errors import BodyTooLargeError, BusClosedError, EdrError
from edr.journal.errors import ConsumerInUseError, EventsRefusedError, JournalError
from edr.links.dedup import window_of
from edr.links.errors import LinkError, LinkRefusedError
from edr.links.log import logger
from edr.links.spool import Spool
from edr.links.statistics import LinkStatistics
from edr.links.storing import Storing
from edr.records import Binding, Event

if TYPE_CHECKING:
    from edr.journal import Entry, Journal

__all__ = ["Link"]

FIRST_PAUSE = 0.05
"""Seconds before the second attempt to connect: a broker that restarts is back that soon."""

LONGEST_PAUSE = 2.0
"""Seconds between attempts, at most: what a thousand links may ask of a broker that comes back."""

LASTED = 0.1
"""Seconds for which a connection must have lasted to be followed by a quick second attempt: not one
that ends as it begins."""

LET_GO = 2.0
"""Seconds to end a connection in good order; one to a broker that hangs would never end."""

MAX_WAITS = 256
"""Received events that may wait for slow subscribers at a time; what comes then is dropped for
those that are full, as by ``publish_nowait``."""

IDLE_GRACE = 30.0
"""Seconds for which the end of a block over a link waits for the callbacks of the bus, which may
still emit what is to be sent. As long as a bus that drains accepts events."""

LOOK_EACH = 0.01
"""Seconds between two looks at whether the backlog in a journal is sent, at the end of a link."""

BACKLOG = "link:"
"""With what the names of backlogs in a journal begin."""

LONGEST_NAME = 128
"""Characters of a consumer's name in a journal, at most."""

QUIET = 30.0
"""Seconds between two lines in the log of the same fault; all are counted."""


class Link(ABC):
    """A bus joined to a broker. See ``NatsLink`` and ``RabbitLink``.

    Args:
        bus: the bus. When it ends, it drains first and then ends the link.
        name: stands in logs and statistics. With a journal, it names the backlog.
        address: the name if there is none.
        backlog: names the backlog in the journal if there is no name. It must not depend on the
            address, so that the backlog survives a move of the broker.
        send: what is sent of what is published here; nothing if it is empty.
        capacity: events that wait to be sent, at most.
        overflow: what becomes of an event that finds so many. Not ``block``: an emit never waits
            for a broker.
        timeout: seconds to connect, to be answered, and to drain.
        receives: whether it also receives. With a journal it then sends the events of this node
            only.
        journal: keeps what is to be sent, in place of the outbox; see ``edr.links.spool``.
    """

    def __init__(
        self,
        bus: Bus,
        name: str | None,
        *,
        address: str,
        backlog: str,
        receives: bool = True,
        send: Sequence[Binding] = (Binding(),),
        capacity: int = 10_000,
        overflow: Overflow | str = Overflow.DROP_OLDEST,
        timeout: float = 10.0,
        journal: Journal | None = None,
    ) -> None:
        if timeout <= 0:
            raise ValueError(f"timeout must be more than 0 seconds, not {timeout}")
        if Overflow(overflow) not in {Overflow.DROP_OLDEST, Overflow.DROP_NEWEST}:
            raise ValueError(
                f"overflow is drop_oldest or drop_newest, not {overflow!r}: an emit never waits "
                "for a broker, and a link does not end because one is away"
            )
        self.name: str = name or address
        self._backlog = backlog_name(name or backlog)
        self._receives = receives
        self._bus = bus
        self._publisher = parts_of(bus).publisher
        self._lifecycle = parts_of(bus).lifecycle
        self._send = tuple(send)
        self._capacity = capacity
        self._overflow = Overflow(overflow)
        self._timeout = timeout
        self._pid = os.getpid()
        self._seen = window_of(bus)

        self._state = ConnectionState.CLOSED
        self._is_up = asyncio.Event()
        self._journal = journal
        self._spool: Spool | None = None
        self._outbox: Subscription | None = None
        self._head: Event | None = None
        self._task: asyncio.Task[None] | None = None
        self._first_attempt: asyncio.Future[None] | None = None
        self._finished: asyncio.Event = asyncio.Event()
        self._waits: set[asyncio.Task[int]] = set()

        self._sent = 0
        self._in_flight = 0
        self._uncertain = 0
        self._dropped: Counter[str] = Counter()
        self._received = 0
        self._delivered = 0
        self._duplicates = 0
        self._refused: Counter[str] = Counter()
        self._connections = 0
        self._up_since = inf
        self._down_since: float | None = None
        self._outage = 0.0
        """Seconds for which there was no connection before the present one."""
        self._skew = 0.0
        self._last_error: str | None = None
        self._quiet_until: dict[str, float] = {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} {self._state}>"

    # What a link to one kind of broker does

    @abstractmethod
    async def _connect(self) -> None:
        """Make a fresh connection, and ask it for what is wanted.

        Raises:
            LinkRefusedError: to try again would not help.
        """

    @abstractmethod
    async def _serve(self) -> None:
        """Send and receive until the connection is lost, and then return or raise.

        When the outbox has ended, and all of it is confirmed, it calls ``_sent_all`` and goes on
        receiving.
        """

    @abstractmethod
    async def _disconnect(self) -> None:
        """Let go of the connection, whatever its state, also of one that was half made."""

    def _begin(self) -> None:  # noqa: B027 - most have nothing to do
        """Do what is to be done once, when the outbox is there and before the first attempt."""

    def _end(self) -> None:  # noqa: B027
        """Undo it, when the link is closed."""

    @property
    def _patterns(self) -> int:
        """How many patterns the broker is asked for."""
        return 0

    # Life

    async def start(self) -> None:
        """Register with the bus, and connect.

        Returns after the first attempt. If that found no broker, further ones are made in the
        background, and what is emitted meanwhile waits in the outbox. Idempotent.

        Raises:
            LinkRefusedError: to try again would not help; the link is closed.
            LinkError: the link was closed before.
            BusClosedError, WrongLoopError: the bus cannot be used here.
        """
        if self._task is None:
            if self._finished.is_set():
                raise LinkError(f"{self!r} was closed; make a new one")
            loop = self._bus.enter()
            if self._journal is not None:
                await self._open_spool(self._journal)
            elif self._send:
                self._outbox = self._bus.subscribe(
                    *self._send,
                    capacity=self._capacity,
                    overflow=self._overflow,
                    name=f"link {self.name}",
                )
            self._bus.add_service(self, f"link {self.name}", self._outbox)
            self._begin()
            self._state = ConnectionState.CONNECTING
            self._first_attempt = loop.create_future()
            self._task = loop.create_task(self._run(), name=f"edr link {self.name}")
        assert self._first_attempt is not None
        try:
            await asyncio.shield(self._first_attempt)
        except BaseException:
            await self.aclose()
            raise

    async def _open_spool(self, journal: Journal) -> None:
        node = self._bus.node if self._receives else None
        try:
            # A link is set up by its program, so other bindings than the last time are intended.
            consumer = await journal.consumer(self._backlog, *self._send, start="now", rebind=True)
        except ConsumerInUseError as exc:
            raise LinkError(
                f"another link uses the backlog {self._backlog!r} of the journal; "
                "give each link a name: name=…"
            ) from exc
        self._spool = Spool(consumer, node)
        for status in await journal.consumers():
            is_link = status.name.startswith(BACKLOG) and status.name != self._backlog
            if is_link and status.lag and not status.open:
                self._log(
                    logging.WARNING,
                    "link %r does not send the backlog %r in its journal, of a link with another "
                    "name (%d entries): open it by that name, or remove it with journal.forget",
                    self.name,
                    status.name,
                    status.lag,
                )

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Wait until the bus is idle, send what the link holds, and close it.

        A bus that is not idle after ``IDLE_GRACE`` seconds ends the link itself, after its drain,
        if a drain is sure to come: in ``async with``, or under ``edr.run``. So does a program that
        a signal told to end. At another error the link closes at once.
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
        """Wait until there is a connection, and the broker was asked for all that is wanted now.

        Raises:
            LinkError: the link is closed.
        """
        if self._task is not None:
            await self._is_up.wait()
        if self._state is ConnectionState.CLOSED:
            raise LinkError(f"{self!r} is not ready, and will not be")

    async def drain(self, timeout: float | None = None) -> int:
        """Take nothing more from the bus, send what waits, and close the link.

        A link with a journal sends what the journal has at this moment. Without a connection it
        does not wait: the journal keeps the events for the next start.

        Args:
            timeout: seconds to do so; by default the link's own.

        Returns:
            How many events were not sent, or not confirmed. They are logged.
        """
        if self._task is None or self._pid != os.getpid():
            return 0
        seconds = self._timeout if timeout is None else timeout
        works: list[Coroutine[Any, Any, object]] = [self._finished.wait()]
        if self._spool is not None and self._journal is not None:
            if self._state is not ConnectionState.UP:
                seconds = 0
            works += [self._drain_spool(self._spool, self._journal)]
        elif self._outbox is None:
            self._finished.set()
        else:
            self._outbox.shutdown()
            if self._state is not ConnectionState.UP and self._pending:
                self._log(
                    logging.WARNING,
                    "link %r is not connected and waits at most %g s to send %d events: %s",
                    self.name,
                    seconds,
                    self._pending,
                    self._last_error,
                )
        waits = [asyncio.ensure_future(work) for work in works]
        try:
            await asyncio.wait(
                [*waits, self._task], timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for wait in waits:
                wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
        left = await self._backlog_left() if self._spool is not None else self._pending
        await self.aclose()
        return left

    async def _drain_spool(self, spool: Spool, journal: Journal) -> None:
        """Wait until everything is sent that the journal has now, or is about to store."""
        end: int | None = None
        while not spool.is_drained:
            statistics = journal.statistics()
            if end is None and not statistics.waiting:
                end = statistics.last
                spool.stop_after(end)
            await asyncio.sleep(LOOK_EACH)

    async def _backlog_left(self) -> int:
        assert self._spool is not None
        if self._journal is None or self._spool.is_drained:
            return 0
        try:
            statuses = await self._journal.consumers()
        except JournalError:  # it cannot tell now
            return self._spool.pending
        lags = [status.lag for status in statuses if status.name == self._backlog]
        return max([self._spool.pending, *lags])

    async def aclose(self) -> None:
        """Stop now: what waits to be sent is dropped, and counted. Idempotent."""
        if self._pid != os.getpid():
            return  # the connection and the loop are the parent's
        left = self._pending
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
        elif self._state is not ConnectionState.CLOSED:
            return  # somebody else is closing it
        self._close()
        if self._outbox is not None:
            await self._outbox.aclose()
        if self._spool is not None:
            await self._spool.aclose()
        if left:
            fate = "they are lost" if self._spool is None else "the journal keeps them"
            words = "link %r closed before %d events were sent and confirmed (%s): %s"
            self._log(logging.WARNING, words, self.name, left, fate, self._last_error or "no error")

    def _close(self) -> None:
        self._end()
        self._bus.remove_service(self)
        self._set_state(ConnectionState.CLOSED)
        self._finished.set()
        self._is_up.set()  # whoever waits for it shall see that it is closed
        if self._head is not None:
            self._head = None
            self._dropped["closed"] += 1
        if self._first_attempt is not None and not self._first_attempt.done():
            self._first_attempt.set_result(None)

    # The task

    async def _run(self) -> None:
        try:
            pause = FIRST_PAUSE
            loop = asyncio.get_running_loop()
            while True:
                self._up_since = inf
                await self._attempt()
                raise_if_cancelled()
                if loop.time() - self._up_since > min(pause, LASTED):
                    pause = FIRST_PAUSE
                drawn = pause * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
                await asyncio.sleep(min(drawn, self._longest_pause()))
                pause = min(2 * pause, LONGEST_PAUSE)
        finally:
            self._close()

    def _longest_pause(self) -> float:
        """Return the seconds for which there has been no connection.

        No pause is longer, so a link is back at most as long after its broker as the broker was
        away: a sender that waits so long finds its receivers there.
        """
        now = asyncio.get_running_loop().time()
        return max(FIRST_PAUSE, 0.0 if self._down_since is None else now - self._down_since)

    async def _attempt(self) -> None:
        """Connect, serve until the connection is lost, and let go of it."""
        assert self._first_attempt is not None
        try:
            async with asyncio.timeout(self._timeout):
                await self._connect()
            raise_if_cancelled()
            self._connections += 1
            self._up_since = asyncio.get_running_loop().time()
            self._outage = 0.0 if self._down_since is None else self._up_since - self._down_since
            self._down_since = None
            self._set_state(ConnectionState.UP)
            self._is_up.set()
            if not self._first_attempt.done():
                self._first_attempt.set_result(None)
            await self._serve()
            self._failed("the connection was lost")
        except LinkRefusedError as exc:
            if not self._first_attempt.done():
                self._first_attempt.set_exception(exc)
            self._failed(str(exc), logging.ERROR)
        except (Exception, asyncio.CancelledError) as exc:  # what client libraries raise: anything
            raise_if_cancelled()
            self._failed(str(exc) or type(exc).__name__)
            if not self._first_attempt.done():
                self._first_attempt.set_result(None)
        finally:
            self._is_up.clear()
            if not is_cancelled():
                self._set_state(ConnectionState.CONNECTING)
            try:
                with suppress(Exception):  # it is let go of, so what is wrong with it is no matter
                    async with asyncio.timeout(LET_GO):
                        await self._disconnect()
            finally:
                if self._spool is not None:
                    self._spool.lost()
                    self._head = None
                else:
                    self._uncertain += self._in_flight
                self._in_flight = 0

    async def _first_of(self, *works: Coroutine[Any, Any, object]) -> None:
        """Run all until one ends, and end as that one did."""
        tasks = [asyncio.ensure_future(work) for work in works]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _set_state(self, state: ConnectionState) -> None:
        if state is not self._state:
            self._state = state
            self._log(logging.INFO, "link %r is %s", self.name, state)

    def _failed(self, error: str, level: int = logging.WARNING) -> None:
        self._last_error = error
        if self._down_since is None:
            self._down_since = asyncio.get_running_loop().time()
        self._say(level, error, "link %r: %s; connecting again", self.name, error)

    def _say(self, level: int, key: str, message: str, *args: object) -> None:
        """Log it, but for what was logged in the last ``QUIET`` seconds."""
        now = monotonic()
        if self._quiet_until.get(key, 0.0) <= now:
            if len(self._quiet_until) > 100:  # noqa: PLR2004 - keys are texts of faults
                self._quiet_until.clear()
            self._quiet_until[key] = now + QUIET
            self._log(level, message, *args)

    def _log(self, level: int, message: str, *args: object) -> None:
        # A log handler of the program must not end the task of the link.
        log_safely(level, message, *args, logger=logger)

    # Out

    async def _peek(self) -> Event:
        """Return the next event to send, and again until ``_take`` was called.

        Raises:
            StopAsyncIteration: there will be none; the link is drained, or the bus.
        """
        if self._head is None and self._spool is not None:
            self._head = await self._read(self._spool)
        elif self._head is None:
            if self._outbox is None:
                await self._finished.wait()
                raise StopAsyncIteration
            self._head = await anext(self._outbox)
        return self._head

    async def _read(self, spool: Spool) -> Event:
        """Return the next event of the journal; a journal that cannot be read ends no connection.

        Raises:
            StopAsyncIteration: as ``_peek``.
        """
        pause = FIRST_PAUSE
        while True:
            try:
                return await spool.head()
            except JournalError as exc:
                self._last_error = str(exc)
                words = "link %r cannot read its journal: %s; it is tried again"
                self._say(logging.ERROR, "journal", words, self.name, exc)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _take(self) -> Entry | None:
        """Hand the event of ``_peek`` over to the connection; return its entry in the journal."""
        self._head = None
        self._in_flight += 1
        return None if self._spool is None else self._spool.take()

    def _drop(self, reason: str, words: str) -> None:
        """Give the event of ``_peek`` up."""
        event, self._head = self._head, None
        if self._spool is not None:
            self._spool.drop()
        if event is not None:
            self._say_dropped(event, reason, words)

    def _give_up(self, event: Event, entry: Entry | None, reason: str, words: str) -> None:
        """Give an event up that was handed over."""
        self._settle(entry)
        self._say_dropped(event, reason, words)

    def _say_dropped(self, event: Event, reason: str, words: str) -> None:
        self._dropped[reason] += 1
        self._last_error = f"{reason}: {words}"
        message = "link %r gave up event %r of %r (%s): %s; others like it are counted"
        args = (self.name, event.id, event.app_name, reason, words)
        self._say(logging.WARNING, f"dropped {reason}", message, *args)

    def _taken(self, entry: Entry | None) -> None:
        """Count an event that was handed over, and which the broker has."""
        self._settle(entry)
        self._sent += 1

    def _settle(self, entry: Entry | None) -> None:
        self._in_flight -= 1
        if self._spool is not None and entry is not None:
            self._spool.settled(entry)

    def _confirmed(self, count: int) -> None:
        """Count the oldest events that were handed over, and which the broker has."""
        self._in_flight -= count
        self._sent += count
        if self._spool is not None:
            self._spool.confirmed(count)

    def _sent_all(self) -> None:
        """Called when all events are sent, and no further one will come."""
        self._finished.set()

    @property
    def _pending(self) -> int:
        if self._spool is not None:
            return self._spool.pending
        queued = 0 if self._outbox is None else self._outbox.statistics().pending
        return queued + (self._head is not None) + self._in_flight

    # In

    def _deliver(self, event: Event, hops: int = 1) -> str | None:
        """Publish an event that was received; never waits, never raises for a subscriber.

        Returns:
            Why the bus did not take it: ``too_large``, or ``closed`` if the bus drains. It is
            counted. ``None`` if the bus took it, now or before, by whatever link.
        """
        if not self._is_new(event, hops):
            return None
        wait = None
        try:
            if len(self._waits) < MAX_WAITS:
                wait = self._publisher.publish_soon(event, self._outbox)
            else:
                self._bus.publish_nowait(event, exclude=self._outbox)
        except (BusClosedError, BodyTooLargeError) as exc:
            return self._not_taken(event, exc)
        self._delivered += 1
        if wait is not None:
            self._waits.add(wait)
            wait.add_done_callback(self._waits.discard)
        return None

    async def _deliver_durably(self, event: Event, storing: Storing, hops: int = 1) -> str | None:
        """Publish an event that was received, and wait until the bus's journal has stored it.

        Returns:
            As ``_deliver``; and ``not_stored`` if the journal refused it, which is logged. Its
            subscribers have it then, so it counts as delivered.

        Raises:
            JournalError: the journal stores nothing more.
        """
        if storing.is_storing(event):
            self._duplicates += 1
        elif self._is_new(event, hops):
            self._delivered += 1
        else:
            return None
        try:
            await storing.store(event, self._outbox)
        except (BusClosedError, BodyTooLargeError) as exc:
            self._delivered -= 1
            return self._not_taken(event, exc)
        except EventsRefusedError as exc:
            self._last_error = f"not_stored: {exc}"
            words = "link %r received event %r, and the journal did not store it: %s"
            self._say(logging.ERROR, "not_stored", words, self.name, event.id, exc)
            return "not_stored"
        return None

    def _is_new(self, event: Event, hops: int) -> bool:
        """Record an event that was received; return whether the bus did not have it yet."""
        if not self._seen.is_new(event, hops):
            self._duplicates += 1
            return False
        ahead = (event.timestamp - datetime.now(UTC)).total_seconds()
        self._skew = max(self._skew, ahead)
        return True

    def _not_taken(self, event: Event, exc: EdrError) -> str:
        if isinstance(exc, BusClosedError):
            self._refused["closed"] += 1
            return "closed"
        self._refuse("too_large", f"event {event.id}: {exc}")
        return "too_large"

    def _refuse(self, reason: str, detail: str) -> None:
        """Count a message that came in and is no event for this bus."""
        self._refused[reason] += 1
        self._last_error = f"{reason}: {detail}"
        self._say(
            logging.WARNING,
            reason,
            "link %r refused a message (%s): %s; others like it are counted",
            self.name,
            reason,
            detail,
        )

    # Statistics

    def statistics(self) -> LinkStatistics:
        """Return the counts of this moment, as a frozen snapshot."""
        dropped = Counter(self._dropped)
        offered = 0
        if self._outbox is not None:
            outbox = self._outbox.statistics()
            dropped.update(outbox.dropped)
            offered = outbox.offered
        elif self._spool is not None:
            offered = self._spool.offered + self._spool.missed
            dropped["retention"] = self._spool.missed
        return LinkStatistics(
            name=self.name,
            state=self._state,
            offered=offered,
            sent=self._sent,
            uncertain=self._uncertain,
            dropped=dict(+dropped),
            pending=self._pending,
            skipped=0 if self._spool is None else self._spool.skipped,
            received=self._received,
            delivered=self._delivered,
            duplicates=self._duplicates,
            refused=dict(self._refused),
            reconnects=max(0, self._connections - 1),
            patterns=self._patterns,
            skew=self._skew,
            last_error=self._last_error,
        )


def backlog_name(name: str) -> str:
    """Return the name of a link's consumer in its journal, which must be short and printable."""
    full = BACKLOG + name
    if len(full) <= LONGEST_NAME and full.isprintable():
        return full
    return BACKLOG + hashlib.blake2b(name.encode("utf-8", "replace"), digest_size=16).hexdigest()
