"""``Ingest``: the one place where documents of the outside become stored events of the bus.

The order of the steps makes the promise. Documents are decoded and checked. Then all events are
published together, and the journal stores them. Only then their lines count as accepted. If the
journal fails, no line of the call counts: the sender receives the first one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from edr._util.log import RateLimitedLog
from edr.bus import Bus
from edr.errors import EventsRefusedError, InvalidEventError
from edr.records import Event, FrozenDict, check_size, json_size, with_account_tree
from edr.sources.answers import Refused, Reply
from edr.sources.documents import Decode, decode_native
from edr.sources.senders import LOCAL, Sender

YIELD_EVERY = 128
"""Documents between two yields to the loop: decoding holds it for about 2 ms."""

RECHECK = 0.5
"""Seconds between two looks at a journal that cannot store, and between two attempts."""


class Document(NamedTuple):
    """One document of an input."""

    reply: Reply
    """Receives the result."""
    line: int
    """Its number in the reply."""
    data: Any
    """Its bytes, or its parsed JSON."""


class Stored(NamedTuple):
    """The result of one call of ``Ingest.store``."""

    accepted: int
    refused: int
    error: str | None = None
    """Why the journal did not store the events; ``None`` if it did."""
    example: Refused | None = None
    """One of the refused documents, for the log."""


class Ingest:
    """Publishes documents, and waits until the journal has stored their events.

    Sources of one bus may share it. Events of one call keep their order. Use it in the loop of the
    bus only.

    Args:
        bus: receives the events. It has a journal.

    Raises:
        ValueError: the bus has no journal, so it could not keep an event that it accepted.
    """

    def __init__(self, bus: Bus) -> None:
        if bus.journal is None:
            raise ValueError("a source needs a bus with a journal: Bus(journal=…)")
        self._bus = bus
        self._journal = bus.journal
        self._log = RateLimitedLog()

    @property
    def error(self) -> str | None:
        """Why the journal cannot store events now; ``None`` if it can."""
        error = self._journal.statistics().error
        return None if error is None else str(error)

    async def ready(self) -> None:
        """Wait until the journal has room and can store. A source then reads.

        Raises:
            edr.journal.JournalError: the journal was closed.
        """
        await self._journal.room()
        while self.error is not None:
            await asyncio.sleep(RECHECK)
            await self._journal.room()

    async def store(
        self,
        documents: Sequence[Document],
        *,
        sender: Sender = LOCAL,
        decode: Decode = decode_native,
        tries_again: Callable[[], bool] = lambda: False,
    ) -> Stored:
        """Publish the events of ``documents``, and note each result in the reply of its document.

        It returns after the journal has stored all events that were not refused. Otherwise no
        document counts as accepted, and each reply names its first one in ``not_stored``. Some of
        the events may be stored nevertheless, and subscribers have received them.

        Args:
            documents: the documents, in their order.
            sender: who sent them.
            decode: makes an event of the data of a document.
            tries_again: called after the journal failed; True to publish the same events again. For
                a sender that cannot send them again.

        Cancellation: nothing is noted; some events may be stored.
        """
        events, refused = await self._events_of(documents, sender, decode)
        while True:
            error = await self._publish(events, refused)
            if error is None or not tries_again():
                break
            await asyncio.sleep(RECHECK)
        if error is not None:
            for document in documents:  # only the first one of each reply has an effect
                document.reply.fail(document.line, error)
            return Stored(0, 0, error)
        for document, path, reason in refused:
            document.reply.refuse(document.line, path, reason)
        for document, _ in events:
            document.reply.accepted += 1
        example = Refused(refused[0][0].line, *refused[0][1:]) if refused else None
        return Stored(len(events), len(refused), example=example)

    async def _events_of(
        self, documents: Sequence[Document], sender: Sender, decode: Decode
    ) -> tuple[_Events, _RefusedDocuments]:
        node, max_body = self._bus.node, self._bus.max_body
        events: _Events = []
        refused: _RefusedDocuments = []
        for number, document in enumerate(documents, 1):
            if not number % YIELD_EVERY:
                await asyncio.sleep(0)
            try:
                event = decode(document.data, node)
                assert isinstance(event.body, FrozenDict)
                check_size(json_size(event.body), max_body)
            except InvalidEventError as exc:
                refused.append((document, exc.path, exc.reason))
            else:
                events.append((document, event))
        return await self._with_trees(events, refused, sender), refused

    async def _with_trees(
        self, events: _Events, refused: _RefusedDocuments, sender: Sender
    ) -> _Events:
        """Return the events that ``sender`` may emit, each with its account tree."""
        accounts = {
            event.account_id
            for _, event in events
            if event.account_id is not None and not (sender.is_trusted and event.account_tree)
        }
        if sender == LOCAL and not accounts:
            return events
        trees = await self._bus.ancestors(*accounts) if accounts else {}
        permitted: _Events = []
        for document, event in events:
            account = event.account_id
            tree: tuple[str, ...] = trees.get(account, ()) if account is not None else ()
            if sender.account is not None and sender.account not in (account, *tree):
                reason = f"must be account {sender.account!r} or a descendant of it"
                refused.append((document, "account_id", f"{reason}, got {account!r}"))
            else:
                permitted.append((document, _with_tree(event, tree, sender)))
        return permitted

    async def _publish(self, events: _Events, refused: _RefusedDocuments) -> str | None:
        """Publish ``events``, and move refused ones to ``refused``.

        Returns:
            Why they are not known to be stored; ``None`` if they are.
        """
        if not events:
            return None
        try:
            await self._bus.publish_all([event for _, event in events], durable=True)
        except EventsRefusedError as exc:
            return _move(exc, events, refused)
        except Exception as exc:  # of the journal or a closed bus: the events may not be stored
            self._log.log(
                logging.ERROR,
                "store",
                "%d events of a source were not stored: %s",
                len(events),
                exc,
            )
            return str(exc) or type(exc).__name__
        return None


_Events = list[tuple[Document, Event]]
_RefusedDocuments = list[tuple[Document, str, str]]


def _with_tree(event: Event, tree: tuple[str, ...], sender: Sender) -> Event:
    if sender.is_trusted and (event.account_tree or not tree):
        return event
    return event if event.account_tree == tree else with_account_tree(event, tree)


def _move(error: EventsRefusedError, events: _Events, refused: _RefusedDocuments) -> str | None:
    """Move the refused events of ``events`` to ``refused``, unless the error does not name all."""
    reasons = {id(each.event): each.reason for each in error.refusals}
    moved = [place for place, (_, event) in enumerate(events) if id(event) in reasons]
    if len(moved) != error.count:
        return str(error)  # a journal that names copies, or not all: any event may be refused
    for place in reversed(moved):
        document, event = events.pop(place)
        refused.append((document, "", reasons[id(event)]))
    return None
