"""``Processing``: passes the entries of a consumer to a handler, with retries and dead letters.

It uses the ``Consumer`` interface only, so it works for each journal. Each of ``concurrency``
workers handles one entry at a time. An entry is acknowledged after its handler has returned, and
not before. A failed entry is returned by the consumer again after a delay, and the workers handle
others in the meantime. The number of attempts is ``entry.delivery``, which the journal stores.

The workers take entries in batches. Entries of a batch count as delivered, even if the process ends
before they are handled. So a batch has only as many entries as take about ``BATCH_TIME``, judged by
the last ones, and entries after one that hangs do not use up their attempts.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from math import inf
from typing import Protocol, TypeAlias

from edr import Gap
from edr._util.backoff import Backoff
from edr._util.log import RateLimitedLog
from edr._util.tasks import is_cancelled
from edr.journal.errors import AttemptsExceededError, JournalError
from edr.journal.journal import Entry
from edr.journal.options import check_at_least, check_seconds

Handler: TypeAlias = Callable[[Entry], object]
"""``handler(entry)``, async or plain. An exception means that the entry was not handled."""

DeadLetters: TypeAlias = Callable[[Entry, Exception], object]
"""``dead_letters(entry, exception)``, async or plain, with the exception of the last attempt."""

OnGap: TypeAlias = Callable[[Gap], object]
"""``on_gap(gap)``, async or plain."""

MAX_BACKOFF = 60.0
"""Seconds between two attempts, at most; without a limit, doubling reaches hours."""

MAX_DOUBLINGS = 32
"""Bounds the power: a float overflows after a thousand deliveries."""

FIRST_READ_DELAY, MAX_READ_DELAY = 0.05, 2.0
"""Seconds before a journal that could not be read is read again."""

MAX_ERRORS = 1024
"""Kept exceptions of entries that ``dead_letters`` did not accept, at most."""

MAX_BATCH = 256
"""Entries taken at once, at most. More make nothing faster."""

BATCH_TIME = 0.1
"""Seconds that handling a batch takes, at most. It is the interval at which acks are stored, so a
batch adds little to what a crash repeats."""

SMOOTHING = 8
"""Entries over which the time of a handler is averaged."""


class Consumes(Protocol):
    """The part of a ``Consumer`` that is used."""

    @property
    def name(self) -> str:
        """The name of the consumer."""
        ...

    async def take(self, limit: int) -> list[Entry | Gap]:
        """Return the next items, at most ``limit``."""
        ...

    def ack(self, *entries: Entry) -> None:
        """Acknowledge ``entries``."""
        ...

    def nack(self, entry: Entry, delay: float = 0.0) -> None:
        """Return ``entry`` again after ``delay`` seconds."""
        ...


class Processing:
    """One call of ``Consumer.process``.

    Args:
        consumer: supplies the entries.
        handler: handles an entry.
        concurrency: entries that are handled at the same time.
        attempts: deliveries after which an entry goes to ``dead_letters``.
        backoff: seconds before the second attempt; doubled for each further one.
        dead_letters: receives entries that were not handled.
        on_gap: called for lost entries.

    Raises:
        ValueError: an option is invalid.
    """

    def __init__(
        self,
        consumer: Consumes,
        handler: Handler,
        *,
        concurrency: int = 1,
        attempts: int = 5,
        backoff: float = 1.0,
        dead_letters: DeadLetters | None = None,
        on_gap: OnGap | None = None,
    ) -> None:
        check_at_least("concurrency", concurrency, 1)
        check_at_least("attempts", attempts, 1)
        check_seconds("backoff", backoff)
        self._consumer = consumer
        self._handler = handler
        self._concurrency = concurrency
        self._attempts = attempts
        self._backoff = backoff
        self._dead_letters = dead_letters
        self._on_gap = on_gap
        self._log = RateLimitedLog(logger=logging.getLogger("edr.journal"))
        self._source = _Source(consumer, self._lost, self._log)
        self._last_errors: dict[int, Exception] = {}
        """The exceptions of entries that ``dead_letters`` has not accepted yet, by position."""

    async def run(self) -> None:
        """Handle entries until the consumer ends. Cancellation: cancels the handlers."""
        if self._concurrency == 1:
            await self._work()
            return
        async with asyncio.TaskGroup() as workers:
            for number in range(self._concurrency):
                workers.create_task(self._work(), name=f"edr:{self._consumer.name}:{number}")

    async def _work(self) -> None:
        source, loop = self._source, asyncio.get_running_loop()
        while (entry := await source.next()) is not None:
            began = loop.time()
            is_done = await self._is_done(entry)
            source.handled(loop.time() - began)
            if is_done:
                self._settle(self._consumer.ack, entry)
            else:
                doublings = min(entry.delivery - 1, MAX_DOUBLINGS)
                delay = min(self._backoff * 2.0**doublings, MAX_BACKOFF)
                self._settle(self._consumer.nack, entry, delay)

    async def _is_done(self, entry: Entry) -> bool:
        """Return whether ``entry`` was handled, or accepted as a dead letter."""
        if self._dead_letters is None or entry.delivery <= self._attempts:
            error = await self._error_of(entry)
            if error is None:
                return True
            if self._dead_letters is None or entry.delivery < self._attempts:
                return False
        else:
            # Its last attempt ended the process, or its dead letter was not accepted.
            error = self._last_errors.pop(entry.position, None)
            error = error or AttemptsExceededError(entry.position, entry.delivery - 1)
        return await self._is_accepted(self._dead_letters, entry, error)

    async def _error_of(self, entry: Entry) -> Exception | None:
        """Handle ``entry``, and return the exception of the handler."""
        try:
            await _result(self._handler(entry))
        except (Exception, asyncio.CancelledError) as exc:
            error = self._failure(exc)
            self._log.log(
                logging.ERROR,
                f"handler {type(error).__name__}",
                "consumer %r could not handle the entry at position %d, delivery %d: %r",
                *(self._consumer.name, entry.position, entry.delivery, error),
                exc=error,
            )
            return error
        return None

    async def _is_accepted(self, dead_letters: DeadLetters, entry: Entry, error: Exception) -> bool:
        try:
            await _result(dead_letters(entry, error))
        except (Exception, asyncio.CancelledError) as exc:
            failure = self._failure(exc)
            if len(self._last_errors) == MAX_ERRORS:
                del self._last_errors[next(iter(self._last_errors))]
            self._last_errors[entry.position] = error
            self._log.log(
                logging.ERROR,
                f"dead_letters {type(failure).__name__}",
                "dead_letters of consumer %r failed for the entry at position %d: %r",
                *(self._consumer.name, entry.position, failure),
                exc=failure,
            )
            return False
        self._log.log(
            logging.WARNING,
            "dead letter",
            "consumer %r gave the entry at position %d to the dead letters, delivery %d: %r",
            *(self._consumer.name, entry.position, entry.delivery, error),
        )
        return True

    def _failure(self, exc: BaseException) -> Exception:
        """Return the failure of a call. Raise if the task was cancelled from outside."""
        if isinstance(exc, Exception):
            return exc
        if is_cancelled():
            raise exc
        # The handler awaited something that was cancelled; this task was not.
        failure = RuntimeError("the handler raised CancelledError")
        failure.__cause__ = exc
        return failure

    def _settle(self, call: Callable[..., None], *args: object) -> None:
        """Ack or nack an entry, unless the consumer was closed, which returns it again later."""
        try:
            call(*args)
        except JournalError as exc:
            self._log.log(logging.WARNING, "closed", "%s", exc)

    async def _lost(self, gap: Gap) -> None:
        self._log.log(
            logging.WARNING,
            "gap",
            "consumer %r missed %d entries, which retention or damage removed",
            self._consumer.name,
            gap.missed,
        )
        if self._on_gap is None:
            return
        try:
            await _result(self._on_gap(gap))
        except Exception as exc:  # it must not end the processing
            self._log.log(logging.ERROR, "on_gap", "on_gap of a consumer failed: %r", exc, exc=exc)


class _Source:
    """Takes batches for several workers, which it gives one entry each.

    Args:
        consumer: supplies the entries.
        on_gap: called for lost entries.
        log: receives faults of the journal.
    """

    def __init__(
        self,
        consumer: Consumes,
        on_gap: Callable[[Gap], Awaitable[None]],
        log: RateLimitedLog,
    ) -> None:
        self._consumer = consumer
        self._on_gap = on_gap
        self._log = log
        self._limit = 0
        self._seconds = inf
        """Average time of a handler, by the last entries."""
        self._batch: deque[Entry] = deque()
        self._has_ended = False
        self._taking = asyncio.Lock()
        self._backoff = Backoff(FIRST_READ_DELAY, MAX_READ_DELAY)

    async def next(self) -> Entry | None:
        """Return the next entry; None after the last one. Cancellation: safe."""
        while not self._batch and not self._has_ended:
            async with self._taking:
                if not self._batch and not self._has_ended:
                    await self._take()
        return self._batch.popleft() if self._batch else None

    def handled(self, seconds: float) -> None:
        """Called when a worker has handled an entry, which took ``seconds``."""
        known = self._seconds if self._seconds < inf else seconds
        self._seconds = known + (seconds - known) / SMOOTHING

    async def _take(self) -> None:
        fast = BATCH_TIME / max(self._seconds, BATCH_TIME / MAX_BATCH)
        self._limit = max(1, min(2 * self._limit, int(fast)))
        try:
            items = await self._consumer.take(self._limit)
        except JournalError as exc:
            self._log.log(
                logging.ERROR,
                "read",
                "consumer %r cannot be read now: %s",
                self._consumer.name,
                exc,
            )
            await asyncio.sleep(self._backoff.next())
            return
        self._backoff.reset()
        self._has_ended = not items
        for item in items:
            if isinstance(item, Gap):
                await self._on_gap(item)
            else:
                self._batch.append(item)


async def _result(returned: object) -> None:
    if inspect.isawaitable(returned):
        await returned
