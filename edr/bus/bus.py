"""``Bus``: emit, subscribe, bind, drain.

A bus has parts: ``LoopGuard`` binds it to a loop, ``Admission`` decides who may emit, ``Publisher``
has the pipeline of an event, ``Lifecycle`` drains and closes. The methods here check and delegate.
Only ``emit`` and ``emit_nowait`` have the whole pipeline in their own lines, and share no method:
a call would cost an emit without subscribers a fifth of its time.

The README has a table of promises; ``docs/promises.md`` names the tests of each.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from threading import get_ident
from types import TracebackType
from typing import Any, Literal, NamedTuple, Never, Self, TypedDict, TypeVar, Unpack, overload

from edr._util.log import RateLimitedLog
from edr.bus.accounts import AccountCache, AccountFailures, AccountResolver
from edr.bus.admission import Admission
from edr.bus.backpressure import wait_for_space
from edr.bus.bounded_queue import current_task, put_all
from edr.bus.callbacks import (
    Handle,
    Handles,
    OnOptions,
    SubscribeOptions,
    bindings_of,
    check_callback,
    decorator,
)
from edr.bus.context import contexts, in_context
from edr.bus.event_factory import EventKey, PendingEvent, checked_account
from edr.bus.inbox import ThreadInbox
from edr.bus.interest import InterestWatch, OnInterest
from edr.bus.journal_tap import EventJournal, JournalTap
from edr.bus.lifecycle import Lifecycle
from edr.bus.loop_guard import LoopGuard, is_loop_running
from edr.bus.options import (
    accepts,
    check_name,
    choice,
    function,
    keywords,
    plain_function,
    seconds,
    text,
    whole_number,
)
from edr.bus.overflow import AnyOverflow, Gap, Overflow
from edr.bus.publisher import Publisher, checked_event
from edr.bus.putters import PendingPut
from edr.bus.registry import Registry
from edr.bus.routes import Routes
from edr.bus.runner import (
    NO_PAYLOAD,
    Callback,
    CallbackOptions,
    CallbackRunner,
    OnError,
)
from edr.bus.services import Service, Services
from edr.bus.shutdown import is_program_ending
from edr.bus.statistics import BusStatistics, MatchResult, SubscriptionInfo
from edr.bus.subscription import Subscription, queue_of
from edr.bus.taps import GuardedTap, Tap
from edr.bus.tasks import Tasks
from edr.bus.tracing import Tracer
from edr.records import (
    EVERY_EVENT,
    AnySeverity,
    AnyVerbosity,
    Binding,
    BindingFields,
    Event,
    checked_bindings,
    default_node,
    no_object,
)

# Bound once: emit would look up the class, and its method, each time.
_now = datetime.now

_SUBSCRIBE_KEYWORDS = ("capacity", "overflow", "name", "gaps", *Binding.model_fields)

DEFAULT_MAX_BODY = 256 * 1024
"""Bytes of JSON that a body may have. EventBridge and SQS take as much, NATS 1 MiB by default. A
match of one pattern within ``Limits.untrusted()`` takes at most 100 ms then."""

F = TypeVar("F", bound=Callable[..., Any])


class BusOptions(TypedDict, total=False):
    """The keywords of ``Bus``."""

    node: str | None
    accounts: AccountResolver | None
    accounts_timeout: float
    accounts_ttl: float
    accounts_cache: int
    stall_timeout: float
    debug: bool
    max_body: int
    drain_grace: float
    on_error: OnError | None
    journal: EventJournal | None
    durable: bool


class Bus:
    """An event bus. It belongs to the event loop in which it is first used.

    Args:
        node: where the events come from; by default the host's name and the process id.
        accounts: finds the ancestors of an account; without it every tree is empty.
        accounts_timeout: seconds to wait for a look-up.
        accounts_ttl: seconds for which its result is cached.
        accounts_cache: number of accounts in the cache.
        stall_timeout: seconds after which emitters stop waiting for a subscriber under BLOCK;
            ``math.inf`` for no limit.
        debug: check the body of every event, even if no subscription matches it.
        drain_grace: seconds for which a drain accepts events from callbacks and consumers. After
            that, such events are refused, counted (``statistics().refused``) and logged, so that
            the drain ends; ``math.inf`` for no limit.
        max_body: bytes of JSON that the body of an event may have, 256 KiB by default. ``emit``,
            ``publish`` and all their forms raise ``BodyTooLargeError`` for a larger one. Matching
            takes time in proportion to the body, so a larger limit lets one event hold the loop
            for longer.
        on_error: ``on_error(exception, event)`` for callbacks that were bound without their own.
        journal: stores the emitted events that its bindings match. ``async with`` opens it, and
            the end of the bus closes it; see ``edr.journal``.
        durable: let ``emit`` wait until the journal has stored the event, unless it says
            ``durable=False``.

    ``async with Bus() as bus`` drains the bus at a clean end, and closes it at an error.
    """

    def __init__(
        self,
        *,
        node: str | None = None,
        accounts: AccountResolver | None = None,
        accounts_timeout: float = 1.0,
        accounts_ttl: float = 60.0,
        accounts_cache: int = 10_000,
        stall_timeout: float = 5.0,
        debug: bool = False,
        max_body: int = DEFAULT_MAX_BODY,
        drain_grace: float = 30.0,
        on_error: OnError | None = None,
        journal: EventJournal | None = None,
        durable: bool = False,
    ) -> None:
        seconds("stall_timeout", stall_timeout)
        seconds("accounts_timeout", accounts_timeout, infinite=False)
        seconds("accounts_ttl", accounts_ttl)
        whole_number("accounts_cache", accounts_cache, at_least=0)
        whole_number("max_body", max_body, at_least=2)
        seconds("drain_grace", drain_grace, zero=True)
        if on_error is not None:
            plain_function("on_error", on_error)
            accepts("on_error", on_error, "exception", "event")
        if accounts is not None:
            function("accounts.ancestors", getattr(accounts, "ancestors", None))
            accepts("accounts.ancestors", accounts.ancestors, "account_id")
        self.node: str = default_node() if node is None else text("node", node)
        self._log = RateLimitedLog()
        self._guard = LoopGuard(
            self.__repr__, self._set_hot_path, self._start_callbacks, self._loop_ended
        )
        # The hot path of emit reads these two, so they are copies of the guard's.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._emits = 0  # with a match; an emit counts in one of the two, so both cost nothing
        self._unmatched = 0
        self._tasks = Tasks(self._guard)
        self._routes = Routes(self.node, max_body, debug=debug)
        self._known_routes = self._routes.known
        self._registry = Registry(
            self._routes, stall_timeout, self._guard.call_soon, self._left_behind
        )
        self._handles = Handles()
        self._callback_errors = 0
        self._on_error = on_error
        self._taps: dict[int, GuardedTap] = {}  # by identity: the == of a tap is not called
        self._tap_errors = 0
        self._tap: JournalTap | None = None
        if durable and journal is None:
            raise ValueError("durable=True needs a journal: Bus(journal=…)")
        if journal is not None:
            self._tap = JournalTap(journal, self._tasks.spawn, self._log)
            self._routes.add_tap(self._tap, journal.bindings)
        self._account_failures = AccountFailures(self._log)
        self._accounts: AccountCache | None = None
        if accounts is not None:
            self._accounts = AccountCache(
                accounts,
                timeout=accounts_timeout,
                ttl=accounts_ttl,
                size=accounts_cache,
                on_failure=self._account_failures.add,
                spawn=self._tasks.spawn,
            )
        self._admission = Admission(self._guard, self._registry, self._log, self.__repr__)
        self._publisher = Publisher(
            node=self.node,
            max_body=max_body,
            guard=self._guard,
            admission=self._admission,
            tasks=self._tasks,
            routes=self._routes,
            accounts=self._accounts,
            tap=self._tap,
        )
        self._inbox = ThreadInbox(self._publisher.offer, self._publisher.prepare, self._tasks.spawn)
        self._services = Services(self._tasks.spawn, self._log)
        self._lifecycle = Lifecycle(
            guard=self._guard,
            admission=self._admission,
            tasks=self._tasks,
            registry=self._registry,
            handles=self._handles,
            inbox=self._inbox,
            services=self._services,
            tap=self._tap,
            log=self._log,
            drain_grace=drain_grace,
            describe=self.__repr__,
        )
        if durable:
            # On the instance, so that an emit of another bus does not have to check; and out of
            # sight of type checkers, for which both methods look like ``emit``.
            vars(self)["emit"] = self._emit_durably

    def __repr__(self) -> str:
        state = "closed" if self._guard.closed else "open"
        return f"<Bus {self.node!r} {state}, {len(self._registry)} subscription(s)>"

    def __reduce__(self) -> Never:
        raise TypeError(f"{self!r} must not be copied or pickled; make another one")

    def _set_hot_path(self, loop: asyncio.AbstractEventLoop | None, thread: int) -> None:
        self._loop = loop
        self._thread = thread

    def _start_callbacks(self, loop: asyncio.AbstractEventLoop) -> None:
        self._lifecycle.begin(loop)

    def _loop_ended(self) -> None:
        self._lifecycle.loop_ended()

    def _left_behind(self, count: int) -> None:
        """Called when a consumer closed its subscription with ``count`` events in it."""
        if is_program_ending(self._loop):
            self._lifecycle.report_unprocessed(count)

    def enter(self) -> asyncio.AbstractEventLoop:
        """Bind the bus to the running loop, if it has none yet, and return the loop.

        Every method that needs a loop does this. Call it to bind the bus early, so that other
        threads can emit.

        Raises:
            BusClosedError: the bus was drained or closed.
            WrongLoopError: it belongs to another loop or thread, or to the process that forked.
        """
        return self._guard.enter()

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop that the bus belongs to; ``None`` before its first use."""
        return self._guard.loop

    @property
    def closed(self) -> bool:
        """Whether the bus cannot be used any more.

        It was drained or closed, or its loop was closed, or it belongs to the parent process.
        """
        return self._guard.is_over

    # Emit

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
        """Emit an event to every subscription that matches it.

        Returns the number of subscriptions that queued it. Their consumers run later, in their own
        tasks, and may still fail on it.

        Order: the emits of a task stay in order. Waiting: only for full queues, see ``Overflow``;
        never for the code of a subscriber. Cancellation: subscriptions with room have the event;
        full ones drop it, counted as ``cancelled``.

        ``durable=True`` waits until the journal of the bus has stored the event, whether or not the
        bindings of the journal match. If this wait is cancelled, the event may or may not be
        stored.

        Raises:
            InvalidEventError: a name, a level or the body is not valid; no subscription received
                it.
            BodyTooLargeError: the body is larger than ``Bus(max_body=…)``; as above.
            BusClosedError, WrongLoopError: the bus cannot be used here; as above.
            DeadlockError: the emit would wait for its own task.
            ValueError: ``durable=True``, and the bus has no journal; as above.
            edr.journal.JournalError: the event may not be stored; subscriptions received it.
        """
        if durable:
            return await self._emit_durably(
                app_name, app_version, severity, verbosity, body, account_id
            )
        if get_ident() != self._thread or current_task(self._loop) is None:
            self._admission.check_emit()
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
                    return await self._emit_after_look_up(key, body, account_id)
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
            self._unmatched += 1
            return 0
        event = route.create(body, _now(UTC), account_id, account_tree)
        self._emits += 1
        puts: list[PendingPut] = []
        admitted = put_all(queues, event, puts)
        return admitted + await wait_for_space(puts) if puts else admitted

    async def _emit_after_look_up(
        self, key: EventKey, body: Mapping[str, Any], account_id: str
    ) -> int:
        pending = self._publisher.pending(key, body, account_id, self._registry.last_number)
        with self._inbox.emit_on_the_way():
            admitted, puts = await self._publisher.offer(pending)
        return admitted + await wait_for_space(puts)

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
            emit = Bus.emit
            return await emit(self, app_name, app_version, severity, verbosity, body, account_id)
        self._admission.check_emit()
        key = (app_name, app_version, severity, verbosity)
        pending = self._publisher.pending(key, body, account_id, self._registry.last_number)
        return await self._publisher.publish(pending, durable=True)

    async def publish(
        self,
        event: Event,
        exclude: Subscription[Any] | None = None,
        durable: bool = False,  # noqa: FBT001, FBT002 - keywords alone cost each call 4 %
        resolve: bool = False,  # noqa: FBT001, FBT002
    ) -> int:
        """Emit an existing event unchanged, such as one from a file, a broker or another bus.

        Args:
            event: the event.
            exclude: a subscription that does not receive it, because the event came from there.
            durable: wait until the bus's journal has stored the event, as ``emit`` does.
            resolve: set an empty ``account_tree`` to the ancestors from ``Bus(accounts=…)``, as
                ``emit`` does. An event without an account stays unchanged.

        Returns, waits and raises as ``emit`` does.
        """
        if get_ident() != self._thread or current_task(self._loop) is None:
            self._admission.check_emit()
        if durable or resolve:
            events = [self._publisher.checked(event)]
            return await self._publish_in_order(events, exclude, durable=durable, resolve=resolve)
        queues = self._publisher.match(event, exclude)
        puts: list[PendingPut] = []
        admitted = put_all(queues, event, puts)
        return admitted + await wait_for_space(puts) if puts else admitted

    async def publish_all(
        self,
        events: Iterable[Event],
        *,
        exclude: Subscription[Any] | None = None,
        durable: bool = False,
        resolve: bool = False,
    ) -> int:
        """Emit existing events, as ``publish`` called for each one, with one wait for storage.

        All events are checked first. The subscriptions of the moment of the call receive them, in
        their order; events of other tasks may come between two of them.

        Args:
            events: the events.
            exclude: a subscription that does not receive them.
            durable: wait once, until the bus's journal has stored all events. Events that are
                published without a wait share a commit.
            resolve: as in ``publish``, with one look-up for each account.

        Returns:
            The sum of the results of ``publish`` for each event: how many times a subscription
            queued an event.

        Waiting: for full queues, after each event, as ``publish``. Cancellation: the first events
        were published, the others were not; with ``durable=True`` the first ones may or may not be
        stored.

        Raises:
            InvalidEventError, BodyTooLargeError: an event is not valid, and ``path`` begins with
                its index, such as ``[2]``; no event was published.
            ValueError: ``durable=True``, and the bus has no journal; as above.
            BusClosedError, WrongLoopError: the bus cannot be used here; as above. If the bus closes
                during the call, the first events were published.
            DeadlockError: as ``emit``; the events after that one were not published.
            edr.journal.EventsRefusedError: the journal refused the events that the error names, and
                stored the others; subscriptions received all of them.
            edr.journal.JournalError: the events may not be stored; subscriptions received them. A
                note on the error names refused ones.
        """
        if get_ident() != self._thread or current_task(self._loop) is None:
            self._admission.check_emit()
        checked = self._publisher.checked_all(events)
        return await self._publish_in_order(checked, exclude, durable=durable, resolve=resolve)

    async def _publish_in_order(
        self,
        events: Sequence[Event],
        exclude: Subscription[Any] | None,
        *,
        durable: bool,
        resolve: bool,
    ) -> int:
        publisher, last_number = self._publisher, self._registry.last_number
        if durable:
            publisher.check_durable()
        if resolve:
            with self._inbox.emit_on_the_way():
                events = await publisher.with_ancestors(events)
        return await publisher.publish_all(
            events, exclude, durable=durable, last_number=last_number
        )

    async def ancestors(self, *account_ids: str) -> dict[str, tuple[str, ...]]:
        """Return the ancestors of accounts, root first, from ``Bus(accounts=…)`` and its cache.

        A source uses it to check that a sender may emit for an account. An account without
        ancestors has an empty tuple. So does one that is unknown, or whose look-up failed, and
        each account of a bus without ``accounts``.

        Raises:
            InvalidEventError: an id is not a non-empty string.
            BusClosedError, WrongLoopError: the bus cannot be used here.
        """
        self._guard.enter()
        checked = [checked_account(account_id) for account_id in account_ids]
        if self._accounts is None:
            return dict.fromkeys(checked, ())
        return await self._accounts.ancestors_of(checked)

    def publish_nowait(self, event: Event, *, exclude: Subscription[Any] | None = None) -> bool:
        """Emit an existing event from any thread, without waiting.

        Returns and raises as ``emit_nowait`` does.

        Args:
            event: the event.
            exclude: a subscription that does not receive it. Only in the loop of the bus.
        """
        if (
            get_ident() != self._thread or current_task(self._loop) is None
        ) and not self._accepts_here():
            if exclude is not None:
                self._guard.enter()
            return self._hand_over_nowait(self._publisher.checked(event))
        for queue in self._publisher.match(event, exclude):
            queue.offer_nowait(event)
        return True

    def emit_nowait(  # noqa: C901 - as emit
        self,
        app_name: str,
        app_version: str,
        severity: AnySeverity,
        verbosity: AnyVerbosity,
        body: Mapping[str, Any],
        account_id: str | None = None,
    ) -> bool:
        """Emit from any thread without waiting, for plain functions and log handlers.

        In the loop this works as ``emit``, but a full queue applies its policy at once, and under
        BLOCK drops the event, counted as ``would_block``. If the account look-up takes time, the
        event has an empty ``account_tree``. In another thread, the event is checked and copied
        there, and handed to the loop.

        Returns:
            Whether the bus accepted the event. It refuses the event if it is closed or drains, or
            if 1,024 events of other threads wait for the loop. Refused events are counted in
            ``statistics().refused`` and logged.

        Raises:
            InvalidEventError: as ``emit``.
            WrongLoopError: no loop has used the bus yet, another loop runs in the thread of the
                bus, or this is a fork of its process.
        """
        if (
            get_ident() != self._thread or current_task(self._loop) is None
        ) and not self._accepts_here():
            key = (app_name, app_version, severity, verbosity)
            return self._hand_over_nowait(self._publisher.pending(key, body, account_id))
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
            self._unmatched += 1
            return True
        event = route.create(body, _now(UTC), account_id, account_tree)
        self._emits += 1
        for queue in queues:
            queue.offer_nowait(event)
        return True

    def emit_threadsafe(
        self,
        app_name: str,
        app_version: str,
        severity: AnySeverity,
        verbosity: AnyVerbosity,
        body: Mapping[str, Any],
        account_id: str | None = None,
    ) -> Future[int]:
        """Emit from any thread, and wake the loop.

        The event is checked and copied in the calling thread. The returned future has the
        result of ``emit`` once every queue has accepted or dropped the event. The events of a
        thread stay in order. This waits only while 1,024 events of other threads are pending, and
        never in the thread of the loop.

        Raises:
            InvalidEventError: as ``emit``.
            BusClosedError: the bus was closed, or its loop was.
            WrongLoopError: no loop has used the bus yet, or this is a fork of its process.
        """
        key = (app_name, app_version, severity, verbosity)
        pending = self._publisher.pending(key, body, account_id)
        return self._hand_over(pending)

    def publish_threadsafe(self, event: Event) -> Future[int]:
        """Emit an existing event from any thread, as ``emit_threadsafe`` does."""
        return self._hand_over(self._publisher.checked(event))

    def _hand_over(self, item: PendingEvent | Event) -> Future[int]:
        self._admission.check_hand_over()
        loop = self._guard.loop_for_threads()
        return self._inbox.put(item, loop, wait=get_ident() != self._guard.home)

    def _accepts_here(self) -> bool:
        """Return whether this is the loop of the bus, and an event is accepted here."""
        guard = self._guard
        is_elsewhere = guard.loop is not None and get_ident() != guard.home
        if guard.closed or is_elsewhere or not is_loop_running():
            return False
        guard.enter()
        return self._admission.accepts()

    def _hand_over_nowait(self, item: PendingEvent | Event) -> bool:
        loop = self._guard.loop_for_threads()
        if not self._admission.accepts():
            return self._admission.refuse()
        if not self._inbox.put_nowait(item, loop):
            return self._admission.refuse("too many events of threads are on their way")
        return True

    # Subscribe

    @overload
    def subscribe(
        self, *bindings: Binding, gaps: Literal[False] = False, **options: Unpack[SubscribeOptions]
    ) -> Subscription: ...
    @overload
    def subscribe(
        self, *bindings: Binding, gaps: bool, **options: Unpack[SubscribeOptions]
    ) -> Subscription[Event | Gap]: ...
    def subscribe(
        self,
        *bindings: Binding,
        capacity: int = 1024,
        overflow: AnyOverflow = Overflow.BLOCK,
        name: str | None = None,
        gaps: bool = False,
        **wanted: Unpack[BindingFields],
    ) -> Subscription[Any]:
        """Subscribe to the events that any of ``bindings`` matches; without one, to every event.

        The fields of one binding may be given as keywords: ``subscribe(severity="warning")``.
        A ``Binding()`` matches events of verbosity ``info`` and higher.

        The subscription is registered when this returns, so it receives every later event. An event
        that several of its bindings match is received once.

        Args:
            bindings: the events to receive.
            capacity: limit of queued events.
            overflow: the policy for an event that finds a full queue.
            name: the name in log lines and statistics.
            gaps: put a ``Gap`` into the stream where events were dropped.
            wanted: the fields of one more binding.

        Raises:
            InvalidBindingError: an argument is not a binding.
            TypeError, ValueError: an option is not valid.
        """
        keywords("subscribe", wanted, _SUBSCRIBE_KEYWORDS)
        whole_number("capacity", capacity, at_least=1)
        policy = choice("overflow", overflow, Overflow)
        check_name(name)
        checked = bindings_of(bindings, wanted)
        self._admission.check_subscribe()
        queue = self._registry.add(checked, capacity, policy, name, gaps=gaps)
        return Subscription(self._guard, queue)

    def watch_interest(
        self, on_change: OnInterest, *, exclude: Subscription[Any] | None = None
    ) -> InterestWatch:
        """Call ``on_change(key, wanted)`` when a key of the trie gains or loses its subscriptions.

        It is called at once for each key that has subscriptions now, and then for each change. A
        link uses it to request from a broker only events that local subscriptions match.

        Args:
            on_change: called in the thread of the loop, between two events; it must not raise.
            exclude: a subscription that does not count, such as the link's own.
        """
        self._guard.check_usable()
        return self._registry.watch_interest(
            on_change, None if exclude is None else queue_of(exclude)
        )

    def add_tap(self, tap: Tap, *bindings: Binding, wanted: bool = False) -> None:
        """Give ``tap`` each event that any of ``bindings`` matches; without one, every event.

        A tap gets events within the call that emits them, also durable ones, and also events that
        queues drop. It is not a subscription, so the result of ``emit`` does not count it.
        An exception that it raises is logged and counted (``statistics().tap_errors``), and the
        emit continues. Adding the same tap again replaces its bindings and ``wanted``.

        Args:
            tap: its ``offer(event)`` or ``offer_nowait(event)`` is called on the loop's thread.
            bindings: the events that it gets.
            wanted: whether the bindings count as interest, so that links request these events.

        Raises:
            InvalidBindingError: a binding is not valid; nothing has changed.
        """
        checked = checked_bindings(bindings or (EVERY_EVENT,))
        guarded = self._taps.setdefault(id(tap), GuardedTap(tap, self._log))
        self._routes.add_tap(guarded, checked, wanted=wanted)

    def remove_tap(self, tap: Tap) -> None:
        """Give ``tap`` no further event. Idempotent."""
        guarded = self._taps.pop(id(tap), None)
        if guarded is not None:
            self._tap_errors += guarded.failed
            self._routes.remove_tap(guarded)

    def record(self, *bindings: Binding, wanted: bool = False) -> None:
        """Store from now on the events that any of ``bindings`` matches; without one, every event.

        Replaces the bindings of the journal of this bus, and ``wanted``. ``journal.bindings`` has
        the bindings in force: the journal owns them, and only this method changes them. Durable
        emits are stored whatever the bindings are. The change is one step: each emit of the loop
        comes before or after it. An emit that waits for an account look-up uses the new bindings.

        Args:
            bindings: the events that the journal stores.
            wanted: whether the bindings count as interest, so that links request these events. The
                bindings with which a journal was made do not.

        Raises:
            ValueError: the bus has no journal.
            InvalidBindingError: an argument is not a binding; nothing has changed.
            BusClosedError, WrongLoopError: the bus cannot be used here; as above.
        """
        if self._tap is None:
            raise ValueError("record needs a journal: Bus(journal=…)")
        checked = checked_bindings(bindings or (EVERY_EVENT,))
        self._guard.check_usable()
        self._tap.journal.set_bindings(checked)
        self._routes.add_tap(self._tap, checked, wanted=wanted)

    # Callbacks

    def bind(
        self,
        bindings: Binding | Iterable[Binding],
        callback: Callback,
        payload: Any = NO_PAYLOAD,
        *,
        name: str | None = None,
        capacity: int = 1024,
        overflow: AnyOverflow = Overflow.BLOCK,
        concurrency: int = 1,
        timeout: float | None = None,
        retries: int = 0,
        backoff: float = 0.1,
        on_error: OnError | None = None,
    ) -> Handle:
        """Call ``callback(event)`` or ``callback(event, payload)`` for matching events.

        The callback, async or plain, runs in a task of the bus, one event after the other. A plain
        one blocks the loop while it runs. If it raises, exits or cancels itself, that is logged,
        counted and passed to ``on_error``, and the next event is handled.

        Binding the same callback, payload and bindings again returns the same handle with its
        options unchanged.

        Args:
            bindings: the events to receive.
            callback: called with each event.
            payload: its second argument; without one it is called with the event alone.
            name: the name in log lines and statistics; by default the callback's own.
            capacity: limit of queued events.
            overflow: the policy for an event that finds a full queue.
            concurrency: concurrent calls; with more than 1, events may be reordered.
            timeout: seconds for each call of an async callback; ``None`` for no limit.
            retries: further calls after a failed one.
            backoff: seconds before the first retry, doubled for each further one.
            on_error: ``on_error(exception, event)``, instead of the bus's.
        """
        check_callback(callback, payload)
        wanted = checked_bindings((bindings,) if isinstance(bindings, Binding) else tuple(bindings))
        options = CallbackOptions(
            concurrency, timeout, retries, backoff, on_error or self._on_error
        )
        self._admission.check_subscribe()
        known = self._handles.find(wanted, callback, payload)
        if known is not None:
            return known
        subscription = self.subscribe(
            *wanted,
            capacity=capacity,
            overflow=overflow,
            name=name_of(callback) if name in (None, "") else name,
        )
        runner = CallbackRunner(
            self._guard,
            callback,
            payload,
            options,
            subscription,
            self._log,
            self._callback_failed,
            self._lifecycle.runner_ended,
        )
        if self._loop is not None:
            runner.start(self._loop)
        return self._handles.add(wanted, runner)

    @overload
    def on(self, callback: F, /) -> F: ...
    @overload
    def on(self, *bindings: Binding, **options: Unpack[OnOptions]) -> Callable[[F], F]: ...
    def on(self, *bindings: Any, **options: Any) -> Any:
        """Decorate a callback: ``bind`` it, with the same options, and return it unchanged.

        The fields of one binding may be given as keywords, beside the options:
        ``@bus.on(app_name="billing", retries=2)``. Without a binding, it receives every event:
        ``@bus.on`` and ``@bus.on()`` are equal.
        """
        return decorator(self.bind, bindings, options)

    # Services

    def add_service(
        self, service: Service, name: str, outbox: Subscription[Any] | None = None
    ) -> None:
        """Attach ``service`` to the bus, which ends it: after a drain, or at ``aclose``.

        While the bus drains, the service still runs, so that it handles what callbacks emit. Then
        the bus is closed, and calls ``service.drain(timeout)`` with the time that is left, and
        ``service.aclose()``. All of that happens before the journal of the bus is closed.

        Args:
            service: a link, or another component that takes from the bus. One that ends by itself
                calls ``remove_service``.
            name: its name in logs and in the result of ``drain``.
            outbox: its subscription. The drain of the bus does not wait for it, and leaves it to
                the service.

        Raises:
            BusClosedError, WrongLoopError: the bus cannot be used here.
        """
        self._guard.enter()
        self._admission.check_inflow()
        self._services.add(service, name, None if outbox is None else queue_of(outbox))

    @property
    def services(self) -> tuple[Service, ...]:
        """The services that are attached, in the order in which they were added."""
        return tuple(self._services)

    def remove_service(self, service: Service) -> None:
        """Detach ``service``: the bus does not end it. Idempotent."""
        self._services.remove(service)

    # Wait, drain and close

    async def join(self, timeout: float | None = None) -> dict[str, int]:
        """Wait until queued events, and the events that they cause, are processed.

        The bus stays open. The wait has no limit for callbacks. A subscription is not waited for
        once it takes nothing for ``stall_timeout``. Links are not waited for. If new events keep
        arriving, this may never return without a timeout. Cancellation: safe; nothing changes.

        Args:
            timeout: seconds to wait; ``None`` for no limit.

        Returns:
            The events that are not processed yet: the names of subscriptions -> events that are
            queued or that a callback handles. Empty if all are processed.
        """
        return await self._lifecycle.join(timeout)

    async def drain(self, timeout: float | None = None) -> dict[str, int]:
        """Stop the inflow, process the queued events, and close the bus.

        The drain waits for each callback until it has finished. The events that callbacks emit are
        processed too, for ``drain_grace`` seconds. After that the bus refuses, counts and logs
        further events, and processes the queued ones. So a drain also ends if callbacks answer each
        other without end. A callback that has returned may not emit, nor may the tasks that it
        began. The drain waits for a subscription until that takes nothing for ``stall_timeout``.
        Then iterators end, links send their pending events, and the journal stores the events that
        it accepted. Any other emit or subscribe raises ``BusClosedError``.

        Any number of tasks may drain at once: it is one drain, which ends for all when the
        shortest of their timeouts does. Callbacks may, too; they are not waited for. Cancellation:
        the drain goes on; ``aclose`` ends it.

        Args:
            timeout: seconds, after which the queued events are dropped and counted as ``closed``.
                Links have the rest of it, and at least one second; ``None`` for no limit but
                theirs.

        Returns:
            The events that were not processed: the names of subscriptions -> events that were
            queued, or that a callback had; the names of links -> events that were not sent. Empty
            if all were processed. They are logged too.
        """
        return await self._lifecycle.drain(timeout)

    async def aclose(self) -> None:
        """Stop now: queued events are dropped and counted, iterators end, callbacks are cancelled.

        Then close what is attached to the bus: its links, and after them its journal. Idempotent.
        From inside a callback it cancels all the others. Cancellation: the bus is closed all the
        same, and so is what is attached to it, though not waited for.
        """
        await self._lifecycle.aclose()

    async def wait_closed(self) -> None:
        """Wait until the bus has closed: its drain or ``aclose`` has finished.

        Then its callbacks have ended, and its services and its journal are closed too. It also
        returns when the loop of the bus ends and the bus was not closed, and at once if the bus is
        closed. It does not close the bus. ``closed`` is already true while services and journal
        close.

        Any number of tasks may wait, also before the first use of the bus, which then belongs to
        the running loop. A callback of the bus may wait; a drain does not wait for that call. The
        ``drain`` or ``aclose`` of a service must not, since the bus waits for them. Cancellation:
        safe; nothing changes.

        Raises:
            WrongLoopError: the bus belongs to another event loop.
        """
        await self._lifecycle.wait_closed()

    async def __aenter__(self) -> Self:
        self._guard.enter()
        await self._lifecycle.open()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._lifecycle.leave(exc)

    def __del__(self) -> None:
        lifecycle = getattr(self, "_lifecycle", None)  # not set if __init__ raised
        if lifecycle is not None:
            lifecycle.collected()

    # Inspect

    def subscriptions(
        self, *, named: bool = False, after: int | None = None, limit: int | None = None
    ) -> tuple[SubscriptionInfo, ...]:
        """Return the subscriptions and callbacks, oldest first. From any thread.

        Each takes about 7 µs, during which the loop is held; others, skipped ones too, cost
        nothing. So list a large bus in pages, and let the loop run between two of them:
        ``bus.subscriptions(after=page[-1].number, limit=500)``. Subscriptions may come and go
        between two pages: none is returned twice, and one that stays is not left out.

        Args:
            named: return only callbacks and subscriptions with a name.
            after: return only those with a ``number`` above this.
            limit: return at most this many; ``None`` for all.

        Raises:
            TypeError, ValueError: ``after`` or ``limit`` is not a number, or below 0 or 1.
        """
        _check_page(after, limit)
        return self._guard.read(lambda: self._subscriptions(after, limit, named=named))

    def _subscriptions(
        self, after: int | None, limit: int | None, *, named: bool
    ) -> tuple[SubscriptionInfo, ...]:
        self._release_here()
        registry, runner_of = self._registry, self._handles.runner_of
        queues = registry.page(after, limit, named=named)
        return tuple([registry.info_of(queue, runner_of(queue)) for queue in queues])

    def explain(
        self, event: Event, *, after: int | None = None, limit: int | None = None
    ) -> tuple[MatchResult, ...]:
        """Return for each subscription whether it matches ``event``, and why not. From any thread.

        It uses ``Binding.explain`` and not the index, so each binding takes about 20 µs, during
        which the loop is held. ``edr.explain`` does the same for bindings without a subscription.

        Args:
            event: the event.
            after: explain only subscriptions with a ``number`` above this.
            limit: explain at most this many; ``None`` for all.

        Raises:
            InvalidEventError: ``event`` is not an event that was validated.
            TypeError, ValueError: as ``subscriptions``.
        """
        checked_event(event, sys.maxsize)
        _check_page(after, limit)
        return self._guard.read(lambda: self._explain(event, after, limit))

    def _explain(
        self, event: Event, after: int | None, limit: int | None
    ) -> tuple[MatchResult, ...]:
        self._release_here()
        registry, runner_of = self._registry, self._handles.runner_of
        queues = registry.page(after, limit)
        return tuple([registry.match_result(each, event, runner_of(each)) for each in queues])

    def statistics(self) -> BusStatistics:
        """Return the counts of this moment, as a frozen snapshot.

        From any thread. It visits the subscriptions that were used since the last visit, which
        takes about 0.1 µs for each.
        """
        return self._guard.read(self._statistics)

    def _statistics(self) -> BusStatistics:
        if self._release_here():
            self._registry.fold()
        sums = self._registry.sums()
        return BusStatistics(
            emits=self._emits + self._unmatched + self._publisher.emits,
            unmatched=self._unmatched + self._publisher.unmatched,
            subscriptions=len(self._registry),
            offered=sums.offered,
            delivered=sums.offered - sums.dropped.total() - sums.pending,
            dropped=dict(sums.dropped),
            pending=sums.pending,
            stalled=sums.stalled,
            callback_errors=self._callback_errors,
            refused=self._admission.refused,
            account_failures=self._account_failures.count,
            tap_errors=self._tap_errors + sum([tap.failed for tap in [*self._taps.values()]]),
            journal=self._journal_statistics(),
        )

    @property
    def max_body(self) -> int:
        """Bytes of JSON that the body of an event may have."""
        return self._publisher.max_body

    @property
    def journal(self) -> EventJournal | None:
        """The journal that stores the events of this bus, or ``None``."""
        return None if self._tap is None else self._tap.journal

    def _release_here(self) -> bool:
        """Remove subscriptions that are no longer referenced, in the loop's thread only.

        Returns:
            Whether this is the loop's thread. Before there is a loop, one may begin at any moment
            in another thread.
        """
        if self._loop is None or get_ident() != self._guard.home:
            return False
        self._registry.release_abandoned()
        return True

    def _callback_failed(self) -> None:
        self._callback_errors += 1

    def _journal_statistics(self) -> Any:
        if self._tap is None:
            return None
        counts = self._tap.journal.statistics()
        return counts._replace(failed=counts.failed + self._tap.refused)


def _check_page(after: int | None, limit: int | None) -> None:
    if after is not None:
        whole_number("after", after, at_least=0)
    if limit is not None:
        whole_number("limit", limit, at_least=1)


def name_of(callback: Callback) -> str:
    """Return the name of a callback for log lines; of a nested function, its own part."""
    name = getattr(callback, "__qualname__", None)
    return name.rpartition("<locals>.")[2] if isinstance(name, str) and name else repr(callback)


class BusParts(NamedTuple):
    """The parts of a bus that other packages of edr use."""

    guard: LoopGuard
    publisher: Publisher
    lifecycle: Lifecycle


def parts_of(bus: Bus) -> BusParts:
    """Return the parts of ``bus``, for other modules of edr and not for users."""
    return BusParts(bus._guard, bus._publisher, bus._lifecycle)  # noqa: SLF001 - see above


def set_tracer(bus: Bus, tracer: Tracer | None) -> None:
    """Trace the events and callbacks of ``bus``, for adapters of edr; ``None`` ends that."""
    bus._routes.set_tracer(tracer)  # noqa: SLF001 - as for parts_of
    bus._publisher.tracer = tracer  # noqa: SLF001
    bus._handles.set_tracer(tracer)  # noqa: SLF001
