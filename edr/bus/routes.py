"""``Routes``: who wants an event of these fields, asked of the trie once and then remembered.

What an emit needs to know comes in two steps, since its values are of two kinds. App, version,
severity and verbosity stand in the code that emits, so there are few combinations of them: each
is checked once, and matched once, and remembered as a ``Route``. Accounts there may be any number
of. So a route answers by itself where nobody has bound to an account; elsewhere an account is a
look-up or two in what the trie has left open, and only what was found there is remembered.

Rejected: one memo of all six values. Ten thousand accounts that come round fall out of any memo
before they come again, and each then paid for the checks and the whole match: 15 times the cost.

**Stale.** What comes or goes at an account leaves the routes as they are: they look at the accounts
that are there, and only what they remember of accounts is asked anew. A subscription for every
account makes the routes stale that it bears upon; each is matched anew when it is used again. The
checks are never done twice, and a route that is stale already costs a change nothing: so a change
costs at most what the emits since the last one paid.

Cost: an emit to nobody makes one look-up here, or three where accounts are bound to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from edr.bus.bounded_queue import BoundedQueue
from edr.bus.interest import IndexKeys, InterestWatch, OnInterest
from edr.bus.template import Stamp, Template, TemplateKey
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
"""Routes that are remembered, twice over. A service has some hundred; this bounds one that makes
names up to some 10 MB."""

MAX_ANSWERS = 32_768
"""Answers for accounts that are remembered, twice over: some 10 MB."""


ALL_LEVELS = -1
"""A mask with the bit of every pair of levels."""


class Route:
    """What emits of one app, version, severity and verbosity have in common."""

    __slots__ = (
        "_answers",
        "_answers_at",
        "_branch",
        "_everyone",
        "_older",
        "_routes",
        "level_bit",
        "queues",
        "stamp",
        "template",
        "unwanted",
    )

    def __init__(self, template: Template, routes: Routes) -> None:
        self.template: Template = template
        self.stamp: Stamp = template.stamp
        self._routes = routes
        self._answers_at = 0
        # Who wants the events of an account, with the tree for which that was found.
        self._answers: dict[str | None, tuple[tuple[str, ...], Found[BoundedQueue]]] = {}
        self._older = self._answers
        self.forget()

    level_bit: int
    """The bit of the levels: a change at a key affects this route if its ``level_mask`` has it."""
    queues: tuple[BoundedQueue, ...]
    """Who wants them all, whatever their account and body. Empty where that matters, or where it
    is not known; emit tests this first, so it pays nothing for bindings that are elsewhere."""
    unwanted: bool
    """Whether it is known that nobody wants any of them."""

    def forget(self) -> None:
        """Match anew at the next use."""
        self.queues = ()
        self.unwanted = False
        self._branch: Branch[Any] | None = None
        if self._answers or self._older:
            self._answers = self._older = {}

    @property
    def is_fresh(self) -> bool:
        """Whether it knows what the trie says."""
        return self._branch is not None

    def ask_for_account(self) -> None:
        """Take note that accounts matter now."""
        self.queues = ()
        self.unwanted = False

    def forget_older(self) -> None:
        """Forget the answers that were not used for long."""
        self._older, self._answers = self._answers, {}

    def wanting(
        self, account_id: str | None, account_tree: tuple[str, ...], body: Mapping[str, Any]
    ) -> tuple[BoundedQueue, ...]:
        """Return who wants an event of this account and body, each once.

        Raises:
            InvalidEventError: the body had to be looked into, and is none.
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
        if not found:  # not remembered: most accounts are bound by nobody, and there are many
            return self._everyone
        answer = found_among([*branch.everyone, *found])
        self._answers[account_id] = (account_tree, answer)
        self._routes.count_answer()
        return answer


