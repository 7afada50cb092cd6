"""``SubscriptionTrie``: finds the subscriptions of an event.

The problem: one event, a million subscriptions, a handful that match. Testing each with
``Binding.matches`` costs a second; this costs about a microsecond, whatever else is stored.

The path to a leaf is app, levels, account:

* app: a dict of names, and beside it one branch for bindings to any app.
* levels: severity and verbosity together span a grid of 3 x 6 cells. A binding covers a set of
  cells, held as one integer with a bit for each; an event is in one cell. A node of this stage
  stands for one set of cells, so a threshold, an exact level and a list of levels are each
  **one** node, and one ``&`` decides it.
* account: the leaf of bindings to any account, a dict of accounts, and a dict of accounts
  whose descendants are wanted too; an event is looked up there under its own account and each
  of the accounts above it.

Rejected: a node per severity and one below it per verbosity (a list of levels would be stored
once for each, and a single subscription would pay for two more containers); a leaf for each
of the 18 cells (18 entries for a default binding); a topic string (``app.severity.…``), in which
a dot or a star in a name changes the meaning.

Invariants, named like their tests: agrees with ``Binding.matches``; a value is found once;
removing leaves nothing behind; adding and removing touch only the binding's own spots.

Cost: a match visits the nodes of one app and of the any-app branch, at most one for each set of
cells in use there (1 to 18 in practice), and for each a dict lookup per account in question.

The trie is pure: it knows no event loop, and any hashable value can stand for a subscription.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import lru_cache
from typing import Generic, NamedTuple, TypeAlias, TypeVar

from edr.binding import WILDCARD, Binding
from edr.levels import Severity, Verbosity

T = TypeVar("T", bound=Hashable)

_CELL = {
    (severity, verbosity): 1 << (severity.rank * len(Verbosity) + verbosity.rank)
    for severity in Severity
    for verbosity in Verbosity
}

_SMALL_LEAF = 8
"""Up to so many values a leaf is a tuple (56 bytes for one, a dict takes 232), and adding or
removing copies it. Beyond, it is a dict, so that neither grows with the leaf."""

_Leaf: TypeAlias = tuple[T, ...] | dict[T, None]


class Spot(NamedTuple):
    """One place in the trie. A binding has one for each of its app names and account ids."""

    app_name: str | None
    """``None`` means any."""
    cells: int
    account_id: str | None
    """``None`` means any."""
    below: bool
    """Whether the descendants of the account are wanted too."""


def spots_of(binding: Binding) -> tuple[Spot, ...]:
    """Return the places at which ``binding`` is stored."""
    cells = _cells(binding.severities, binding.verbosities)
    apps = (None,) if binding.app_name == WILDCARD else binding.app_names
    if binding.account_id == WILDCARD:
        return tuple(Spot(app, cells, None, below=False) for app in apps)
    return tuple(
        Spot(app, cells, account, binding.include_descendants)
        for app in apps
        for account in binding.account_ids
    )


@lru_cache(maxsize=512)  # of 7 x 63 sets there can be; a service uses a handful, over and over
def _cells(severities: tuple[Severity, ...], verbosities: tuple[Verbosity, ...]) -> int:
    return sum(_CELL[severity, verbosity] for severity in severities for verbosity in verbosities)


class _Level(Generic[T]):
    """The node of one set of cells below one app."""

    __slots__ = ("below", "cells", "everyone", "own")

    def __init__(self, cells: int) -> None:
        self.cells = cells
        self.everyone: _Leaf[T] = ()
        # Most levels use one of the two; an empty dict each would double the node.
        self.own: dict[str, _Leaf[T]] | None = None
        self.below: dict[str, _Leaf[T]] | None = None

    def is_empty(self) -> bool:
        return not (self.everyone or self.own or self.below)

    def leaf(self, spot: Spot) -> _Leaf[T]:
        if spot.account_id is None:
            return self.everyone
        accounts = self.below if spot.below else self.own
        return accounts.get(spot.account_id, ()) if accounts else ()

    def set_leaf(self, spot: Spot, leaf: _Leaf[T]) -> None:
        if spot.account_id is None:
            self.everyone = leaf
            return
        accounts = (self.below if spot.below else self.own) or {}
        if leaf:
            accounts[spot.account_id] = leaf
        else:
            accounts.pop(spot.account_id, None)
        if spot.below:
            self.below = accounts or None
        else:
            self.own = accounts or None


class SubscriptionTrie(Generic[T]):
    """Values stored under bindings, and found by the fields of an event."""

    __slots__ = ("_apps", "_every_app")

    def __init__(self) -> None:
        self._apps: dict[str, tuple[_Level[T], ...]] = {}
        self._every_app: tuple[_Level[T], ...] = ()

    def __bool__(self) -> bool:
        return bool(self._apps or self._every_app)

    def add(self, spot: Spot, value: T) -> None:
        """Store ``value`` at ``spot``; storing it again changes nothing."""
        levels = self._levels(spot.app_name)
        for level in levels:
            if level.cells == spot.cells:
                break
        else:
            level = _Level(spot.cells)
            self._set_levels(spot.app_name, (*levels, level))
        level.set_leaf(spot, _with(level.leaf(spot), value))

    def remove(self, spot: Spot, value: T) -> None:
        """Undo ``add`` and prune what is empty then; what is not there changes nothing."""
        levels = self._levels(spot.app_name)
        for level in levels:
            if level.cells == spot.cells:
                level.set_leaf(spot, _without(level.leaf(spot), value))
                if level.is_empty():
                    rest = tuple(other for other in levels if other is not level)
                    self._set_levels(spot.app_name, rest)

    def match(
        self,
        app_name: str,
        severity: Severity,
        verbosity: Verbosity,
        account_id: str | None,
        account_tree: tuple[str, ...],
    ) -> list[T]:
        """Return every value whose binding matches an event of these fields, each once."""
        cell = _CELL[severity, verbosity]
        found: list[T] = []
        for levels in (self._apps.get(app_name, ()), self._every_app):
            for level in levels:
                if level.cells & cell:
                    if level.everyone:
                        found += level.everyone
                    if account_id is not None:
                        if level.own is not None:
                            found += level.own.get(account_id, ())
                        if level.below is not None:
                            found += level.below.get(account_id, ())
                    if level.below is not None:
                        for ancestor in account_tree:
                            found += level.below.get(ancestor, ())
        # A value is stored at several spots when it has several bindings or names in a list.
        return list(dict.fromkeys(found)) if len(found) > 1 else found

    def _levels(self, app_name: str | None) -> tuple[_Level[T], ...]:
        return self._every_app if app_name is None else self._apps.get(app_name, ())

    def _set_levels(self, app_name: str | None, levels: tuple[_Level[T], ...]) -> None:
        if app_name is None:
            self._every_app = levels
        elif levels:
            self._apps[app_name] = levels
        else:
            self._apps.pop(app_name, None)
            if not self._apps:
                # A dict keeps the table of its largest days; a new one gives it back.
                self._apps = {}


def _with(leaf: _Leaf[T], value: T) -> _Leaf[T]:
    if isinstance(leaf, dict):
        leaf[value] = None
        return leaf
    if value in leaf:
        return leaf
    leaf = (*leaf, value)
    return leaf if len(leaf) <= _SMALL_LEAF else dict.fromkeys(leaf)


def _without(leaf: _Leaf[T], value: T) -> _Leaf[T]:
    if isinstance(leaf, dict):
        leaf.pop(value, None)
        # Hysteresis: back to a tuple at half the size, lest one subscription that comes and
        # goes at the border rebuilds the leaf each time.
        return leaf if len(leaf) > _SMALL_LEAF // 2 else tuple(leaf)
    return tuple(other for other in leaf if other != value)
