"""``SubscriptionTrie``: finds the subscriptions that match an event.

Problem: one event, a million subscriptions, a few matches. Testing each subscription with
``Binding.matches`` takes a second. The trie takes about a microsecond, independent of the number
of subscriptions that do not match.

The path to a value is app, account, levels:

* App: a dict by app name, and one further branch for bindings to any app.
* Account: the bindings to any account, a dict by account id, and a dict by account id for bindings
  that include descendants. The last one is searched for the event's account and each ancestor.
* Levels: severity and verbosity together have 3 x 6 = 18 pairs. A binding covers a set of pairs,
  stored as an integer with a bit per pair (``level_mask``). An event has one pair
  (``level_bit``). There is one bucket per distinct mask, so that a threshold, an exact level and a
  list of levels each take one bucket and one ``&``.

Rejected:

* Levels before the account: an event would visit the nodes of every mask in use, and look up its
  accounts in each. It took 2.4 times as long with thresholds of all kinds.
* A node per severity and below it a node per verbosity: a list of levels would be stored several
  times, and a single subscription would need two more containers.
* A bucket per pair of levels: 12 buckets for a default binding.
* A topic string (``app.severity.…``): a dot or a star in a name would change its meaning.

Invariants, tested by the tests of the same names: the trie agrees with ``Binding.matches``; it
returns a value once; removing a value leaves nothing; adding and removing touch only the keys of
the binding; a match visits only its own app and account.

Cost of a match: one look-up for the event's account and each ancestor, in its app and in the branch
for any app, and one ``&`` per distinct level mask there (1 to 3 in practice).

The trie does not depend on an event loop. Values can be any hashable objects.
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

_LEVEL_BIT = {
    (severity, verbosity): 1 << (severity.rank * len(Verbosity) + verbosity.rank)
    for severity in Severity
    for verbosity in Verbosity
}

_SMALL_BUCKET = 8
"""Values up to which a bucket is a tuple (56 bytes for one value, where a dict takes 232). Adding
and removing copy the tuple. A larger bucket is a dict, so that they take constant time."""

_Values: TypeAlias = tuple[T, ...] | dict[T, None]
_Buckets: TypeAlias = "tuple[_Bucket[T], ...]"


class TrieKey(NamedTuple):
    """A key of the trie. A binding has one for each pair of an app name and an account id."""

    app_name: str | None
    """``None`` means any."""
    level_mask: int
    """The pairs of levels, one bit each."""
    account_id: str | None
    """``None`` means any."""
    include_descendants: bool
    """Whether the key also covers the descendants of the account."""


def trie_keys(binding: Binding) -> tuple[TrieKey, ...]:
    """Return the keys of ``binding``."""
    level_mask = _level_mask(binding.severities, binding.verbosities)
    apps = (None,) if binding.app_name == WILDCARD else binding.app_names
    if binding.account_id == WILDCARD:
        return tuple(TrieKey(app, level_mask, None, include_descendants=False) for app in apps)
    return tuple(
        TrieKey(app, level_mask, account, binding.include_descendants)
        for app in apps
        for account in binding.account_ids
    )


def bindings_from_keys(keys: Iterable[tuple[TrieKey, Pattern | None]]) -> tuple[Binding, ...]:
    """Return the fewest bindings that have exactly these keys.

    The result is equivalent to the bindings that the keys were made of, not always equal to them.
    """
    apps: dict[tuple[int, str | None, bool, Pattern | None], list[str | None]] = {}
    for key, pattern in keys:
        apps.setdefault(
            (key.level_mask, key.account_id, key.include_descendants, pattern), []
        ).append(key.app_name)
    accounts: dict[tuple[int, bool, Pattern | None, tuple[str | None, ...]], list[str | None]] = {}
    for (level_mask, account, below, pattern), names in apps.items():
        accounts.setdefault((level_mask, below, pattern, tuple(names)), []).append(account)
    return tuple(
        Binding(
            account_id=_one_or_many(ids),
            include_descendants=below,
            app_name=_one_or_many(names),
            body=pattern,
            **_levels_of(level_mask),
        )
        for (level_mask, below, pattern, names), ids in accounts.items()
    )


def _one_or_many(names: Sequence[str | None]) -> str | list[str]:
    known = [name for name in names if name is not None]
    if len(known) < len(names):
        return WILDCARD
    return known[0] if len(known) == 1 and known[0] != WILDCARD else known


@lru_cache(maxsize=512)  # as below; it takes 40 µs, four times as long as the rest of a binding
def _levels_of(level_mask: int) -> dict[str, Any]:
    severities = [
        each for each in Severity if any(_LEVEL_BIT[each, v] & level_mask for v in Verbosity)
    ]
    verbosities = [
        each for each in Verbosity if any(_LEVEL_BIT[s, each] & level_mask for s in Severity)
    ]
    return {
        "severity": _threshold_or_list(severities),
        "verbosity": _threshold_or_list(verbosities),
    }


def _threshold_or_list(levels: Sequence[L]) -> L | Sequence[L]:
    return levels[0] if levels[0].and_higher == tuple(levels) else levels


@lru_cache(maxsize=512)  # of 7 x 63 possible ones; a service uses a few
def _level_mask(severities: tuple[Severity, ...], verbosities: tuple[Verbosity, ...]) -> int:
    return sum(
        _LEVEL_BIT[severity, verbosity] for severity in severities for verbosity in verbosities
    )


class Change(IntEnum):
    """The effect of a change in the trie on results that a ``Branch`` returned before."""

    NOTHING = 0
    """The branch and its results are still valid."""
    ACCOUNT = 1
    """Results for some account may be stale."""
    FIRST_ACCOUNT = 2
    """As ``ACCOUNT``; also, ``asks_for_account`` may have become true."""
    BRANCH = 3
    """The branch is stale if the level mask of the key has its level bit."""
    APP = 4
    """The branch is stale, because its app was added or removed."""


class _Bucket(Generic[T]):
    """The values of one app, account and level mask."""

    __slots__ = ("level_mask", "values")

    def __init__(self, level_mask: int) -> None:
        self.level_mask = level_mask
        self.values: _Values[T] = ()


class _App(Generic[T]):
    """The values of one app, by account."""

    __slots__ = ("below", "changes", "everyone", "own")

    def __init__(self) -> None:
        self.changes: int = 0
        """Number of additions and removals at accounts."""
        self.everyone: _Buckets[T] = ()
        # None instead of an empty dict: most apps use one of the three, and two empty dicts would
        # double the size of the node.
        self.own: dict[str, _Buckets[T]] | None = None
        self.below: dict[str, _Buckets[T]] | None = None

    def is_empty(self) -> bool:
        return not (self.everyone or self.own or self.below)

    def asks_for_account(self) -> bool:
        return self.own is not None or self.below is not None

    def buckets(self, key: TrieKey) -> _Buckets[T]:
        if key.account_id is None:
            return self.everyone
        accounts = self.below if key.include_descendants else self.own
        return accounts.get(key.account_id, ()) if accounts else ()

    def set_buckets(self, key: TrieKey, buckets: _Buckets[T]) -> None:
        if key.account_id is None:
            self.everyone = buckets
            return
        accounts = (self.below if key.include_descendants else self.own) or {}
        if buckets:
            accounts[key.account_id] = buckets
        else:
            accounts.pop(key.account_id, None)
        # None instead of the emptied dict, which would keep its largest size.
        if key.include_descendants:
            self.below = accounts or None
        else:
            self.own = accounts or None


class Branch(Generic[T]):
    """The part of the trie for one app and one pair of levels; the account decides the rest.

    Many events share an app and levels, but their accounts are many. A caller that matches many
    events can keep the branch and make one or two look-ups per account in it. The branch reads the
    current values of accounts. It becomes stale when the values for any account change, or when
    its app is added or removed: see ``Change``.
    """

    __slots__ = ("_any_app", "_app", "everyone", "level_bit")

    def __init__(self, level_bit: int, app: _App[T], any_app: _App[T]) -> None:
        self.level_bit: int = level_bit
        """The bit of the event's levels. A key affects the branch if its ``level_mask`` has it."""
        self._app = app
        self._any_app = any_app
        self.everyone: list[T] = []
        """The values for any account."""
        self._collect(app.everyone, self.everyone)
        self._collect(any_app.everyone, self.everyone)

    @property
    def asks_for_account(self) -> bool:
        """Whether a value is stored for an account here."""
        return self._app.asks_for_account() or self._any_app.asks_for_account()

    @property
    def changes(self) -> int:
        """A number that changes when results of ``of_account`` may have become stale."""
        return self._app.changes + self._any_app.changes

    def of_account(self, account_id: str | None, account_tree: tuple[str, ...]) -> list[T]:
        """Return the values for the account or an ancestor. A value may occur several times."""
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
            if bucket.level_mask & self.level_bit:
                found += bucket.values


