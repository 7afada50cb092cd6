"""``SubscriptionTrie``: finds the subscriptions of an event.

The problem: one event, a million subscriptions, a handful that match. Testing each with
``Binding.matches`` costs a second; this costs about a microsecond, whatever else is stored.

The path to a leaf is app, account, levels:

* app: a dict of names, and beside it one branch for bindings to any app.
* account: what is bound to any account, a dict of accounts, and a dict of accounts whose
  descendants are wanted too; an event is looked up there under its own account and each of the
  accounts above it.
* levels: severity and verbosity together span a grid of 3 x 6 cells. A binding covers a set of
  cells, held as one integer with a bit for each; an event is in one cell. A node of this stage
  stands for one set of cells, so a threshold, an exact level and a list of levels are each
  **one** node, and one ``&`` decides it.

Rejected: levels before the account (an event would visit the nodes of all level sets that anybody
uses, and look its accounts up in each: 2.4 times the cost, measured with thresholds of all kinds);
a node per severity and one below it per verbosity (a list of levels would be stored once for each,
and a single subscription would pay for two more containers); a leaf for each of the 18 cells (18
entries for a default binding); a topic string (``app.severity.…``), in which a dot or a star in a
name changes the meaning.

Invariants, named like their tests: agrees with ``Binding.matches``; a value is found once;
removing leaves nothing behind; adding and removing touch only the binding's own spots; a match
visits only its own app and account.

Cost: a match makes a look-up for the event's account and each account above it, in its app and in
the any-app branch, and one ``&`` for each set of cells that is bound there (1 to 3 in practice).

The trie is pure: it knows no event loop, and any hashable value can stand for a subscription.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import lru_cache
from typing import Generic, NamedTuple, TypeAlias, TypeVar

from edr.records.binding import WILDCARD, Binding
from edr.records.levels import Severity, Verbosity

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
_Levels: TypeAlias = "tuple[_Level[T], ...]"


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
    """What is bound to one set of cells, of one account and app."""

    __slots__ = ("cells", "leaf")

    def __init__(self, cells: int) -> None:
        self.cells = cells
        self.leaf: _Leaf[T] = ()


class _App(Generic[T]):
    """What is bound to one app, by account."""

    __slots__ = ("below", "everyone", "own")

    def __init__(self) -> None:
        self.everyone: _Levels[T] = ()
        # Most apps use one of the three; an empty dict for each of these would double the node.
        self.own: dict[str, _Levels[T]] | None = None
        self.below: dict[str, _Levels[T]] | None = None

    def is_empty(self) -> bool:
        return not (self.everyone or self.own or self.below)

    def levels(self, spot: Spot) -> _Levels[T]:
        if spot.account_id is None:
            return self.everyone
        accounts = self.below if spot.below else self.own
        return accounts.get(spot.account_id, ()) if accounts else ()

    def set_levels(self, spot: Spot, levels: _Levels[T]) -> None:
        if spot.account_id is None:
            self.everyone = levels
            return
        accounts = (self.below if spot.below else self.own) or {}
        if levels:
            accounts[spot.account_id] = levels
        else:
            accounts.pop(spot.account_id, None)
        # Nothing, rather than an empty dict, which keeps the table of its largest days.
        if spot.below:
            self.below = accounts or None
        else:
            self.own = accounts or None

    def match(
        self, cell: int, account_id: str | None, account_tree: tuple[str, ...], found: list[T]
    ) -> None:
        """Add to ``found`` what matches."""
        for level in self.everyone:
            if level.cells & cell:
                found += level.leaf
        if account_id is not None and self.own is not None:
            for level in self.own.get(account_id, ()):
                if level.cells & cell:
                    found += level.leaf
        if self.below is not None:
            path = account_tree if account_id is None else (*account_tree, account_id)
            for account in path:
                for level in self.below.get(account, ()):
                    if level.cells & cell:
                        found += level.leaf


class SubscriptionTrie(Generic[T]):
    """Values stored under bindings, and found by the fields of an event."""

    __slots__ = ("_any_app", "_apps")

    def __init__(self) -> None:
        self._apps: dict[str, _App[T]] = {}
        self._any_app: _App[T] = _App()

    def __bool__(self) -> bool:
        return bool(self._apps) or not self._any_app.is_empty()

    def add(self, spot: Spot, value: T) -> None:
        """Store ``value`` at ``spot``; storing it again changes nothing."""
        if spot.app_name is None:
            app = self._any_app
        else:
            app = self._apps.get(spot.app_name) or self._apps.setdefault(spot.app_name, _App())
        levels = app.levels(spot)
        for level in levels:
            if level.cells == spot.cells:
                break
        else:
            level = _Level(spot.cells)
            app.set_levels(spot, (*levels, level))
        level.leaf = _with(level.leaf, value)

    def remove(self, spot: Spot, value: T) -> None:
        """Undo ``add`` and prune what is empty then; what is not there changes nothing."""
        app = self._any_app if spot.app_name is None else self._apps.get(spot.app_name)
        if app is None:
            return
        levels = app.levels(spot)
        for level in levels:
            if level.cells == spot.cells:
                level.leaf = _without(level.leaf, value)
                if not level.leaf:
                    app.set_levels(spot, tuple(other for other in levels if other is not level))
        if spot.app_name is not None and app.is_empty():
            del self._apps[spot.app_name]
            if not self._apps:
                self._apps = {}  # a new one gives back the table of its largest days

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
        app = self._apps.get(app_name)
        if app is not None:
            app.match(cell, account_id, account_tree, found)
        self._any_app.match(cell, account_id, account_tree, found)
        # A value is stored at several spots when it has several bindings or names in a list.
        return list(dict.fromkeys(found)) if len(found) > 1 else found


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
