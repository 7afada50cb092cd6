"""``Emission``: how events come onto a bus, from its loop and from other threads.

The problem: an emit must reach exactly the subscriptions that want it, wait only where their
policy says so, and cost next to nothing when nobody wants it.

An emit is synchronous up to the point where every queue has the event, or a ticket in its line;
so the order of emits is the order in every queue, and the subscriptions that get an event are
those of one moment. Only then does it wait, for the full ones.

``emit`` and ``emit_nowait`` share their lines, not a method: it would cost an emit to nobody a
fifth of its time.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from threading import get_ident
from typing import Any, cast

from edr.bus.accounts import AccountCache, AccountResolver
from edr.bus.backpressure import wait_for_space
from edr.bus.bounded_queue import BoundedQueue, current_task, put_all
from edr.bus.context import contexts, in_context
from edr.bus.ending import SEALED, Ending
from edr.bus.inbox import ThreadInbox
from edr.bus.loop_bound import is_loop_running
from edr.bus.putters import PendingPut
from edr.bus.recording import JournalTap
from edr.bus.runner import is_inside
from edr.bus.subscription import Subscription, queue_of
from edr.bus.template import Draft, Template, TemplateKey, checked_account
from edr.errors import BusClosedError, InvalidEventError, WrongLoopError
from edr.records import (
    AnySeverity,
    AnyVerbosity,
    Event,
    FrozenDict,
    check_size,
    json_size,
    no_object,
    snapshot,
)

# Bound once: emit would look the class up, and its method, each time.
_now = datetime.now


_NO_JOURNAL = "a durable emit needs a journal: Bus(journal=…)"


class Emission(Ending):
    """What a bus does with an event that is emitted."""

    def __init__(
        self,
        node: str,
        stall_timeout: float,
        accounts: AccountResolver | None,
        accounts_timeout: float,
        accounts_ttl: float,
        accounts_cache: int,
        max_body: int,
        drain_grace: float,
        *,
        debug: bool,
    ) -> None:
        super().__init__(node, stall_timeout, max_body, drain_grace, debug=debug)
        self._max_body = max_body
        self._known_routes = self._routes.known
        self._emits = 0
        self._account_failures = 0
        self._accounts: AccountCache | None = None
        if accounts is not None:
            self._accounts = AccountCache(
                accounts,
                timeout=accounts_timeout,
                ttl=accounts_ttl,
                size=accounts_cache,
                on_failure=self._account_failed,
                spawn=self._spawn,
            )
        self._inbox = ThreadInbox(self._offer, self._prepare, self._spawn)

    async def emit(  # noqa: C901 - its branches are what it costs: calls would cost more
        self,
        app_name: str,
        app_version: str,
        severity: AnySeverity,
        verbosity: AnyVerbosity,
        body: Mapping[str, Any],
        account_id: str | None = None,
        durable: bool = False,  # noqa: FBT001, FBT002 - a keyword alone costs each call a tenth
    ) -> int:
        """Emit an event to every subscription that wants it.

        Returns the number of subscriptions that took it into their queues. Queued is not
        handled: the subscribers run later, in their own tasks, and may still fail on it.

        Order: the emits of a task arrive in their order. Waiting: only for full queues, see
        ``Overflow``; never for a subscriber's code. Cancellation: subscriptions with room have
        the event; those still waited for have dropped it, counted as ``cancelled``.

        ``durable=True`` waits until the bus's journal has stored the event, whatever the journal's
        bindings; cancelled meanwhile, it may or may not be stored.

        Raises:
            InvalidEventError: a name, a level or the body is wrong; it reached nobody.
            BodyTooLargeError: the body is larger than ``Bus(max_body=…)``; no subscriber got it.
            BusClosedError, WrongLoopError: the bus cannot be used here; it reached nobody.
            DeadlockError: it would wait for the task that it runs in.
            ValueError: it shall be durable, and the bus has no journal; it reached nobody.
            edr.journal.JournalError: it is not known to be stored; subscribers have it.
        """
        if durable:
            return await self._emit_durably(
                app_name, app_version, severity, verbosity, body, account_id
            )
        if get_ident() != self._thread or current_task(self._loop) is None:
            self._enter_to_emit()
        if contexts.are_used:
            body, account_id = in_context(body, account_id)
        account_tree: tuple[str, ...] = ()
        if account_id is not None:
            if type(account_id) is not str or not account_id or not account_id.isascii():
                account_id = checked_account(account_id)
            if self._accounts is not None:
                known = self._accounts.known(account_id)
                if known is None:
                    key = (app_name, app_version, severity, verbosity)
                    draft = self._draft(key, account_id, body, self._registry.last_number)
                    with self._inbox.emit_on_the_way():
                        admitted, puts = await self._offer(draft)
                    return admitted + await wait_for_space(puts)
                account_tree = known
        try:
            route = self._known_routes[app_name, app_version, severity, verbosity]
        except (KeyError, TypeError):
            route = None
        if route is None:
            route = self._routes.find((app_name, app_version, severity, verbosity))
        if type(body) is not dict and not isinstance(body, Mapping):
            raise no_object(body)
        queues = route.queues
        if not queues and (
            route.unwanted or not (queues := route.wanting(account_id, account_tree, body))
        ):
            self._emits += 1
            return 0
        event = route.stamp(body, _now(UTC), account_id, account_tree)
        self._emits += 1
        puts = []
        admitted = put_all(queues, event, puts)
        return admitted + await wait_for_space(puts) if puts else admitted

    async def _emit_durably(
        self,
        app_name: str,
        app_version: str,
        severity: AnySeverity,
        verbosity: AnyVerbosity,
        body: Mapping[str, Any],
        account_id: str | None = None,
        *,
        durable: bool = True,
    ) -> int:
        if not durable:
            emit = Emission.emit
            return await emit(self, app_name, app_version, severity, verbosity, body, account_id)
        tap = self._tap
        if tap is None:
            raise ValueError(_NO_JOURNAL)
        self._enter_to_emit()
        draft = self._draft_of(app_name, app_version, severity, verbosity, body, account_id)
        last_number = self._registry.last_number
        account_tree: tuple[str, ...] = ()
        if self._accounts is not None and draft.account_id is not None:
            known = self._accounts.known(draft.account_id)
            if known is None:
                known = await self._accounts.ancestors(draft.account_id)
                self._check_open()
            account_tree = known
        route = self._routes.find(draft.template)
        queues = route.queues or route.wanting(draft.account_id, account_tree, draft.body)
        journal: object = tap
        # The journal gets it below. The other taps get it here: their number is 0.
        queues = tuple([q for q in queues if q is not journal and q.number <= last_number])
        event = route.stamp(draft.body, draft.timestamp, draft.account_id, account_tree)
        self._emits += 1
        return await self._put_durably(tap, queues, event)

    async def _put_durably(
        self, tap: JournalTap, queues: Sequence[BoundedQueue], event: Event
    ) -> int:
        """Give ``event`` to the journal and to ``queues``; wait for full ones and the storage."""
        recorded = tap.offer_durably(event)
        puts: list[PendingPut] = [] if recorded.storing is not None else [recorded]
        admitted = put_all(queues, event, puts)
        try:
            if puts:
                admitted += await wait_for_space(puts)
        except BaseException:  # the emit ends here, so it does not await the storage
            recorded.cancel()
            raise
        await tap.stored(recorded)
        return admitted

    async def publish(
        self, event: Event, *, besides: Subscription[Any] | None = None, durable: bool = False
    ) -> int:
        """Emit an event that exists already, as it is: from a file, a broker, another bus.

        Args:
            event: the event.
            besides: a subscription that does not get it, because it came from there.
            durable: wait until the bus's journal has stored the event, as ``emit`` does.

        Returns, waits and raises as ``emit`` does.
        """
        if durable:
            return await self._publish_durably(event, besides)
        queues = self._wanted_by(event, besides)
        puts: list[PendingPut] = []
        admitted = put_all(queues, event, puts)
        return admitted + await wait_for_space(puts) if puts else admitted

    async def _publish_durably(self, event: Event, besides: Subscription[Any] | None) -> int:
        tap = self._tap
        if tap is None:
            raise ValueError(_NO_JOURNAL)
        # The journal gets it by the way of a durable emit, so not once more as one of the queues.
        wanted: tuple[object, ...] = self._wanted_by(event, besides)
        queues = cast("list[BoundedQueue]", [queue for queue in wanted if queue is not tap])
        return await self._put_durably(tap, queues, event)

    def publish_soon(
        self, event: Event, *, besides: Subscription[Any] | None = None
    ) -> asyncio.Task[int] | None:
        """Emit an event that exists already, and let a task of the bus wait for what is full.

        For links and sources, which bring the events of many emitters: one slow subscriber must
        not hold up what comes next for all the others. Every subscription with room has the event
        when this returns; the order of calls is the order in every queue.

        Returns:
            The task that waits, as ``publish`` would, for how many of the full ones took it; or
            ``None`` if none was full. Whoever calls this bounds how many such tasks there are.
        """
        puts: list[PendingPut] = []
        put_all(self._wanted_by(event, besides), event, puts)
        return self._spawn(wait_for_space(puts)) if puts else None

    def publish_nowait(self, event: Event, *, besides: Subscription[Any] | None = None) -> int:
        """Emit an event that exists already, without waiting, as ``emit_nowait`` does."""
        return sum([queue.offer_nowait(event) for queue in self._wanted_by(event, besides)])

    def emit_nowait(
        self,
        app_name: str,
        app_version: str,
        severity: AnySeverity,
        verbosity: AnyVerbosity,
        body: Mapping[str, Any],
        account_id: str | None = None,
    ) -> int:
        """Emit without waiting, for plain functions on the loop's thread.

        As ``emit``, but a policy drops at once, and a full queue under BLOCK drops the event,
        counted as ``would_block``. An account whose ancestors must be waited for has none.
        """
        if get_ident() != self._thread or current_task(self._loop) is None:
            self._enter_to_emit()
        if contexts.are_used:
            body, account_id = in_context(body, account_id)
        account_tree: tuple[str, ...] = ()
        if account_id is not None:
            if type(account_id) is not str or not account_id or not account_id.isascii():
                account_id = checked_account(account_id)
            if self._accounts is not None:
                account_tree = self._accounts.known_or_empty(account_id)
        try:
            route = self._known_routes[app_name, app_version, severity, verbosity]
        except (KeyError, TypeError):
            route = None
        if route is None:
            route = self._routes.find((app_name, app_version, severity, verbosity))
        if type(body) is not dict and not isinstance(body, Mapping):
            raise no_object(body)
        queues = route.queues
        if not queues and (
            route.unwanted or not (queues := route.wanting(account_id, account_tree, body))
        ):
            self._emits += 1
            return 0
        event = route.stamp(body, _now(UTC), account_id, account_tree)
        self._emits += 1
        return sum([queue.offer_nowait(event) for queue in queues])

    def emit_threadsafe(
        self,
        app_name: str,
        app_version: str,
        severity: AnySeverity,
        verbosity: AnyVerbosity,
        body: Mapping[str, Any],
        account_id: str | None = None,
    ) -> Future[int]:
        """Emit from any thread; the loop is woken at once.

        The event is checked, copied and stamped here and now, so ``InvalidEventError`` is raised
        here. The returned future gives what ``emit`` returns, once every queue has taken or
        dropped it. The events of a thread keep their order. This waits only while 1,024 events of
        other threads are on their way, and never on the loop's own thread.

        Raises:
            InvalidEventError: as ``emit``.
            BusClosedError: the bus was closed, or its loop was.
            WrongLoopError: no loop has used the bus yet, or this is a fork of its process.
        """
        draft = self._draft_of(app_name, app_version, severity, verbosity, body, account_id)
        return self._hand_over(draft)

    def emit_anywhere(
        self,
        app_name: str,
        app_version: str,
        severity: AnySeverity,
        verbosity: AnyVerbosity,
        body: Mapping[str, Any],
        account_id: str | None = None,
    ) -> bool:
        """Emit from any thread, the loop's too, and never wait: for log handlers and their like.

        On the loop's thread this is ``emit_nowait``; elsewhere the event is checked, copied and
        stamped here and handed over, unless 1,024 events of threads are on their way already, or
        the bus is over. What is refused so is counted, in ``statistics().refused``, and logged.

        Returns:
            Whether the event is on its way; what becomes of it then is in the counts.

        Raises:
            InvalidEventError: as ``emit``.
            WrongLoopError: no loop has used the bus yet, or this is a fork of its process.
        """
        if self._is_at_home():
            try:
                self.emit_nowait(app_name, app_version, severity, verbosity, body, account_id)
            except BusClosedError:  # a sealed bus has counted it
                return False if self._end.is_sealed else self._refuse("it is over")
            return True
        draft = self._draft_of(app_name, app_version, severity, verbosity, body, account_id)
        return self._hand_over_nowait(draft)

    def publish_threadsafe(self, event: Event) -> Future[int]:
        """Emit an event that exists already from any thread, as ``emit_threadsafe`` does."""
        return self._hand_over(checked_event(event, self._max_body))

    def publish_anywhere(self, event: Event) -> bool:
        """Emit an event that exists already from any thread, as ``emit_anywhere`` does."""
        if self._is_at_home():
            try:
                self.publish_nowait(event)
            except BusClosedError:  # a sealed bus has counted it
                return False if self._end.is_sealed else self._refuse("it is over")
            return True
        return self._hand_over_nowait(checked_event(event, self._max_body))

    def _hand_over(self, draft: Draft | Event) -> Future[int]:
        self._check_emit()
        return self._inbox.put(draft, self._known_loop(), wait=get_ident() != self._home)

    def _hand_over_nowait(self, draft: Draft | Event) -> bool:
        loop = self._known_loop()
        if self._closed or (self._end.drain is not None and not is_inside(self)):
            return self._refuse("it is over")
        if self._end.is_sealed:
            self._count_unprocessed(1)
            return self._refuse(SEALED)
        if not self._inbox.put_nowait(draft, loop):
            return self._refuse("too many events of threads are on their way")
        return True

    def _is_at_home(self) -> bool:
        """Tell whether this is called on the loop's thread, while the loop runs."""
        return get_ident() == self._home and is_loop_running()

    def _known_loop(self) -> asyncio.AbstractEventLoop:
        if self._pid != os.getpid():
            self._check_open()
        if self._loop is None:
            raise WrongLoopError(
                f"no event loop has used {self!r} yet; in the one that shall, call its enter()"
            )
        loop: asyncio.AbstractEventLoop = self._loop
        return loop

    def _wanted_by(
        self, event: Event, besides: Subscription[Any] | None
    ) -> tuple[BoundedQueue, ...]:
        if get_ident() != self._thread or current_task(self._loop) is None:
            self._enter_to_emit()
        try:  # what checked_event does, without a call: the usual case of publish
            fields = event.__dict__
            body = fields["body"]
            is_checked = type(body) is FrozenDict and body.json_size <= self._max_body
        except (AttributeError, KeyError):
            is_checked = False
        if not is_checked:
            fields = checked_event(event, self._max_body).__dict__
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
        self._emits += 1
        if besides is None:
            return queues
        source = queue_of(besides)
        return tuple([queue for queue in queues if queue is not source])

    def _draft_of(
        self,
        app_name: str,
        app_version: str,
        severity: AnySeverity,
        verbosity: AnyVerbosity,
        body: Mapping[str, Any],
        account_id: str | None,
    ) -> Draft:
        if contexts.are_used:
            body, account_id = in_context(body, account_id)
        if account_id is not None:
            account_id = checked_account(account_id)
        return self._draft((app_name, app_version, severity, verbosity), account_id, body, None)

    def _draft(
        self,
        key: TemplateKey,
        account_id: str | None,
        body: Mapping[str, Any],
        last_number: int | None,
    ) -> Draft:
        """Check and stamp an event that must wait for the accounts above it."""
        timestamp = _now(UTC)
        Template(key, self.node, self._max_body)
        if not isinstance(body, Mapping):
            raise no_object(body)
        return Draft(key, account_id, snapshot(body, self._max_body), timestamp, last_number)

    def _prepare(self, draft: Draft | Event) -> None:
        """Begin what ``_offer`` will wait for."""
        if self._accounts is None or draft.account_id is None or isinstance(draft, Event):
            return
        self._accounts.prepare(draft.account_id)

    async def _offer(self, draft: Draft | Event) -> tuple[int, list[PendingPut]]:
        """Find the accounts above, match, and put.

        The event goes to those who were subscribed when its emit was called: not to one who
        comes while the accounts are looked up.
        """
        puts: list[PendingPut] = []
        if isinstance(draft, Event):
            return put_all(self._matching(draft), draft, puts), puts
        account_id = draft.account_id
        account_tree: tuple[str, ...] = ()
        if self._accounts is not None and account_id is not None:
            account_tree = await self._accounts.ancestors(account_id)
        self._check_open()
        route = self._routes.find(draft.template)
        queues = route.queues or route.wanting(account_id, account_tree, draft.body)
        if draft.last_number is not None:
            queues = tuple([queue for queue in queues if queue.number <= draft.last_number])
        self._emits += 1
        if not queues:
            return 0, []
        event = route.stamp(draft.body, draft.timestamp, account_id, account_tree)
        return put_all(queues, event, puts), puts

    def _matching(self, event: Event) -> tuple[BoundedQueue, ...]:
        """Return the queues of an event that was checked where its thread handed it over."""
        self._check_open()
        key = (event.app_name, event.app_version, event.severity, event.verbosity)
        route = self._routes.find(key)
        self._emits += 1
        return route.queues or route.wanting(event.account_id, event.account_tree, event.body)

    def _account_failed(self, account_id: str, exc: BaseException) -> None:
        self._account_failures += 1
        self._log.log(
            logging.WARNING,
            "accounts",
            "the ancestors of account %r could not be found (%r); its events go out without",
            account_id,
            exc,
        )


def checked_event(event: Event, max_body: int) -> Event:
    """Return ``event`` if it is one, and was validated.

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