class SubscriptionTrie(Generic[T]):
    """Values stored under trie keys, found by the fields of an event."""

    __slots__ = ("_any_app", "_apps", "_no_app")

    def __init__(self) -> None:
        self._apps: dict[str, _App[T]] = {}
        self._any_app: _App[T] = _App()
        self._no_app: _App[T] = _App()

    def __bool__(self) -> bool:
        return bool(self._apps) or not self._any_app.is_empty()

    def add(self, key: TrieKey, value: T) -> Change:
        """Store ``value`` under ``key``. Does nothing if it is stored there already."""
        if key.app_name is None:
            app, is_new = self._any_app, False
        else:
            known = self._apps.get(key.app_name)
            is_new = known is None
            app = known or self._apps.setdefault(key.app_name, _App())
        asked = app.asks_for_account()
        buckets = app.buckets(key)
        for bucket in buckets:
            if bucket.level_mask == key.level_mask:
                break
        else:
            bucket = _Bucket(key.level_mask)
            app.set_buckets(key, (*buckets, bucket))
        bucket.values = _with(bucket.values, value)
        if is_new:
            return Change.APP
        if key.account_id is None:
            return Change.BRANCH
        app.changes += 1
        return Change.ACCOUNT if asked else Change.FIRST_ACCOUNT

    def remove(self, key: TrieKey, value: T) -> Change:
        """Remove ``value`` from ``key`` and prune empty nodes. Does nothing if it is absent."""
        app = self._any_app if key.app_name is None else self._apps.get(key.app_name)
        if app is None:
            return Change.NOTHING
        buckets = app.buckets(key)
        for bucket in buckets:
            if bucket.level_mask == key.level_mask:
                bucket.values = _without(bucket.values, value)
                if not bucket.values:
                    app.set_buckets(key, tuple(other for other in buckets if other is not bucket))
        app.changes += 1
        if key.app_name is not None and app.is_empty():
            del self._apps[key.app_name]
            if not self._apps:
                self._apps = {}  # a new dict: an emptied one keeps its largest size
            return Change.APP
        return Change.BRANCH if key.account_id is None else Change.ACCOUNT

    def match(
        self,
        app_name: str,
        severity: Severity,
        verbosity: Verbosity,
        account_id: str | None,
        account_tree: tuple[str, ...],
    ) -> list[T]:
        """Return the distinct values that match an event with these fields."""
        branch = self.branch(app_name, severity, verbosity)
        found = branch.everyone
        if branch.asks_for_account:
            found += branch.of_account(account_id, account_tree)
        # A value is stored at several keys when it has several bindings or names in a list.
        return list(dict.fromkeys(found)) if len(found) > 1 else found

    def branch(self, app_name: str, severity: Severity, verbosity: Verbosity) -> Branch[T]:
        """Return the part of the trie for events of this app and these levels."""
        app = self._apps.get(app_name) or self._no_app
        return Branch(_LEVEL_BIT[severity, verbosity], app, self._any_app)


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
        # Hysteresis: back to a tuple at half the size, so that one subscription added and removed
        # at the border does not convert the bucket each time.
        return values if len(values) > _SMALL_BUCKET // 2 else tuple(values)
    return tuple(other for other in values if other != value)
