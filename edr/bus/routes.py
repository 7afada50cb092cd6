"""``Routes``: matches events to queues, and caches the answers.

An emit has two kinds of values. App, version, severity and verbosity stand in the code that emits,
so there are few combinations: each is checked once, matched once and cached as a ``Route``.
Accounts are not bounded. So where no binding names an account, the route is the whole answer.
Elsewhere an account needs one or two look-ups in the trie, and only matches are cached.

Rejected: one cache keyed by all six values. Ten thousand accounts that take turns are evicted from
any cache before they are used again. Each emit then pays for the checks and the whole match, which
is 15 times the cost.

**Stale routes.** A change at one account does not affect routes: they look at the current accounts,
and only their cached answers for accounts are dropped. A change for all accounts makes the affected
routes stale; each is matched again when it is next used. Checks are never repeated. A change costs
nothing for a route that is stale already, so it costs at most as much as the emits since the
previous change.

Cost of an emit without a subscriber: one look-up, or three where bindings name accounts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from edr.bus.bounded_queue import BoundedQueue
from edr.bus.event_factory import CreateEvent, EventFactory, EventKey
from edr.bus.interest import IndexKeys, InterestWatch, OnInterest
from edr.bus.tracing import Tracer, traced
from edr.records import (
    Binding,
    Branch,
    Change,
    Found,
    IndexKey,
    KeyIndex,
    TrieKey,
    bindings_from_keys,
    found_among,
    index_keys,
    snapshot,
)

MAX_ROUTES = 8192
"""Cached routes in each of two generations. A service has some hundred; this bounds the memory of
one that generates names to about 10 MB."""

MAX_ANSWERS = 32_768
"""Cached answers for accounts in each of two generations: about 10 MB."""


ALL_LEVELS = -1
"""A mask with the bit of every pair of levels."""


class Route:
    """The cached match of events with one app, version, severity and verbosity."""

    __slots__ = (
        "_answers",
        "_answers_at",
        "_branch",
        "_everyone",
        "_older",
        "_routes",
        "create",
        "factory",
        "level_bit",
        "queues",
        "unwanted",
    )

    def __init__(self, factory: EventFactory, routes: Routes) -> None:
        self.factory: EventFactory = factory
        self.create: CreateEvent = routes.create_of(factory)
        self._routes = routes
        self._answers_at = 0
        # Account -> its tree, and the queues that were found for it.
        self._answers: dict[str | None, tuple[tuple[str, ...], Found[BoundedQueue]]] = {}
        self._older = self._answers
        self.forget()

    level_bit: int
    """The bit of the levels: a change at a key affects this route if its ``level_mask`` has it."""
    queues: tuple[BoundedQueue, ...]
    """The queues that match for every account and body. Empty where account or body decide, or the
    route is stale. Emit tests this first, so other bindings cost it nothing."""
    unwanted: bool
    """Whether no queue can match."""

    def forget(self) -> None:
        """Become stale: match again at the next use."""
        self.queues = ()
        self.unwanted = False
        self._branch: Branch[Any] | None = None
        if self._answers or self._older:
            self._answers = self._older = {}

    @property
    def is_fresh(self) -> bool:
        """Whether it holds the current answer of the trie."""
        return self._branch is not None

    def ask_for_account(self) -> None:
        """Look at the account of each event from now on."""
        self.queues = ()
        self.unwanted = False

    def forget_older(self) -> None:
        """Forget the older generation of answers."""
        self._older, self._answers = self._answers, {}

    def wanting(
        self, account_id: str | None, account_tree: tuple[str, ...], body: Mapping[str, Any]
    ) -> tuple[BoundedQueue, ...]:
        """Return the queues that match an event with this account and body, each once.

        Raises:
            InvalidEventError: the body was examined and is not valid.
        """
        branch = self._branch
        if branch is None:
            branch = self._branch = self._routes.branch(self)
            self._everyone = found_among(branch.everyone)
        answer = self._everyone
        if branch.asks_for_account:
            # An event that was published may have ancestors without an account of its own.
            if account_id is not None or account_tree:
                answer = self._of_account(branch, account_id, account_tree)
        elif not answer.by_body:
            self.queues = answer.always
            self.unwanted = not answer.always and not self._routes.debug
        if answer.by_body:
            return tuple(answer.wanting(snapshot(body, self._routes.max_body)))
        if self._routes.debug:
            snapshot(body, self._routes.max_body)
        return answer.always

    def _of_account(
        self, branch: Branch[Any], account_id: str | None, account_tree: tuple[str, ...]
    ) -> Found[BoundedQueue]:
        if self._answers_at != branch.changes:
            self._answers_at = branch.changes
            self._answers = self._older = {}
        known = self._answers.get(account_id) or self._older.get(account_id)
        if known is not None and known[0] == account_tree:
            return known[1]
        found = branch.of_account(account_id, account_tree)
        if not found:  # not cached: most accounts have no binding, and there are many
            return self._everyone
        answer = found_among([*branch.everyone, *found])
        self._answers[account_id] = (account_tree, answer)
        self._routes.count_answer()
        return answer


class Routes:
    """The open queues and the taps of a bus, indexed by their bindings."""

    def __init__(self, node: str, max_body: int, *, debug: bool = False) -> None:
        self.debug = debug
        self.max_body = max_body
        """Whether every body is checked, also if no queue matches."""
        self.queues: dict[BoundedQueue, IndexKeys] = {}
        """The subscriptions' queues."""
        self.known: dict[EventKey, Route] = {}
        """The cached routes. Emit reads it directly; it is always the same dict."""
        self._older: dict[EventKey, Route] = {}
        self._taps: dict[Any, tuple[IndexKeys, bool]] = {}
        self._watches: list[InterestWatch] = []
        self._node = node
        self._answers = 0
        # The routes that are not stale, by the app and the levels that a change may affect.
        self._fresh_of_app: dict[str, dict[Route, None]] = {}
        self._fresh_of_level: dict[int, dict[Route, None]] = {}
        self._index: KeyIndex[Any] = KeyIndex()
        self._tracer: Tracer | None = None

    def set_tracer(self, tracer: Tracer | None) -> None:
        """Make the events of all routes with the trace context of ``tracer``; ``None``: without."""
        self._tracer = tracer
        for route in (*self.known.values(), *self._older.values()):
            route.create = self.create_of(route.factory)

    def create_of(self, factory: EventFactory) -> CreateEvent:
        """Return the function that makes the events of a route."""
        return factory.create if self._tracer is None else traced(factory.create, self._tracer)

    # Registration

    def add(self, queue: BoundedQueue, bindings: Iterable[Binding]) -> None:
        """Register ``queue``, once, for all of ``bindings``."""
        keys = index_keys(*bindings)
        self.queues[queue] = keys
        self._store(queue, keys)
        for watch in self._watches:
            watch.came(queue, keys)

    def remove(self, queue: BoundedQueue) -> None:
        """Remove ``queue``, if it is registered."""
        keys = self.queues.pop(queue, None)
        if keys is None:
            return
        self._take_out(queue, keys)
        for watch in self._watches:
            watch.went(queue, keys)
        if not self.queues:
            self.queues = {}  # as in the trie: gives back the memory of its largest table

    def rebind(self, queue: BoundedQueue, bindings: Iterable[Binding]) -> None:
        """Replace the bindings of ``queue``."""
        before, after = self.queues[queue], index_keys(*bindings)
        self.queues[queue] = after
        self._take_out(queue, [key for key in before if key not in after])
        self._store(queue, [key for key in after if key not in before])
        for watch in self._watches:
            watch.came(queue, after)
            watch.went(queue, before)

    def add_tap(self, tap: Any, bindings: Iterable[Binding], *, wanted: bool = False) -> None:
        """Register a tap for ``bindings``, which replace its earlier ones.

        Args:
            tap: has ``offer``, as a queue: a ``GuardedTap``, or the journal's tap.
            bindings: the events that it is offered.
            wanted: whether its bindings count as interest, as a subscription's do.
        """
        keys, before = index_keys(*bindings), self._taps.get(tap)
        self._taps[tap] = (keys, wanted)
        old, was_wanted = before or ((), False)
        self._take_out(tap, [key for key in old if key not in keys])
        self._store(tap, [key for key in keys if key not in old])
        for watch in self._watches:
            if wanted:
                watch.came(tap, keys)
            if was_wanted:
                watch.went(tap, old)

    def remove_tap(self, tap: Any) -> None:
        """Remove a tap, if it is registered."""
        keys, was_wanted = self._taps.pop(tap, ((), False))
        self._take_out(tap, keys)
        for watch in self._watches if was_wanted else ():
            watch.went(tap, keys)

    def bindings_of(self, queue: BoundedQueue) -> tuple[Binding, ...]:
        """Return the bindings of ``queue``, as few as are equivalent to the given ones.

        They are made from its keys in the trie. The given bindings are not kept: a million bindings
        would take more memory than all the queues.
        """
        return bindings_from_keys(self.queues.get(queue, ()))

    def _store(self, value: Any, keys: Iterable[IndexKey]) -> None:
        for key in keys:
            self._changed(key[0], self._index.add(key, value))

    def _take_out(self, value: Any, keys: Iterable[IndexKey]) -> None:
        for key in keys:
            self._changed(key[0], self._index.remove(key, value))

    # Routes of events

    def find(self, key: EventKey) -> Route:
        """Return the route of ``key``.

        Raises:
            InvalidEventError: one of its values is wrong.
        """
        try:
            route = self.known.get(key) or self._older.get(key)
        except TypeError:  # unhashable, and so not a name; the factory raises the error
            route = None
        if route is None:
            route = Route(EventFactory(key, self._node, self.max_body), self)
        if len(self.known) >= MAX_ROUTES:
            self._turn_over()
        self.known[key] = route
        return route

    def _turn_over(self) -> None:
        """Make the known routes the older generation; forget those not used since the last call.

        Two generations, so that routes in use survive: ``find`` takes them from the older one.
        """
        for key, route in self._older.items():
            if key not in self.known:
                self._make_stale(route)
        self._older = dict(self.known)
        self.known.clear()

    def branch(self, route: Route) -> Branch[Any]:
        """Match ``route`` in the trie; it is fresh from now on."""
        app_name = route.factory.app_name
        branch = self._index.branch(app_name, route.factory.severity, route.factory.verbosity)
        route.level_bit = branch.level_bit
        self._fresh_of_app.setdefault(app_name, {})[route] = None
        self._fresh_of_level.setdefault(branch.level_bit, {})[route] = None
        return branch

    def count_answer(self) -> None:
        """Count one more cached answer, and forget old ones when there are too many."""
        self._answers += 1
        if self._answers >= MAX_ANSWERS:
            self._answers = 0
            for routes in self._fresh_of_level.values():
                for route in routes:
                    route.forget_older()

    def _changed(self, key: TrieKey, change: Change) -> None:
        if change is Change.APP:
            self._forget(key.app_name, ALL_LEVELS)
        elif change is Change.BRANCH:
            self._forget(key.app_name, key.level_mask)
        elif change is Change.FIRST_ACCOUNT:
            fresh = self._fresh_of_app
            apps = fresh.values() if key.app_name is None else [fresh.get(key.app_name, {})]
            for routes in apps:
                for route in routes:
                    route.ask_for_account()

    def _forget(self, app_name: str | None, level_mask: int) -> None:
        """Make routes stale: those of an app, or of every app for ``None``, in ``level_mask``."""
        if app_name is None:
            of_levels = [
                routes
                for level_bit, routes in self._fresh_of_level.items()
                if level_bit & level_mask
            ]
            stale = [route for routes in of_levels for route in routes]
        else:
            stale = [
                route
                for route in self._fresh_of_app.get(app_name, ())
                if route.level_bit & level_mask
            ]
        for route in stale:
            self._make_stale(route)

    def _make_stale(self, route: Route) -> None:
        """Make ``route`` match again at its next use."""
        if not route.is_fresh:
            return
        app_name = route.factory.app_name
        of_app = self._fresh_of_app[app_name]
        del of_app[route], self._fresh_of_level[route.level_bit][route]
        if not of_app:
            del self._fresh_of_app[app_name]
        route.forget()

    # Interest

    def watch(self, on_change: OnInterest, exclude: BoundedQueue | None) -> InterestWatch:
        """Call ``on_change`` for each key that becomes wanted, or is not wanted any more."""
        watch = InterestWatch(on_change, exclude, self._watches)
        for queue, keys in self.queues.items():
            watch.came(queue, keys)
        for tap, (keys, is_wanted) in self._taps.items():
            if is_wanted:
                watch.came(tap, keys)
        return watch
