"""``Publisher``: the pipeline of every event that does not take the hot path of ``emit``.

The steps are: find the accounts above, match, make the event, put it into the queues, and wait for
the full ones. ``Bus.emit`` and ``Bus.emit_nowait`` have lines of their own for these steps, because
each call would cost an emit without subscribers a fifth of its time. Emits of other threads, emits
that wait for an account look-up, durable emits, and events that exist already come through here.

An event is put into every queue in one step, without a wait. So the order of emits is the order in
every queue, and the subscriptions that get an event are those of one moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from threading import get_ident
from typing import Any, cast

from edr.bus.accounts import AccountCache
from edr.bus.admission import Admission
from edr.bus.backpressure import wait_for_space
from edr.bus.bounded_queue import BoundedQueue, current_task, put_all
from edr.bus.context import contexts, in_context
from edr.bus.event_factory import EventFactory, EventKey, PendingEvent, checked_account
from edr.bus.journal_tap import JournalTap, PendingRecord
from edr.bus.loop_guard import LoopGuard
from edr.bus.putters import PendingPut
from edr.bus.routes import Route, Routes
from edr.bus.subscription import Subscription, queue_of
from edr.bus.tasks import Tasks
from edr.bus.tracing import Tracer, with_traceparent
from edr.errors import MAX_REFUSALS, InvalidEventError
from edr.records import (
    Event,
    FrozenDict,
    check_size,
    json_size,
    no_object,
    snapshot,
    with_account_tree,
)

YIELD_EVERY = 256
"""Events of one ``publish_all`` between two yields to the loop: it is held for about 2 ms."""


class Publisher:
    """Matches events that are not on the hot path, and puts them into the queues.

    Args:
        node: of the events that it makes.
        max_body: bytes of JSON that a body may have.
        guard: rejects a bus that is closed, or another loop's.
        admission: decides who may emit.
        tasks: run waits that the caller does not await.
        routes: find the queues of an event.
        accounts: finds the accounts above one, if there is a resolver.
        tap: gives events to the journal, if there is one.
    """

    def __init__(
        self,
        *,
        node: str,
        max_body: int,
        guard: LoopGuard,
        admission: Admission,
        tasks: Tasks,
        routes: Routes,
        accounts: AccountCache | None,
        tap: JournalTap | None,
    ) -> None:
        self.emits: int = 0
        """Events that came through here and were accepted."""
        self.unmatched: int = 0
        """Those among them that no queue and no tap received."""
        self.tracer: Tracer | None = None
        self._node = node
        self.max_body: int = max_body
        self._guard = guard
        self._admission = admission
        self._tasks = tasks
        self._routes = routes
        self._known_routes = routes.known
        self._accounts = accounts
        self._tap = tap

    # Make

    def pending(
        self,
        key: EventKey,
        body: Mapping[str, Any],
        account_id: str | None,
        last_number: int | None = None,
    ) -> PendingEvent:
        """Check the values of an event, and take its timestamp and a snapshot of its body.

        Args:
            key: app name, app version, severity and verbosity.
            body: the body.
            account_id: the account.
            last_number: the last subscription that may get it; ``None`` for all that are there
                when it is put.

        Raises:
            InvalidEventError: a value is not valid.
        """
        timestamp = datetime.now(UTC)
        if contexts.are_used:
            body, account_id = in_context(body, account_id)
        if account_id is not None:
            account_id = checked_account(account_id)
        EventFactory(key, self._node, self.max_body)
        if not isinstance(body, Mapping):
            raise no_object(body)
        # Here, since the event is made in another task, which has another span or none.
        traceparent = None if self.tracer is None else self.tracer.traceparent()
        body = snapshot(body, self.max_body)
        return PendingEvent(key, account_id, body, timestamp, last_number, traceparent)

    def checked(self, event: Event) -> Event:
        """Return ``event``, if it may be published.

        Raises:
            InvalidEventError: it was not validated.
            BodyTooLargeError: its body is too large.
        """
        return checked_event(event, self.max_body)

    def checked_all(self, events: Iterable[Event]) -> list[Event]:
        """Return ``events``, if all of them may be published.

        Raises:
            InvalidEventError: as ``checked``; its path begins with the index of the event.
        """
        checked = []
        for index, event in enumerate(events):
            try:
                checked.append(self.checked(event))
            except InvalidEventError as exc:
                path = f"[{index}].{exc.path}" if exc.path else f"[{index}]"
                raise type(exc)(exc.reason, path) from None
        return checked

    async def with_ancestors(self, events: Sequence[Event]) -> Sequence[Event]:
        """Return ``events`` with the ancestors of their accounts, where the tree is empty.

        There is one look-up for each account. An event without an account stays as it is, and so
        does one whose account has no ancestors.
        """
        if self._accounts is None:
            return events
        trees = await self._accounts.ancestors_of(
            [
                each.account_id
                for each in events
                if each.account_id is not None and not each.account_tree
            ]
        )
        return [_with_tree(each, trees.get(each.account_id or "", ())) for each in events]

    # Publish

    def check_durable(self) -> None:
        """Check that the bus has a journal.

        Raises:
            ValueError: it was made without one.
        """
        if self._tap is None:
            raise ValueError("a durable emit needs a journal: Bus(journal=…)")

    async def publish(
        self,
        item: PendingEvent | Event,
        exclude: Subscription[Any] | None = None,
        *,
        durable: bool = False,
    ) -> int:
        """Put an event, wait for full queues, and return how many queues admitted it.

        Args:
            item: the event, or the values of one.
            exclude: a subscription that does not get it.
            durable: wait also until the journal has stored it.
        """
        if durable:
            self.check_durable()
        event, queues = await self._resolve(item, exclude)
        if durable:
            admitted, recorded = await self._put_durably(event, queues)
            await self._stored([recorded])
            return admitted
        puts: list[PendingPut] = []
        admitted = put_all(queues, event, puts)
        return admitted + await wait_for_space(puts) if puts else admitted

    async def publish_all(
        self,
        events: Sequence[Event],
        exclude: Subscription[Any] | None = None,
        *,
        durable: bool = False,
        last_number: int,
    ) -> int:
        """Put checked events one after the other, and return how many puts were admitted.

        Each one waits for full queues, as ``publish`` does, so that a live consumer loses nothing
        by a long list. The journal gets each event before the next one is put, and commits those
        that come within one turn of the loop together. So there is one wait for all of them.

        Args:
            events: the events.
            exclude: a subscription that does not get them.
            durable: wait also until the journal has stored all of them.
            last_number: the last subscription that may get them.
        """
        admitted = 0
        records: list[PendingRecord] = []
        alone: list[Event] = []  # for the journal only, which gets them before the next event
        for_journal: tuple[object, ...] = (self._tap,)
        try:
            for number, event in enumerate(events, 1):
                if not number % YIELD_EVERY:
                    await self._put_alone(alone, records)
                    await asyncio.sleep(0)
                self._guard.check_open()
                queues = self.match(event, exclude)
                if durable and (not queues or queues == for_journal):
                    alone.append(event)
                    if len(alone) == MAX_REFUSALS or number == len(events):
                        await self._put_alone(alone, records)
                    continue
                queues = _up_to(last_number, queues)
                await self._put_alone(alone, records)
                if durable:
                    count, recorded = await self._put_durably(event, queues)
                    records.append(recorded)
                else:
                    puts: list[PendingPut] = []
                    count = put_all(queues, event, puts)
                    count += await wait_for_space(puts) if puts else 0
                admitted += count
        except BaseException:  # the call ends here, so it does not await the storage
            for recorded in records:
                recorded.cancel()
            raise
        await self._stored(records)
        return admitted

    async def offer(self, item: PendingEvent | Event) -> tuple[int, list[PendingPut]]:
        """Put an event; return how many queues admitted it, and a pending put for each full one."""
        event, queues = await self._resolve(item)
        puts: list[PendingPut] = []
        return put_all(queues, event, puts), puts

    def prepare(self, item: PendingEvent | Event) -> None:
        """Begin the account look-up that ``offer`` will wait for."""
        if (
            self._accounts is not None
            and isinstance(item, PendingEvent)
            and item.account_id is not None
        ):
            self._accounts.prepare(item.account_id)

    def publish_soon(
        self, event: Event, exclude: Subscription[Any] | None = None
    ) -> asyncio.Task[int] | None:
        """Put an event that exists already, and let a task of the bus wait for full queues.

        For links, which bring the events of many emitters: one slow subscriber must not delay the
        next events of all the others. Every subscription with room has the event when this
        returns; the order of calls is the order in every queue.

        Returns:
            The task that waits, as ``publish`` does, and returns how many full queues took the
            event; ``None`` if no queue was full. The caller bounds the number of these tasks.
        """
        if get_ident() != self._guard.thread or current_task(self._guard.loop) is None:
            self._admission.check_emit()
        puts: list[PendingPut] = []
        put_all(self.match(event, exclude), event, puts)
        return self._tasks.spawn(wait_for_space(puts)) if puts else None

    def match(
        self, event: Event, exclude: Subscription[Any] | None = None
    ) -> tuple[BoundedQueue, ...]:
        """Return the queues that get an event that exists already, each once.

        Raises:
            InvalidEventError: it was not validated.
            BodyTooLargeError: its body is too large.
        """
        try:  # as checked_event, but without a call: the usual case of ``Bus.publish``
            fields = event.__dict__
            body = fields["body"]
            is_checked = type(body) is FrozenDict and body.json_size <= self.max_body
        except (AttributeError, KeyError):
            is_checked = False
        if not is_checked:
            fields = checked_event(event, self.max_body).__dict__
        key = (
            fields["app_name"],
            fields["app_version"],
            fields["severity"],
            fields["verbosity"],
        )
        try:
            route = self._known_routes[key]
        except (KeyError, TypeError):
            route = None
        if route is None:
            route = self._routes.find(key)
        queues = route.queues
        if not queues and not route.unwanted:
            queues = route.wanting(fields["account_id"], fields["account_tree"], fields["body"])
        self.emits += 1
        if not queues:
            self.unmatched += 1
        if exclude is None:
            return queues
        source = queue_of(exclude)
        return tuple([queue for queue in queues if queue is not source])

    async def _resolve(
        self, item: PendingEvent | Event, exclude: Subscription[Any] | None = None
    ) -> tuple[Event, tuple[BoundedQueue, ...]]:
        """Return an event and the queues that get it.

        The values of a pending event become an event when the accounts above it are known. It goes
        to the subscriptions that were there when its emit was called, and not to later ones.
        """
        if not isinstance(item, PendingEvent):
            self._guard.check_open()
            return item, self.match(item, exclude)
        account_tree: tuple[str, ...] = ()
        if self._accounts is not None and item.account_id is not None:
            account_tree = await self._accounts.ancestors(item.account_id)
        self._guard.check_open()
        route: Route = self._routes.find(item.key)
        queues = route.queues or route.wanting(item.account_id, account_tree, item.body)
        if item.last_number is not None:
            queues = _up_to(item.last_number, queues)
        create = route.factory.create
        event = create(item.body, item.timestamp, item.account_id, account_tree)
        self.emits += 1
        if not queues:
            self.unmatched += 1
        return with_traceparent(event, item.traceparent), queues

    async def _put_durably(
        self, event: Event, queues: Sequence[BoundedQueue]
    ) -> tuple[int, PendingRecord]:
        """Put ``event`` into the journal and the queues, and wait for full ones.

        Returns:
            How many queues admitted it, and its record, for ``_stored``.
        """
        tap = self._tap
        assert tap is not None
        # The journal gets the event here, so it must not get it again as one of the queues.
        others: Sequence[object] = [queue for queue in queues if queue is not cast("object", tap)]
        recorded = tap.offer_durably(event)
        puts: list[PendingPut] = [] if recorded.storing is not None else [recorded]
        admitted = put_all(cast("Sequence[BoundedQueue]", others), event, puts)
        try:
            if puts:
                admitted += await wait_for_space(puts)
        except BaseException:  # the emit ends here, so it does not await the storage
            recorded.cancel()
            raise
        return admitted, recorded

    async def _put_alone(self, events: list[Event], records: list[PendingRecord]) -> None:
        """Put ``events`` into the journal, add their records, wait for room, and clear the list."""
        if not events:
            return
        assert self._tap is not None
        given, events[:] = list(events), []
        added = self._tap.offer_all_durably(given)
        records += added
        puts: list[PendingPut] = [each for each in added if each.storing is None]
        if puts:
            await wait_for_space(puts)

    async def _stored(self, records: Sequence[PendingRecord]) -> None:
        """Wait until the events of ``records`` are stored."""
        if records:
            assert self._tap is not None
            await self._tap.all_stored(records)


def _with_tree(event: Event, account_tree: tuple[str, ...]) -> Event:
    """Return ``event``, or a copy with ``account_tree`` if only the argument is not empty."""
    if event.account_tree or not account_tree:
        return event
    return with_account_tree(event, account_tree)


def _up_to(last_number: int, queues: Sequence[BoundedQueue]) -> tuple[BoundedQueue, ...]:
    """Return the queues that were made no later than the one with this number."""
    return tuple([queue for queue in queues if queue.number <= last_number])


def checked_event(event: Event, max_body: int) -> Event:
    """Return ``event``, if it is a validated event.

    Raises:
        InvalidEventError: it was not validated.
        BodyTooLargeError: its body has more than ``max_body`` bytes of JSON.
    """
    try:
        body = event.__dict__["body"]
    except (AttributeError, KeyError):
        body = None
    if type(body) is not FrozenDict:
        raise InvalidEventError(f"publish takes an edr.Event that was validated, not {event!r}")
    check_size(json_size(body), max_body)
    return event
