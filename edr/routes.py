"""``Routes``: who wants an event of these fields, asked of the trie once and then remembered.

What an emit needs to know depends on six values: app, version, severity, verbosity, account, and
the accounts above. The first emit of such a key checks them, asks the trie, and remembers the
answer as a ``Route``. Later ones find all of it with one look-up; that the key was found says that
its names and levels are good. Routes are forgotten when a subscription comes or goes.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from edr.binding import Binding
from edr.event import Template
from edr.queue import BoundedQueue
from edr.trie import Spot, SubscriptionTrie, spots_of

MAX_ROUTES = 8192
"""Keys that are remembered. A service emits some hundred; this bounds one whose accounts are many
to a few MB, and forgetting them all at the limit costs each key one match of a microsecond."""

RouteKey: TypeAlias = tuple[Any, Any, Any, Any, Any, tuple[str, ...]]
"""App name, app version, severity, verbosity, account id, account tree; as they were given."""


class Route:
    """What emits of one key have in common: who wants them, and the fields they share."""

    __slots__ = ("queues", "template")

    def __init__(self, template: Template, queues: tuple[BoundedQueue, ...]) -> None:
        self.template = template
        self.queues = queues


class Routes:
    """The open queues of a bus, under their bindings."""

    def __init__(self, node: str) -> None:
        self.queues: dict[BoundedQueue, tuple[Spot, ...]] = {}
        self.known: dict[RouteKey, Route] = {}
        """The remembered routes. Emit reads it directly; it is always the same dict."""
        self._node = node
        self._trie: SubscriptionTrie[BoundedQueue] = SubscriptionTrie()

    def add(self, queue: BoundedQueue, bindings: tuple[Binding, ...]) -> None:
        """Register ``queue``, once, for all of ``bindings``."""
        spots = tuple(dict.fromkeys(spot for binding in bindings for spot in spots_of(binding)))
        self._trie.add(spots, queue)
        self.queues[queue] = spots
        self.known.clear()

    def remove(self, queue: BoundedQueue) -> None:
        """Forget ``queue``; one that is not there changes nothing."""
        spots = self.queues.pop(queue, None)
        if spots is not None:
            self._trie.remove(spots, queue)
            self.known.clear()
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
        route = Route(template, tuple(wanted))
        if len(self.known) >= MAX_ROUTES:
            self.known.clear()
        self.known[key] = route
        return route
