"""``Receipts``: the calls that wait until their events are stored.

Events are numbered from 1 in the order in which a journal accepted them, and they are settled in
that order: each is stored or refused permanently. A receipt covers a range of events, and is done
when the last of them is settled.

A refusal is reported once: to the call that waits for the event, otherwise to the next flush. So
two flushes that both return prove that all events accepted between them were stored.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Generator, Sequence
from typing import Any

from edr.journal.errors import MAX_REFUSALS, EventsRefusedError, JournalError, Refusal


class _Refusals:
    """Unreported refusals: the first ones, and their number."""

    __slots__ = ("count", "first")

    def __init__(self) -> None:
        self.first: list[Refusal] = []
        self.count: int = 0

    def add(self, refusals: Sequence[Refusal], count: int) -> None:
        self.count += count
        self.first.extend(refusals[: MAX_REFUSALS - len(self.first)])

    def take(self) -> EventsRefusedError | None:
        """Return them as an error, and remove them."""
        if not self.count:
            return None
        error = EventsRefusedError(self.first, self.count)
        self.first, self.count = [], 0
        return error


class Receipt:
    """The pending result of a call that waits until its events are stored. Await it once.

    Cancellation: safe. The events stay accepted; the next flush reports a refusal.
    """

    __slots__ = ("_future", "_unreported", "first", "last", "refusals")

    def __init__(self, first: int, last: int, unreported: _Refusals) -> None:
        self.first: int = first
        self.last: int = last
        self.refusals: _Refusals | None = None
        self._unreported = unreported
        self._future: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def __await__(self) -> Generator[Any, None, int]:
        try:
            return (yield from self._future)
        except asyncio.CancelledError:
            self.cancel()
            raise

    def cancel(self) -> None:
        """Stop waiting."""
        if not self._future.cancel() and not self._future.cancelled():
            # It was settled, but no caller received the result.
            error = self._future.exception()
            if isinstance(error, EventsRefusedError):
                self._unreported.add(error.refusals, error.count)

    def refused(self, refusal: Refusal) -> bool:
        """Add a refusal. Return False if no call waits any more."""
        if self._future.done():
            return False
        if self.refusals is None:
            self.refusals = _Refusals()
        self.refusals.add((refusal,), 1)
        return True

    def settle(self, position: int) -> None:
        """Return ``position`` from the waiting call, or raise its refusals."""
        error = None if self.refusals is None else self.refusals.take()
        if self._future.done():
            if error is not None:
                self._unreported.add(error.refusals, error.count)
        elif error is None:
            self._future.set_result(position)
        else:
            self._set_exception(error)

    def fail(self, error: JournalError) -> None:
        """Raise ``error`` in the waiting call. The next flush reports its refusals."""
        refused = None if self.refusals is None else self.refusals.take()
        if refused is not None:
            self._unreported.add(refused.refusals, refused.count)
        if not self._future.done():
            self._set_exception(error)

    def _set_exception(self, error: JournalError) -> None:
        self._future.set_exception(error)
        self._future.exception()  # retrieved, so that asyncio does not log it after a cancellation


class Receipts:
    """The unsettled receipts, in the order of their last events."""

    def __init__(self) -> None:
        self._waiting: deque[Receipt] = deque()
        self._unreported = _Refusals()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def expect(self, first: int, last: int) -> Receipt:
        """Return the receipt of the events from ``first`` to ``last``, the newest ones."""
        receipt = Receipt(first, last, self._unreported)
        self._waiting.append(receipt)
        return receipt

    def expect_all(self, last: int) -> Receipt:
        """Return the receipt of a flush: of all events up to ``last``, the newest event."""
        receipt = self.expect(0, last)
        if self._unreported.count:
            receipt.refusals = _Refusals()
            receipt.refusals.add(self._unreported.first, self._unreported.count)
            self._unreported.take()
        return receipt

    def report(self, refusal: Refusal) -> None:
        """Report ``refusal``, of an event that was never accepted, by the next flush."""
        self._unreported.add((refusal,), 1)

    def check(self) -> None:
        """Raise the unreported refusals, if there are any."""
        error = self._unreported.take()
        if error is not None:
            raise error

    def refused(self, number: int, refusal: Refusal) -> None:
        """Record that event ``number`` was refused. ``settled`` follows."""
        is_reported = False
        for receipt in self._waiting:
            if receipt.first <= number <= receipt.last:
                is_reported |= receipt.refused(refusal)
        if not is_reported:
            self._unreported.add((refusal,), 1)

    def settled(self, number: int, position: int) -> None:
        """Settle the receipts of events up to ``number``, which is at ``position``."""
        while self._waiting and self._waiting[0].last <= number:
            receipt = self._waiting.popleft()
            receipt.settle(position - (number - receipt.last))

    def fail(self, error: JournalError) -> None:
        """Raise ``error`` in each waiting call. The events stay accepted."""
        waiting, self._waiting = self._waiting, deque()
        for receipt in waiting:
            # A copy for each: a traceback grows with each raise.
            receipt.fail(copied(error))


def copied(error: JournalError) -> JournalError:
    """Return an error of the same type and text."""
    return type(error)(*error.args)
