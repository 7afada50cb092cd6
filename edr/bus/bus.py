"""``Bus``: what users hold. Emit, subscribe, bind, drain.

The problem: an emit must reach exactly the subscriptions that want it, wait only where their
policy says so, and cost next to nothing when nobody wants it.

**Emit** is synchronous up to the point where every queue has the event, or a ticket in its line;
so the order of emits is the order in every queue, and the subscriptions that get an event are
those of one moment. Only then does it wait, for the full ones.

**The end.** A drain lets in what its own callbacks and consumers emit, since events follow from
events, and nothing else; all who drain at once share one. An end that leaves events undone, of the
bus, of its loop or of the program, says so.

**Tasks.** The bus runs callbacks and look-ups in plain asyncio tasks of its own. Rejected: a task
group, whose cancel scope would be held open in a caller's frame; that breaks a bus in a test
fixture, where set-up and tear-down run in different tasks.

What holds is the README's table of promises; ``docs/promises.md`` names the tests of each.
"""

from __future__ import annotations

import asyncio
import logging
import os
from asyncio import FIRST_COMPLETED
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from datetime import UTC, datetime
from math import inf
from threading import get_ident
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack, overload

from edr.bus.accounts import AccountCache, AccountResolver
from edr.bus.backpressure import settle
from edr.bus.callbacks import Handle, Handles, OnOptions, bindings_of, decorator
from edr.bus.inbox import ThreadInbox
from edr.bus.interest import InterestWatch, OnInterest
from edr.bus.log import RateLimitedLog
from edr.bus.loop_bound import LoopBound, is_loop_running
from edr.bus.options import choice, function, plain_function, seconds, whole_number
from edr.bus.overflow import Overflow
from edr.bus.queue import BoundedQueue, Ticket, current_task, put_all
from edr.bus.quiescence import discard_all, left_in, left_in_slices, until_quiet
from edr.bus.registry import Registry
from edr.bus.routes import Routes, Tap
from edr.bus.runner import (
    NO_PAYLOAD,
    Callback,
    CallbackOptions,
    CallbackRunner,
    OnError,
    is_inside,
    waiting_inside,
)
from edr.bus.statistics import BusStatistics, SubscriptionInfo, Verdict
from edr.bus.subscription import Subscription, queue_of
from edr.bus.template import Draft, Template, TemplateKey, checked_account
from edr.errors import BusClosedError, InvalidEvent, WrongLoopError, kind_of
from edr.records import (
    Binding,
    BindingFields,
    Event,
    FrozenDict,
    Severity,
    Verbosity,
    checked_bindings,
    default_node,
    snapshot,
)

SAID_AFTER = 1.0
"""Seconds after which a drain says for whom it waits."""

DRAIN_PATIENCE = 5.0
"""Seconds for which a drain waits for a subscription that takes nothing, where emitters wait for
ever: a drain must end."""

CANCEL_GRACE = 1.0
"""Seconds that ``aclose`` waits for cancelled tasks; one that swallows its cancellation would
otherwise keep the bus from closing."""

NEXT_TIME = "drain it before: async with, await bus.drain(), or edr.run(main())"

# Bound once: emit would look the class up, and its method, each time.
_now = datetime.now

F = TypeVar("F", bound=Callable[..., Any])