class Routes:
    """The open queues of a bus, and its taps, under their bindings."""

    def __init__(self, node: str, max_body: int, *, debug: bool = False) -> None:
        self.debug = debug
        self.max_body = max_body
        """Whether every body is looked at, also of events that nobody wants."""
        self.queues: dict[BoundedQueue, IndexKeys] = {}
        """The subscriptions' queues."""
        self.known: dict[TemplateKey, Route] = {}
        """The remembered routes. Emit reads it directly; it is always the same dict."""
        self._older: dict[TemplateKey, Route] = {}
        self._taps: dict[Any, tuple[IndexKeys, bool]] = {}
        self._watches: list[InterestWatch] = []
        self._node = node
        self._answers = 0
        # The routes that are not stale, by what a change may bear upon.
        self._fresh_of_app: dict[str, dict[Route, None]] = {}
        self._fresh_of_level: dict[int, dict[Route, None]] = {}
        self._index: KeyIndex[Any] = KeyIndex()

    # What is bound

    def add(self, queue: BoundedQueue, bindings: Iterable[Binding]) -> None:
        """Register ``queue``, once, for all of ``bindings``."""
        keys = index_keys(*bindings)
        self.queues[queue] = keys
        self._store(queue, keys)
        for watch in self._watches:
            watch.came(queue, keys)

    def remove(self, queue: BoundedQueue) -> None:
        """Forget ``queue``; one that is not there changes nothing."""
        keys = self.queues.pop(queue, None)
        if keys is None:
            return
        self._take_out(queue, keys)
        for watch in self._watches:
            watch.went(queue, keys)
        if not self.queues:
            self.queues = {}  # as in the trie: gives back the table of its largest days

    def rebind(self, queue: BoundedQueue, bindings: Iterable[Binding]) -> None:
        """Let ``queue`` be wanted for ``bindings`` from now on, and for no others."""
        before, after = self.queues[queue], index_keys(*bindings)
        self.queues[queue] = after
        self._take_out(queue, [key for key in before if key not in after])
        self._store(queue, [key for key in after if key not in before])
        for watch in self._watches:
            watch.came(queue, after)
            watch.went(queue, before)

    def add_tap(self, tap: Any, bindings: Iterable[Binding], *, wanted: bool = False) -> None:
        """Register a tap for all of ``bindings``, in place of those that it had.

        Args:
            tap: what is offered the events, as a queue is: a ``GuardedTap``, or the journal's.
            bindings: what is offered to it.
            wanted: whether they count as interest, as those of a subscription do.
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
        """Forget a tap; one that is not there changes nothing."""
        keys, was_wanted = self._taps.pop(tap, ((), False))
        self._take_out(tap, keys)
        for watch in self._watches if was_wanted else ():
            watch.went(tap, keys)

    def bindings_of(self, queue: BoundedQueue) -> tuple[Binding, ...]:
        """Return what ``queue`` is registered for, in the fewest bindings that say it.

        They are made from where it stands in the trie: what users gave is not kept, as a million
        bindings would take more memory than all the queues.
        """
        return bindings_from_keys(self.queues.get(queue, ()))

    def _store(self, value: Any, keys: Iterable[IndexKey]) -> None:
        for key in keys:
            self._changed(key[0], self._index.add(key, value))

    def _take_out(self, value: Any, keys: Iterable[IndexKey]) -> None:
        for key in keys:
            self._changed(key[0], self._index.remove(key, value))

    # What an event finds

    def find(self, key: TemplateKey) -> Route:
        """Return the route of ``key``.

        Raises:
            InvalidEventError: one of its values is wrong.
        """
        try:
            route = self.known.get(key) or self._older.get(key)
        except TypeError:  # unhashable, and so no name; the template says so
            route = None
        if route is None:
            route = Route(Template(key, self._node, self.max_body), self)
        if len(self.known) >= MAX_ROUTES:
            self._turn_over()
        self.known[key] = route
        return route

    def _turn_over(self) -> None:
        """Make room among the known: what was not used since the last time is remembered no more.

        Two halves, so that those in use survive: they come back from the older one.
        """
        for key, route in self._older.items():
            if key not in self.known:
                self._make_stale(route)
        self._older = dict(self.known)
        self.known.clear()

    def branch(self, route: Route) -> Branch[Any]:
        """Ask the trie about ``route``, which is fresh from now on."""
        app_name = route.template.app_name
        branch = self._index.branch(app_name, route.template.severity, route.template.verbosity)
        route.level_bit = branch.level_bit
        self._fresh_of_app.setdefault(app_name, {})[route] = None
        self._fresh_of_level.setdefault(branch.level_bit, {})[route] = None
        return branch

    def count_answer(self) -> None:
        """Take note that a route remembers one more answer."""
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
        """Make stale the routes of an app, or of any, whose ``level_bit`` is in ``level_mask``."""
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
        """Let ``route`` be matched anew when it is used again, if it is."""
        if not route.is_fresh:
            return
        app_name = route.template.app_name
        of_app = self._fresh_of_app[app_name]
        del of_app[route], self._fresh_of_level[route.level_bit][route]
        if not of_app:
            del self._fresh_of_app[app_name]
        route.forget()

    # Interest

    def watch(self, on_change: OnInterest, besides: BoundedQueue | None) -> InterestWatch:
        """Tell ``on_change`` of every key that comes to be wanted, or no longer is."""
        watch = InterestWatch(on_change, besides, self._watches)
        for queue, keys in self.queues.items():
            watch.came(queue, keys)
        for tap, (keys, is_wanted) in self._taps.items():
            if is_wanted:
                watch.came(tap, keys)
        return watch
