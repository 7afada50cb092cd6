"""``SubscriptionTrie``: finds the subscriptions of an event.

The problem: one event, a million subscriptions, a handful that match. Testing each with
``Binding.matches`` costs a second; this costs about a microsecond, whatever else is stored.

The path to a spot is app, account, levels:

* app: a dict of names, and beside it one branch for bindings to any app.
* account: what is bound to any account, a dict of accounts, and a dict of accounts whose
  descendants are wanted too; an event is looked up there under its own account and each of the
  accounts above it.
* levels: severity and verbosity together span a grid of 3 x 6 cells. A binding covers a set of
  cells, held as one integer with a bit for each; an event is in one cell. Each set of cells has
  one bucket, so a threshold, an exact level and a list of levels are each **one** bucket, and
  one ``&`` decides it.

Rejected: levels before the account (an event would visit the nodes of all level sets that anybody
uses, and look its accounts up in each: 2.4 times the cost, measured with thresholds of all kinds);
a node per severity and one below it per verbosity (a list of levels would be stored once for each,
and a single subscription would pay for two more containers); a bucket for each of the 18 cells (18
of them for a default binding); a topic string (``app.severity.…``), in which a dot or a star in a
name changes the meaning.

Invariants, named like their tests: agrees with ``Binding.matches``; a value is found once;
removing leaves nothing behind; adding and removing touch only the binding's own spots; a match
visits only its own app and account.

Cost: a match makes a look-up for the event's account and each account above it, in its app and in
the any-app branch, and one ``&`` for each set of cells that is bound there (1 to 3 in practice).

The trie is pure: it knows no event loop, and any hashable value can stand for a subscription.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from enum import IntEnum
from functools import lru_cache
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from edr.patterns import Pattern
from edr.records.binding import WILDCARD, Binding
from edr.records.levels import Severity, Verbosity

T = TypeVar("T", bound=Hashable)
L = TypeVar("L", Severity, Verbosity)

_CELL = {
    (severity, verbosity): 1 << (severity.rank * len(Verbosity) + verbosity.rank)
    for severity in Severity
    for verbosity in Verbosity
}

_SMALL_BUCKET = 8
"""Up to so many values a bucket holds a tuple (56 bytes for one, a dict takes 232), and adding or
removing copies it. Beyond, it is a dict, so that neither grows with the bucket."""

_Values: TypeAlias = tuple[T, ...] | dict[T, None]
_Buckets: TypeAlias = "tuple[_Bucket[T], ...]"


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


def bindings_at(places: Iterable[tuple[Spot, Pattern | None]]) -> tuple[Binding, ...]:
    """Return the bindings that are stored at these places, as few as say it.

    They mean what those mean that ``spots_of`` took apart, and may be written otherwise.
    """
    apps: dict[tuple[int, str | None, bool, Pattern | None], list[str | None]] = {}
    for spot, pattern in places:
        apps.setdefault((spot.cells, spot.account_id, spot.below, pattern), []).append(
            spot.app_name
        )
    accounts: dict[tuple[int, bool, Pattern | None, tuple[str | None, ...]], list[str | None]] = {}
    for (cells, account, below, pattern), names in apps.items():
        accounts.setdefault((cells, below, pattern, tuple(names)), []).append(account)
    return tuple(
        Binding(
            account_id=_one_or_many(ids),
            include_descendants=below,
            app_name=_one_or_many(names),
            body=pattern,
            **_levels_of(cells),
        )
        for (cells, below, pattern, names), ids in accounts.items()
    )


def _one_or_many(names: Sequence[str | None]) -> str | list[str]:
    known = [name for name in names if name is not None]
    if len(known) < len(names):
        return WILDCARD
    return known[0] if len(known) == 1 and known[0] != WILDCARD else known


def _levels_of(cells: int) -> dict[str, Any]:
    severities = [each for each in Severity if any(_CELL[each, v] & cells for v in Verbosity)]
    verbosities = [each for each in Verbosity if any(_CELL[s, each] & cells for s in Severity)]
    return {
        "severity": _threshold_or_list(severities),
        "verbosity": _threshold_or_list(verbosities),
    }


def _threshold_or_list(levels: Sequence[L]) -> L | Sequence[L]:
    return levels[0] if levels[0].and_higher == tuple(levels) else levels


@lru_cache(maxsize=512)  # of 7 x 63 sets there can be; a service uses a handful, over and over
def _cells(severities: tuple[Severity, ...], verbosities: tuple[Verbosity, ...]) -> int:
    return sum(_CELL[severity, verbosity] for severity in severities for verbosity in verbosities)


class Change(IntEnum):
    """What a change in the trie bears upon, of what a ``Branch`` told before."""

    NOTHING = 0
    """It may go on to be used as it is."""
    ACCOUNT = 1
    """What it told of some account may be stale."""
    FIRST_ACCOUNT = 2
    """The same, and where it told that accounts do not matter, they do now."""
    BRANCH = 3
    """It is stale, if its levels are among those of the spot: ask for another one."""
    APP = 4
    """It is stale, whatever its levels: its app has come or gone."""


class _Bucket(Generic[T]):
    """The values at one spot: what is bound to one set of cells, of one account and app."""

    __slots__ = ("cells", "values")

    def __init__(self, cells: int) -> None:
        self.cells = cells
        self.values: _Values[T] = ()


class _App(Generic[T]):
    """What is bound to one app, by account."""

    __slots__ = ("below", "changes", "everyone", "own")

    def __init__(self) -> None:
        self.changes: int = 0
        """Counts what came and went of what is bound to accounts."""
        self.everyone: _Buckets[T] = ()
        # Most apps use one of the three; an empty dict for each of these would double the node.
        self.own: dict[str, _Buckets[T]] | None = None
        self.below: dict[str, _Buckets[T]] | None = None

    def is_empty(self) -> bool:
        return not (self.everyone or self.own or self.below)

    def asks_for_account(self) -> bool:
        return self.own is not None or self.below is not None

    def buckets(self, spot: Spot) -> _Buckets[T]:
        if spot.account_id is None:
            return self.everyone
        accounts = self.below if spot.below else self.own
        return accounts.get(spot.account_id, ()) if accounts else ()

    def set_buckets(self, spot: Spot, buckets: _Buckets[T]) -> None:
        if spot.account_id is None:
            self.everyone = buckets
            return
        accounts = (self.below if spot.below else self.own) or {}
        if buckets:
            accounts[spot.account_id] = buckets
        else:
            accounts.pop(spot.account_id, None)
        # Nothing, rather than an empty dict, which keeps the table of its largest days.
        if spot.below:
            self.below = accounts or None
        else:
            self.own = accounts or None


class Branch(Generic[T]):
    """What the app and the levels of an event leave of the trie; the account decides the rest.

    Many events share an app and levels, and their accounts may be without number. So whoever
    matches event after event asks for the branch once, and for each account makes a look-up or
    two in it. What is bound to accounts may come and go meanwhile: the branch looks at what is
    there. It is good until something that all accounts share changes, or its app comes or goes.
    """

    __slots__ = ("_any_app", "_app", "cell", "everyone")

    def __init__(self, cell: int, app: _App[T], any_app: _App[T]) -> None:
        self.cell: int = cell
        """The bit of the event's levels: a spot bears upon it if its ``cells`` have it."""
        self._app = app
        self._any_app = any_app
        self.everyone: list[T] = []
        """What is bound to any account."""
        self._collect(app.everyone, self.everyone)
        self._collect(any_app.everyone, self.everyone)

    @property
    def asks_for_account(self) -> bool:
        """Whether anything here is bound to an account, now."""
        return self._app.asks_for_account() or self._any_app.asks_for_account()

    @property
    def changes(self) -> int:
        """Another number than before when what ``of_account`` gave may be stale."""
        return self._app.changes + self._any_app.changes

    def of_account(self, account_id: str | None, account_tree: tuple[str, ...]) -> list[T]:
        """Return what is bound to the account, or to one above it; maybe more than once each."""
        found: list[T] = []
        for app in (self._app, self._any_app):
            own, below = app.own, app.below
            if own is not None and account_id in own:
                self._collect(own[account_id], found)
            if below is not None:
                if account_id in below:
                    self._collect(below[account_id], found)
                for above in account_tree:
                    if above in below:
                        self._collect(below[above], found)
        return found

    def _collect(self, buckets: _Buckets[T], found: list[T]) -> None:
        for bucket in buckets:
            if bucket.cells & self.cell:
                found += bucket.values