class Bus(LoopBound):
    """An event bus. It belongs to the event loop in which it is first used.

    Args:
        node: where the events come from; by default the host's name and the process id.
        accounts: answers the ancestors of an account; without it every tree is empty.
        accounts_timeout: seconds to wait for such an answer.
        accounts_ttl: seconds for which an answer is remembered.
        accounts_cache: how many answers are remembered.
        stall_after: seconds after which emitters stop waiting for a subscriber under BLOCK;
            ``math.inf`` to wait for ever.
        debug: check the body of every event, also of those that nobody wants.
        on_error: ``on_error(exception, event)`` for callbacks that were bound without their own.

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
        stall_after: float = 5.0,
        debug: bool = False,
        on_error: OnError | None = None,
    ) -> None:
        seconds("stall_after", stall_after)
        seconds("accounts_timeout", accounts_timeout, infinite=False)
        seconds("accounts_ttl", accounts_ttl)
        whole_number("accounts_cache", accounts_cache, at_least=0)
        if on_error is not None:
            plain_function("on_error", on_error)
        if accounts is not None:
            function("accounts.ancestors", getattr(accounts, "ancestors", None))
        super().__init__()
        self.node = node or default_node()
        self._patience = stall_after if stall_after < inf else DRAIN_PATIENCE
        self._on_error = on_error
        self._log = RateLimitedLog()

        self._routes = Routes(self.node, debug=debug)
        self._known_routes = self._routes.known
        self._registry = Registry(self._routes, stall_after, self._wake)
        self._handles = Handles()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._drain: asyncio.Task[dict[str, int]] | None = None
        self._drain_is_due = asyncio.Event()
        self._left: Counter[str] = Counter()

        self._emits = 0
        self._refused = 0
        self._callback_errors = 0
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

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return f"<Bus {self.node!r} {state}, {len(self._registry)} subscription(s)>"

    # Emit

    async def emit(
        self,
        app_name: str,
        app_version: str,
        severity: Severity | str,
        verbosity: Verbosity | str,
        body: Mapping[str, Any],
        account_id: str | None = None,
    ) -> int:
        """Emit an event to every subscription that wants it.

        Returns the number of subscriptions that took it into their queues. Queued is not
        handled: the subscribers run later, in their own tasks, and may still fail on it.

        Order: the emits of a task arrive in their order. Waiting: only for full queues, see
        ``Overflow``; never for a subscriber's code. Cancellation: subscriptions with room have
        the event; those still waited for have dropped it, counted as ``cancelled``.

        Raises:
            InvalidEvent: a name, a level or the body is wrong; it reached nobody.
            BusClosedError, WrongLoopError: the bus cannot be used here; it reached nobody.
            WouldDeadlock: it would wait for the task that it runs in.
        """
        if get_ident() != self._thread or current_task(self._loop) is None:
            self._enter_to_emit()
        account_tree: tuple[str, ...] = ()
        if account_id is not None:
            if type(account_id) is not str or not account_id or not account_id.isascii():
                account_id = checked_account(account_id)
            if self._accounts is not None:
                known = self._accounts.known(account_id)
                if known is None:
                    key = (app_name, app_version, severity, verbosity)
                    draft = self._draft(key, account_id, body, self._registry.last_number)
                    admitted, tickets = await self._offer(draft)
                    return admitted + await settle(tickets)
                account_tree = known
        try:
            route = self._known_routes[app_name, app_version, severity, verbosity]
        except (KeyError, TypeError):
            route = None
        if route is None:
            route = self._routes.find((app_name, app_version, severity, verbosity))
        if type(body) is not dict and not isinstance(body, Mapping):
            raise _no_object(body)
        queues = route.queues
        if not queues and (
            route.unwanted or not (queues := route.wanting(account_id, account_tree, body))
        ):
            self._emits += 1
            return 0
        event = route.stamp(body, _now(UTC), account_id, account_tree)
        self._emits += 1
        tickets = []
        admitted = put_all(queues, event, tickets)
        return admitted + await settle(tickets) if tickets else admitted

    async def publish(self, event: Event, *, besides: Subscription | None = None) -> int:
        """Emit an event that exists already, as it is: from a file, a broker, another bus.

        Args:
            event: the event.
            besides: a subscription that does not get it, because it came from there.

        Returns, waits and raises as ``emit`` does.
        """
        queues = self._wanted_by(event, besides)
        tickets: list[Ticket] = []
        admitted = put_all(queues, event, tickets)
        return admitted + await settle(tickets) if tickets else admitted

    def publish_nowait(self, event: Event, *, besides: Subscription | None = None) -> int:
        """Emit an event that exists already, without waiting, as ``emit_nowait`` does."""
        return sum([queue.offer_nowait(event) for queue in self._wanted_by(event, besides)])

    def emit_nowait(
        self,
        app_name: str,
        app_version: str,
        severity: Severity | str,
        verbosity: Verbosity | str,
        body: Mapping[str, Any],
        account_id: str | None = None,
    ) -> int:
        """Emit without waiting, for plain functions on the loop's thread.

        As ``emit``, but a policy drops at once, and a full queue under BLOCK drops the event,
        counted as ``would_block``. An account whose ancestors must be waited for has none.
        """
        if get_ident() != self._thread or current_task(self._loop) is None:
            self._enter_to_emit()
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
            raise _no_object(body)
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
        severity: Severity | str,
        verbosity: Verbosity | str,
        body: Mapping[str, Any],
        account_id: str | None = None,
    ) -> Future[int]:
        """Emit from any thread; the loop is woken at once.

        The event is checked, copied and stamped here and now, so ``InvalidEvent`` is raised
        here. The returned future gives what ``emit`` returns, once every queue has taken or
        dropped it. The events of a thread keep their order. This waits only while 1,024 events of
        other threads are on their way, and never on the loop's own thread.

        Raises:
            InvalidEvent: as ``emit``.
            BusClosedError: the bus was closed, or its loop was.
            WrongLoopError: no loop has used the bus yet, or this is a fork of its process.
        """
        draft = self._draft_of(app_name, app_version, severity, verbosity, body, account_id)
        return self._hand_over(draft)

    def emit_anywhere(
        self,
        app_name: str,
        app_version: str,
        severity: Severity | str,
        verbosity: Verbosity | str,
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
            InvalidEvent: as ``emit``.
            WrongLoopError: no loop has used the bus yet, or this is a fork of its process.
        """
        if get_ident() == self._thread:
            self.emit_nowait(app_name, app_version, severity, verbosity, body, account_id)
            return True
        draft = self._draft_of(app_name, app_version, severity, verbosity, body, account_id)
        return self._hand_over_nowait(draft)

    def publish_threadsafe(self, event: Event) -> Future[int]:
        """Emit an event that exists already from any thread, as ``emit_threadsafe`` does."""
        return self._hand_over(_checked_event(event))

    def publish_anywhere(self, event: Event) -> bool:
        """Emit an event that exists already from any thread, as ``emit_anywhere`` does."""
        if get_ident() == self._thread:
            self.publish_nowait(event)
            return True
        return self._hand_over_nowait(_checked_event(event))

    def _hand_over(self, draft: Draft | Event) -> Future[int]:
        self._check_inflow()
        return self._inbox.put(draft, self._known_loop(), wait=get_ident() != self._thread)

    def _hand_over_nowait(self, draft: Draft | Event) -> bool:
        loop = self._known_loop()
        drains = self._drain is not None and not is_inside(self)
        if self._closed or drains or not self._inbox.put_nowait(draft, loop):
            self._refused += 1
            self._log.log(
                logging.WARNING,
                "refused",
                "%r refused an event of another thread: %s",
                self,
                "it is over" if self._closed or drains else "too many are on their way",
            )
            return False
        return True

    def _known_loop(self) -> asyncio.AbstractEventLoop:
        if self._pid != os.getpid():
            self._check_open()
        if self._loop is None:
            raise WrongLoopError(
                f"no event loop has used {self!r} yet; in the one that shall, call its enter()"
            )
        loop: asyncio.AbstractEventLoop = self._loop
        return loop

    def _wanted_by(self, event: Event, besides: Subscription | None) -> tuple[BoundedQueue, ...]:
        if get_ident() != self._thread or current_task(self._loop) is None:
            self._enter_to_emit()
        fields = _checked_event(event).__dict__
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
        severity: Severity | str,
        verbosity: Verbosity | str,
        body: Mapping[str, Any],
        account_id: str | None,
    ) -> Draft:
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
        Template(key, self.node)
        if not isinstance(body, Mapping):
            raise _no_object(body)
        return Draft(key, account_id, snapshot(body), timestamp, last_number)

    def _prepare(self, draft: Draft | Event) -> None:
        """Begin what ``_offer`` will wait for."""
        if self._accounts is None or draft.account_id is None or isinstance(draft, Event):
            return
        self._accounts.prepare(draft.account_id)

    async def _offer(self, draft: Draft | Event) -> tuple[int, list[Ticket]]:
        """Find the accounts above, match, and put.

        The event goes to those who were subscribed when its emit was called: not to one who
        comes while the accounts are looked up.
        """
        tickets: list[Ticket] = []
        if isinstance(draft, Event):
            return put_all(self._wanted_by(draft, None), draft, tickets), tickets
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
        return put_all(queues, event, tickets), tickets

    # Subscribe

    def subscribe(
        self,
        *bindings: Binding,
        capacity: int = 1024,
        overflow: Overflow | str = Overflow.BLOCK,
        name: str | None = None,
        gaps: bool = False,
        **wanted: Unpack[BindingFields],
    ) -> Subscription:
        """Subscribe to what any of ``bindings`` matches; without one, to the default binding.

        The fields of one binding may be given as keywords: ``subscribe(severity="warning")``.

        The subscription is registered when this returns: what is emitted after it is seen. An
        event that several of its bindings match comes once.

        Args:
            bindings: what is wanted.
            capacity: events that may be queued.
            overflow: what happens to an event that finds ``capacity`` queued.
            name: stands in warnings and statistics.
            gaps: put a ``Gap`` into the stream where events were dropped.
            wanted: the fields of one more binding.

        Raises:
            InvalidBinding: something is no binding.
            TypeError, ValueError: an option is wrong; the message says what it may be.
        """
        whole_number("capacity", capacity, at_least=1)
        policy = choice("overflow", overflow, Overflow)
        checked = bindings_of(bindings, wanted)
        self.check_usable()
        self._check_inflow()
        queue = self._registry.add(checked, capacity, policy, name, gaps=gaps)
        return Subscription(self, queue)

    def watch_interest(
        self, on_change: OnInterest, *, besides: Subscription | None = None
    ) -> InterestWatch:
        """Tell ``on_change(spot, wanted)`` of each spot of the trie that is wanted, or no longer.

        First of those that are now, at once; then as subscriptions come and go. It is how a link
        asks a broker for what somebody here wants, and for nothing else.

        Args:
            on_change: called on the loop's thread, between two events; it must not raise.
            besides: a subscription whose wants do not count, such as the link's own.
        """
        self.check_usable()
        return self._registry.watch_interest(
            on_change, None if besides is None else queue_of(besides)
        )

    def attach(self, tap: Tap, *bindings: Binding) -> None:
        """Give ``tap`` what any of ``bindings`` matches, without one what the default does.

        A tap takes events as they are emitted, and is no subscription: it is not counted in what
        emit returns, nor anybody's interest. It is how a journal hears of events.
        """
        self.check_usable()
        self._routes.attach(tap, checked_bindings(bindings or (Binding(),)))

    def detach(self, tap: Tap) -> None:
        """Give ``tap`` nothing more. Idempotent."""
        self._routes.detach(tap)

    def _wake(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` on the loop's thread soon, if there is a loop. From any thread."""
        if self._loop is not None and self._pid == os.getpid():
            with suppress(RuntimeError):  # the loop is closed, so nothing is emitted any more
                self._loop.call_soon_threadsafe(callback)

    def _entered(self, loop: asyncio.AbstractEventLoop) -> None:
        self._registry.release()
        for runner in self._handles:
            runner.start(loop)

    # Callbacks

    def bind(
        self,
        bindings: Binding | Iterable[Binding],
        callback: Callback,
        payload: Any = NO_PAYLOAD,
        *,
        name: str | None = None,
        capacity: int = 1024,
        overflow: Overflow | str = Overflow.BLOCK,
        concurrency: int = 1,
        timeout: float | None = None,
        retries: int = 0,
        backoff: float = 0.1,
        on_error: OnError | None = None,
    ) -> Handle:
        """Call ``callback(event)``, or ``callback(event, payload)``, for what ``bindings`` match.

        The callback, async or plain, runs in a task of the bus, one event after the other. A
        plain one holds up the loop while it runs. When it raises, exits, or cancels itself, that
        is logged, counted and given to ``on_error``, and the next event is handled.

        Binding the same callback, payload and bindings again returns the same handle, whose
        options stay as they were.

        Args:
            bindings: what is wanted.
            callback: called with each event.
            payload: its second argument; without one it is called with the event alone.
            name: stands in warnings and statistics; by default the callback's own.
            capacity: events that may be queued.
            overflow: what happens to an event that finds ``capacity`` queued.
            concurrency: calls at a time; with more than 1, events may overtake each other.
            timeout: seconds for each call of an async callback; ``None`` for no limit.
            retries: further calls after one that failed.
            backoff: seconds before the first retry, doubled for each further one.
            on_error: ``on_error(exception, event)``, instead of the bus's.
        """
        function("a callback", callback)
        wanted = checked_bindings((bindings,) if isinstance(bindings, Binding) else tuple(bindings))
        options = CallbackOptions(
            concurrency, timeout, retries, backoff, on_error or self._on_error
        )
        self.check_usable()
        self._check_inflow()
        known = self._handles.find(wanted, callback, payload)
        if known is not None:
            return known
        subscription = self.subscribe(
            *wanted,
            capacity=capacity,
            overflow=overflow,
            name=name or getattr(callback, "__qualname__", None) or repr(callback),
        )
        runner = CallbackRunner(self, callback, payload, options, subscription, self._log)
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
        ``@bus.on(app_name="billing", retries=2)``. Without a binding, with parentheses or
        without, it serves the default one.
        """
        return decorator(self.bind, bindings, options)

    def callback_failed(self) -> None:
        """Hear that a callback failed on an event; its runner calls this."""
        self._callback_errors += 1

    def runner_ended(self, runner: CallbackRunner, undone: int) -> None:
        """Hear that a runner is no more, and what it leaves undone; it calls this."""
        self._handles.remove(runner)
        if undone:
            self._left[runner.name] += undone
            if not self._loop.is_closed():
                self._loop.call_soon(self._tell_left)  # in one line with those that end with it

    # Accounts

    def _account_failed(self, account_id: str, exc: BaseException) -> None:
        self._account_failures += 1
        self._log.log(
            logging.WARNING,
            "accounts",
            "the ancestors of account %r could not be found (%r); its events go out without",
            account_id,
            exc,
        )

    def _spawn(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # What is going on

    def subscriptions(self) -> tuple[SubscriptionInfo, ...]:
        """Return what is subscribed and bound, in the order in which it came. From any thread."""
        works = {runner.queue: runner for runner in self._handles}
        return tuple([self._registry.info_of(queue, works.get(queue)) for queue in self._registry])

    def explain(self, event: Event) -> tuple[Verdict, ...]:
        """Tell of each subscription whether it wants ``event``, and if not, why. From any thread.

        It asks ``Binding.explain``, not the index, so it takes microseconds for each.
        """
        _checked_event(event)
        return tuple([self._registry.verdict_of(queue, event) for queue in self._registry])

    def statistics(self) -> BusStatistics:
        """Return the counts of this moment, as a frozen snapshot.

        From any thread. It visits the subscriptions that were used since they were last visited:
        some tenth of a microsecond for each.
        """
        if self._loop is not None and self._loop.is_running() and get_ident() != self._home:
            sums = self._registry.sums_from_elsewhere()
        else:
            self._registry.release()
            self._registry.fold()
            sums = self._registry.sums()
        return BusStatistics(
            emits=self._emits,
            subscriptions=len(self._registry),
            offered=sums.offered,
            delivered=sums.offered - sums.dropped.total() - sums.pending,
            dropped=dict(sums.dropped),
            pending=sums.pending,
            stalled=sums.stalled,
            callback_errors=self._callback_errors,
            refused=self._refused,
            account_failures=self._account_failures,
        )

    async def settled(self, timeout: float | None = None) -> dict[str, int]:
        """Wait until all that is queued is handled, and what follows from it; the bus stays open.

        Waits for callbacks as long as they take, and for what others iterate until it takes
        nothing for ``stall_after``. Where events never cease to come, it may never return: give
        it a timeout. Cancellation: safe; it changes nothing.

        Args:
            timeout: seconds to wait at the most.

        Returns:
            What is not handled yet: the names of subscriptions -> events that are queued, or in
            the hands of a callback. Empty if all is done.
        """
        self.enter()
        settling = self._spawn(
            until_quiet(self._inbox, self._registry, self._handles, self._patience)
        )
        with waiting_inside(self):
            try:
                await asyncio.wait({settling}, timeout=timeout)
            finally:
                settling.cancel()
            return left_in(self._registry, self._handles)

    async def drain(self, timeout: float | None = None) -> dict[str, int]:
        """Stop the inflow, wait until all that is queued is handled, and close the bus.

        Callbacks are waited for as long as they take, and what they emit meanwhile is handled
        too; a subscription that somebody iterates, until it takes nothing for ``stall_after``.
        Then iterators end. Who emits or subscribes from elsewhere gets a ``BusClosedError``.

        Any number of tasks may drain at once: it is one drain, which ends for all when the
        shortest of their timeouts does. Callbacks may, too; they are not waited for. Cancellation:
        the drain goes on; ``aclose`` ends it.

        Args:
            timeout: seconds, after which what is left is dropped and counted as ``closed``.

        Returns:
            What is left undone: the names of subscriptions -> events that were still queued, or
            in the hands of a callback. Empty if all was done. It is logged too.
        """
        if self._drain is None:
            if self._closed:
                return {}
            self.enter()
            self._thread = 0  # whoever emits is asked who it is
            self._drain = self._loop.create_task(self._drained())
        with waiting_inside(self):
            await asyncio.wait({self._drain}, timeout=timeout)
            self._drain_is_due.set()
            await asyncio.wait({self._drain})
        return {} if self._drain.cancelled() else self._drain.result()

    async def _drained(self) -> dict[str, int]:
        settling = self._spawn(
            until_quiet(self._inbox, self._registry, self._handles, self._patience)
        )
        due = self._spawn(self._drain_is_due.wait())
        try:
            await asyncio.wait({settling, due}, timeout=SAID_AFTER, return_when=FIRST_COMPLETED)
            if not settling.done() and not due.done():
                waits = left_in(self._registry, self._handles)
                self._registry.losses.undone(waits, f"{self!r} drains", logging.INFO)
                await asyncio.wait({settling, due}, return_when=FIRST_COMPLETED)
        finally:
            settling.cancel()
            due.cancel()
        left = await left_in_slices(self._registry, self._handles)
        await self._end("was drained")
        return left

    async def aclose(self) -> None:
        """Stop now: what is queued is dropped and counted, iterators end, callbacks are cancelled.

        Idempotent. From inside a callback it cancels all the others. Cancellation: what is queued
        is dropped all the same, and the callbacks are cancelled, though not waited for.
        """
        if self._pid == os.getpid():  # else the tasks and the loop are the parent's
            await self._end("was closed")

    async def _end(self, why: str) -> None:
        """Close, drop what is queued, cancel what runs, and tell what is left undone."""
        is_first = not self._closed
        self._stop_inflow()
        if is_first:
            left = await left_in_slices(self._registry, self._handles)
            self._registry.losses.undone(left, f"{self!r} {why}")
        ending: set[asyncio.Task[Any]] = {
            task for runner in self._handles for task in runner.cancel()
        }
        ending |= self._tasks - {asyncio.current_task()}
        if self._drain is not None and self._drain is not asyncio.current_task():
            ending.add(self._drain)
        for task in ending:
            task.cancel()
        await discard_all(self._registry)
        self._registry.release()
        self._registry.losses.end()
        if ending:
            _, stubborn = await asyncio.wait(ending, timeout=CANCEL_GRACE)
            for task in stubborn:
                self._log.log(
                    logging.WARNING, task.get_name(), "task %r ignores its cancellation", task
                )

    def _stop_inflow(self) -> None:
        self._closed = True
        self._thread = 0
        self._unwatch_end()
        self._inbox.close()

    def _loop_ends(self) -> None:
        self._abandon(f"the event loop of {self!r} ended")

    def __del__(self) -> None:
        super().__del__()
        if not getattr(self, "_closed", True) and hasattr(self, "_inbox"):
            self._abandon(f"{self!r} was collected")

    def _abandon(self, why: str) -> None:
        """Tell what nobody will ever handle, and drop it: there is no loop to wait in."""
        left = self._left + Counter(left_in(self._registry, self._handles))
        self._left.clear()
        self._stop_inflow()
        for queue in [queue for queue in self._registry.active if queue.to_take]:
            queue.discard()
        self._registry.losses.undone(left, f"{why} ({NEXT_TIME})")
        self._registry.losses.end()

    def _tell_left(self) -> None:
        left, self._left = self._left, Counter()
        self._registry.losses.undone(left, f"callbacks of {self!r} were cancelled ({NEXT_TIME})")

    def _enter_to_emit(self) -> None:
        self.enter()
        self._check_inflow()

    def _check_inflow(self) -> None:
        """Let in who may emit, subscribe and bind: while it drains, who is a part of that."""
        self._check_open()
        if self._drain is not None and not is_inside(self) and not self._is_consumer():
            raise BusClosedError(f"{self!r} drains, and lets in only what its own callbacks emit")

    def _is_consumer(self) -> bool:
        """Tell whether this task takes from a subscription; then its events follow from those."""
        task = asyncio.current_task() if is_loop_running() else None
        return any(
            task is not None and queue.consumer is not None and queue.consumer() is task
            for queue in list(self._registry.active)
        )

    async def __aenter__(self) -> Self:
        self.enter()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if exc_type is None:
                await self.drain()
        finally:
            await self.aclose()


def _checked_event(event: Event) -> Event:
    """Return ``event`` if it was validated; pydantic's model_construct checks nothing."""
    try:
        body = event.__dict__["body"]
    except (AttributeError, KeyError):
        body = None
    if type(body) is not FrozenDict:
        raise InvalidEvent(f"publish takes an edr.Event that was validated, not {event!r}")
    return event


def _no_object(body: object) -> InvalidEvent:
    return InvalidEvent(f"a body is a JSON object, not {kind_of(body)}", "body")
