"""``Bus``: what users hold. Emit, subscribe, bind, drain.

How events come in is in ``emission``, and how it ends in ``ending``; here is who takes them.

What holds is the README's table of promises; ``docs/promises.md`` names the tests of each.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from threading import get_ident
from typing import Any, Literal, TypeVar, Unpack, overload

from edr.bus.accounts import AccountResolver
from edr.bus.callbacks import (
    Handle,
    OnOptions,
    SubscribeOptions,
    bindings_of,
    check_callback,
    decorator,
)
from edr.bus.emission import Emission, checked_event
from edr.bus.interest import InterestWatch, OnInterest
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
from edr.bus.recording import EventJournal, JournalTap
from edr.bus.runner import (
    NO_PAYLOAD,
    Callback,
    CallbackOptions,
    CallbackRunner,
    OnError,
)
from edr.bus.statistics import BusStatistics, MatchResult, SubscriptionInfo
from edr.bus.subscription import Subscription, queue_of
from edr.bus.taps import GuardedTap, Tap
from edr.records import (
    EVERY_EVENT,
    Binding,
    BindingFields,
    Event,
    checked_bindings,
    default_node,
)

_SUBSCRIBE_KEYWORDS = ("capacity", "overflow", "name", "gaps", *Binding.model_fields)

DEFAULT_MAX_BODY = 256 * 1024
"""Bytes of JSON that a body may have. EventBridge and SQS take as much, NATS 1 MiB by default. A
match of one pattern within ``Limits.untrusted()`` takes at most 100 ms then."""

F = TypeVar("F", bound=Callable[..., Any])


class Bus(Emission):
    """An event bus. It belongs to the event loop in which it is first used.

    Args:
        node: where the events come from; by default the host's name and the process id.
        accounts: answers the ancestors of an account; without it every tree is empty.
        accounts_timeout: seconds to wait for such an answer.
        accounts_ttl: seconds for which an answer is remembered.
        accounts_cache: how many answers are remembered.
        stall_timeout: seconds after which emitters stop waiting for a subscriber under BLOCK;
            ``math.inf`` to wait for ever.
        debug: check the body of every event, also of those that nobody wants.
        drain_grace: seconds for which a drain accepts what callbacks and consumers emit. After
            that such events are refused, counted (``statistics().refused``) and logged, so that
            the drain ends; ``math.inf`` for no limit.
        max_body: bytes of JSON that the body of an event may have, 256 KiB by default. ``emit``,
            ``publish`` and all their forms raise ``BodyTooLargeError`` for a larger one. Matching
            takes time in proportion to the body, so a larger limit lets one event hold the loop
            for longer.
        on_error: ``on_error(exception, event)`` for callbacks that were bound without their own.
        journal: keeps what is emitted, as far as its bindings want it. ``async with`` opens it,
            and the end of the bus closes it; see ``edr.journal``.
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
        super().__init__(
            default_node() if node is None else text("node", node),
            stall_timeout,
            accounts,
            accounts_timeout,
            accounts_ttl,
            accounts_cache,
            max_body,
            drain_grace,
            debug=debug,
        )
        self._on_error = on_error
        self._taps: dict[int, GuardedTap] = {}  # by identity: a tap's own == is not asked
        self._tap_errors = 0
        if durable and journal is None:
            raise ValueError("durable=True needs a journal: Bus(journal=…)")
        if journal is not None:
            self._tap = JournalTap(journal, self._spawn, self._log)
            self._routes.add_tap(self._tap, journal.bindings)
        if durable:
            # On the instance, so that an emit of another bus does not have to ask; and out of sight
            # of type checkers, for which `emit` is the one method that both look like.
            vars(self)["emit"] = self._emit_durably

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
            InvalidBindingError: something is no binding.
            TypeError, ValueError: an option is wrong; the message says what it may be.
        """
        keywords("subscribe", wanted, _SUBSCRIBE_KEYWORDS)
        whole_number("capacity", capacity, at_least=1)
        policy = choice("overflow", overflow, Overflow)
        check_name(name)
        checked = bindings_of(bindings, wanted)
        self.check_usable()
        self._check_inflow()
        queue = self._registry.add(checked, capacity, policy, name, gaps=gaps)
        return Subscription(self, queue)

    def watch_interest(
        self, on_change: OnInterest, *, besides: Subscription[Any] | None = None
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

    def add_tap(self, tap: Tap, *bindings: Binding, wanted: bool = False) -> None:
        """Give ``tap`` each event that any of ``bindings`` matches; without one, every event.

        A tap gets events within the call that emits them, durable emits too, and also those that
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
        check_callback(callback, payload)
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
            name=_name_of(callback) if name in (None, "") else name,
        )
        runner = CallbackRunner(
            self,
            callback,
            payload,
            options,
            subscription,
            self._log,
            self._callback_failed,
            self._runner_ended,
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

    # What is going on

    def subscriptions(self, *, named: bool = False) -> tuple[SubscriptionInfo, ...]:
        """Return what is subscribed and bound, in the order in which it came. From any thread.

        Args:
            named: only those that were given a name, and callbacks. The others then cost next to
                nothing; each that is returned takes some 50 µs.
        """
        return self.ask(lambda: self._subscriptions(named=named))

    def _subscriptions(self, *, named: bool) -> tuple[SubscriptionInfo, ...]:
        self._release_here()
        works = {runner.queue: runner for runner in self._handles}
        queues = [queue for queue in self._registry if queue.is_named or not named]
        return tuple([self._registry.info_of(queue, works.get(queue)) for queue in queues])

    def explain(self, event: Event) -> tuple[MatchResult, ...]:
        """Tell of each subscription whether it wants ``event``, and if not, why. From any thread.

        It asks ``Binding.explain``, not the index, so it takes microseconds for each.
        """
        checked_event(event, sys.maxsize)
        return self.ask(lambda: self._explain(event))

    def _explain(self, event: Event) -> tuple[MatchResult, ...]:
        self._release_here()
        return tuple([self._registry.match_result(queue, event) for queue in self._registry])

    def statistics(self) -> BusStatistics:
        """Return the counts of this moment, as a frozen snapshot.

        From any thread. It visits the subscriptions that were used since they were last visited:
        some tenth of a microsecond for each.
        """
        return self.ask(self._statistics)

    def _statistics(self) -> BusStatistics:
        if self._release_here():
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
            tap_errors=self._tap_errors + sum([tap.failed for tap in [*self._taps.values()]]),
            journal=self._journal_statistics(),
        )

    @property
    def journal(self) -> EventJournal | None:
        """The journal that stores the events of this bus; ``None`` if there is none."""
        return None if self._tap is None else self._tap.journal

    def _release_here(self) -> bool:
        """Remove subscriptions that are no longer referenced, in the loop's thread only.

        Returns:
            Whether this is the loop's thread. Before there is a loop, one may begin at any moment
            in another thread.
        """
        if self._loop is None or get_ident() != self._home:
            return False
        self._registry.release_abandoned()
        return True

    def _journal_statistics(self) -> Any:
        if self._tap is None:
            return None
        counts = self._tap.journal.statistics()
        return counts._replace(failed=counts.failed + self._tap.refused)


def _name_of(callback: Callback) -> str:
    """Return the name that is read in warnings: of a function within one, its own part."""
    name = getattr(callback, "__qualname__", None)
    return name.rpartition("<locals>.")[2] if isinstance(name, str) and name else repr(callback)