class SubscriptionTrie(Generic[T]):
    """Values stored under bindings, and found by the fields of an event."""

    __slots__ = ("_any_app", "_apps", "_no_app")

    def __init__(self) -> None:
        self._apps: dict[str, _App[T]] = {}
        self._any_app: _App[T] = _App()
        self._no_app: _App[T] = _App()

    def __bool__(self) -> bool:
        return bool(self._apps) or not self._any_app.is_empty()

    def add(self, spot: Spot, value: T) -> Change:
        """Store ``value`` at ``spot``; storing it again changes nothing."""
        if spot.app_name is None:
            app, is_new = self._any_app, False
        else:
            known = self._apps.get(spot.app_name)
            is_new = known is None
            app = known or self._apps.setdefault(spot.app_name, _App())
        asked = app.asks_for_account()
        buckets = app.buckets(spot)
        for bucket in buckets:
            if bucket.cells == spot.cells:
                break
        else:
            bucket = _Bucket(spot.cells)
            app.set_buckets(spot, (*buckets, bucket))
        bucket.values = _with(bucket.values, value)
        if is_new:
            return Change.APP
        if spot.account_id is None:
            return Change.BRANCH
        app.changes += 1
        return Change.ACCOUNT if asked else Change.FIRST_ACCOUNT

    def remove(self, spot: Spot, value: T) -> Change:
        """Undo ``add`` and prune what is empty then; what is not there changes nothing."""
        app = self._any_app if spot.app_name is None else self._apps.get(spot.app_name)
        if app is None:
            return Change.NOTHING
        buckets = app.buckets(spot)
        for bucket in buckets:
            if bucket.cells == spot.cells:
                bucket.values = _without(bucket.values, value)
                if not bucket.values:
                    app.set_buckets(spot, tuple(other for other in buckets if other is not bucket))
        app.changes += 1
        if spot.app_name is not None and app.is_empty():
            del self._apps[spot.app_name]
            if not self._apps:
                self._apps = {}  # a new one gives back the table of its largest days
            return Change.APP
        return Change.BRANCH if spot.account_id is None else Change.ACCOUNT

    def match(
        self,
        app_name: str,
        severity: Severity,
        verbosity: Verbosity,
        account_id: str | None,
        account_tree: tuple[str, ...],
    ) -> list[T]:
        """Return every value whose binding matches an event of these fields, each once."""
        branch = self.branch(app_name, severity, verbosity)
        found = branch.everyone
        if branch.asks_for_account:
            found += branch.of_account(account_id, account_tree)
        # A value is stored at several spots when it has several bindings or names in a list.
        return list(dict.fromkeys(found)) if len(found) > 1 else found

    def branch(self, app_name: str, severity: Severity, verbosity: Verbosity) -> Branch[T]:
        """Return what events of this app and these levels have in common."""
        app = self._apps.get(app_name) or self._no_app
        return Branch(_CELL[severity, verbosity], app, self._any_app)


def _with(values: _Values[T], value: T) -> _Values[T]:
    if isinstance(values, dict):
        values[value] = None
        return values
    if value in values:
        return values
    values = (*values, value)
    return values if len(values) <= _SMALL_BUCKET else dict.fromkeys(values)


def _without(values: _Values[T], value: T) -> _Values[T]:
    if isinstance(values, dict):
        values.pop(value, None)
        # Hysteresis: back to a tuple at half the size, lest one subscription that comes and
        # goes at the border rebuilds it each time.
        return values if len(values) > _SMALL_BUCKET // 2 else tuple(values)
    return tuple(other for other in values if other != value)
