"""``Routes``: who wants an event of these fields, asked of the trie once and then remembered.

What an emit needs to know depends on six values: app, version, severity, verbosity, account, and
the accounts above. The first emit of such a key checks them, asks the trie, and remembers the
answer as a ``Route``. Later ones find all of it with one look-up; that the key was found says that
its names and levels are good. The routes of an app are forgotten when a subscription to it comes
or goes, and all when it is one to any app.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from edr.bus.queue import BoundedQueue
from edr.records.binding import Binding
from edr.records.body import FrozenDict
from edr.records.event import Template
from edr.records.pattern import Pattern, PatternIndex
from edr.records.trie import Spot, SubscriptionTrie, spots_of

MAX_ROUTES = 8192
"""Keys that are remembered. A service emits some hundred; this bounds one whose accounts are many
to a few MB, and forgetting them all at the limit costs each key one match of a microsecond."""

_Place: TypeAlias = tuple[Spot, Pattern | None]

RouteKey: TypeAlias = tuple[Any, Any, Any, Any, Any, tuple[str, ...]]
"""App name, app version, severity, verbosity, account id, account tree; as they were given."""


class Route:
    """What emits of one key have in common: who wants them, and the fields they share."""

    __slots__ = ("_always", "_indexes", "looks_into_body", "queues", "stamp")

    def __init__(
        self,
        template: Template,
        queues: tuple[BoundedQueue, ...],
        indexes: tuple[PatternIndex[BoundedQueue], ...],
    ) -> None:
        self.stamp = template.stamp
        self.queues = () if indexes else queues
        """Who wants them whatever the body; empty where ``looks_into_body``, so that emit, which
        tests this first, pays nothing for body patterns that are elsewhere."""
        self.looks_into_body = bool(indexes)
        self._always = queues
        self._indexes = indexes

    def wanting(self, body: FrozenDict) -> tuple[BoundedQueue, ...]:
        """Return who wants an event of this body, each once."""
        wanted = dict.fromkeys(self._always)
        for index in self._indexes:
            wanted.update(dict.fromkeys(index.match(body)))
        return tuple(wanted)


class Routes:
    """The open queues of a bus, under their bindings."""

    def __init__(self, node: str) -> None:
        self.queues: dict[BoundedQueue, tuple[_Place, ...]] = {}
        self.known: dict[RouteKey, Route] = {}
        """The remembered routes. Emit reads it directly; it is always the same dict."""
        # Which of them an app's subscriptions bear upon: one that comes or goes for an app must
        # not make the routes of all others be found anew.
        self._keys_of_app: dict[str, list[RouteKey]] = {}
        self._node = node
        # Bindings with a body pattern that meet at one spot share an index, which stands there
        # in the trie beside the queues of those without.
        self._trie: SubscriptionTrie[BoundedQueue | PatternIndex[BoundedQueue]]
        self._trie = SubscriptionTrie()
        self._indexes: dict[Spot, PatternIndex[BoundedQueue]] = {}

    def add(self, queue: BoundedQueue, bindings: tuple[Binding, ...]) -> None:
        """Register ``queue``, once, for all of ``bindings``."""
        places = tuple(
            dict.fromkeys((spot, each.body) for each in bindings for spot in spots_of(each))
        )
        for spot, pattern in places:
            if pattern is None:
                self._trie.add(spot, queue)
                continue
            index = self._indexes.get(spot)
            if index is None:
                index = self._indexes[spot] = PatternIndex()
                self._trie.add(spot, index)
            index.add(pattern, queue)
        self.queues[queue] = places
        self._forget(places)

    def remove(self, queue: BoundedQueue) -> None:
        """Forget ``queue``; one that is not there changes nothing."""
        places = self.queues.pop(queue, None)
        if places is None:
            return
        for spot, pattern in places:
            if pattern is None:
                self._trie.remove(spot, queue)
                continue
            index = self._indexes[spot]
            index.remove(pattern, queue)
            if not index:
                self._trie.remove(spot, self._indexes.pop(spot))
        self._forget(places)
        if not self.queues:
            self.queues = {}  # as in the trie: gives back the table of its largest days

    def find(self, key: RouteKey) -> Route:
        """Return the route of ``key``.

        Raises:
            InvalidEvent: one of its values is wrong.
        """
        try:
            return self.known[key]
        except (KeyError, TypeError):  # TypeError: unhashable, and so no name either
            template = Template(key, self._node)
        wanted = self._trie.match(
            template.app_name,
            template.severity,
            template.verbosity,
            template.account_id,
            template.account_tree,
        )
        indexes = tuple(each for each in wanted if isinstance(each, PatternIndex))
        queues = tuple(each for each in wanted if not isinstance(each, PatternIndex))
        route = Route(template, queues, indexes)
        if len(self.known) >= MAX_ROUTES:
            self._forget_all()
        self.known[key] = route
        self._keys_of_app.setdefault(template.app_name, []).append(key)
        return route

    def _forget(self, places: tuple[_Place, ...]) -> None:
        """Forget the routes that a subscription at ``places`` bears upon."""
        for spot, _ in places:
            if spot.app_name is None:
                self._forget_all()
                return
            for key in self._keys_of_app.pop(spot.app_name, ()):
                del self.known[key]

    def _forget_all(self) -> None:
        self.known.clear()
        self._keys_of_app.clear()
