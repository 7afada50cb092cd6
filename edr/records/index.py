"""``BindingIndex``: stores values under bindings, and finds all values that match an event.

It combines two indexes. The trie decides every field except the body. It stores a value at each
trie key of its bindings. Values whose binding has a body pattern are not stored in the trie
directly: all those with the same trie key share one ``PatternIndex``, and the trie stores that
index. So one look-up in the trie returns the values that match any body, and the few pattern
indexes that must test the body.

``KeyIndex`` is that combination. It does not remember the keys of a value. Its result for some
fields is valid for every event with these fields, so that a caller can cache it.
``BindingIndex`` also remembers the keys of each value.

Rejected: patterns as a further stage of the trie (an event has no key for a pattern); one pattern
index for all bindings (an event would pay for the patterns of other apps).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from typing import Generic, NamedTuple, TypeAlias, TypeVar

from edr.patterns import Pattern, PatternIndex
from edr.records.binding import Binding, checked_bindings
from edr.records.event import Event
from edr.records.levels import Severity, Verbosity
from edr.records.trie import Branch, Change, SubscriptionTrie, TrieKey, trie_keys

T = TypeVar("T", bound=Hashable)

IndexKey: TypeAlias = tuple[TrieKey, Pattern | None]
"""The key under which a value is stored: a trie key and the body pattern, if any."""


def index_keys(*bindings: Binding) -> tuple[IndexKey, ...]:
    """Return the distinct keys of ``bindings``."""
    return tuple(dict.fromkeys((key, each.body) for each in bindings for key in trie_keys(each)))


class Found(NamedTuple, Generic[T]):
    """The values that match the fields of an event other than its body."""

    always: tuple[T, ...]
    """Distinct values that match any body."""
    by_body: tuple[PatternIndex[T], ...]
    """Pattern indexes to test the body with. Two of them may return the same value."""

    def wanting(self, body: dict[str, object]) -> list[T]:
        """Return the distinct values that match an event with this body, in any order."""
        if not self.by_body:
            return list(self.always)
        wanted = dict.fromkeys(self.always)
        for index in self.by_body:
            wanted.update(dict.fromkeys(index.match(body)))
        return list(wanted)


class _KeyPatterns(PatternIndex[T]):
    """The pattern index of one trie key. A class of its own: any hashable can be a value."""

    __slots__ = ()


def found_among(stored: Iterable[T | _KeyPatterns[T]]) -> Found[T]:
    """Return the result of a trie look-up as distinct values and pattern indexes."""
    once = dict.fromkeys(stored)
    patterns = tuple([each for each in once if isinstance(each, _KeyPatterns)])
    if not patterns:
        return Found(tuple(once), ())  # type: ignore[arg-type]  # none is a _KeyPatterns
    return Found(tuple([each for each in once if not isinstance(each, _KeyPatterns)]), patterns)


class KeyIndex(Generic[T]):
    """Values stored under index keys, found by the fields of an event. Not thread-safe."""

    __slots__ = ("_patterns", "_trie")

    def __init__(self) -> None:
        self._trie: SubscriptionTrie[T | _KeyPatterns[T]] = SubscriptionTrie()
        self._patterns: dict[TrieKey, _KeyPatterns[T]] = {}

    def __bool__(self) -> bool:
        return bool(self._trie)

    def add(self, key: IndexKey, value: T) -> Change:
        """Store ``value`` under ``key``. Does nothing if it is stored there already.

        Returns:
            The effect on branches returned before: ``NOTHING`` for a further pattern of a trie
            key that has a pattern index already.
        """
        trie_key, pattern = key
        if pattern is None:
            return self._trie.add(trie_key, value)
        here = self._patterns.get(trie_key)
        if here is not None:
            here.add(pattern, value)
            return Change.NOTHING
        here = _KeyPatterns()
        here.add(pattern, value)
        self._patterns[trie_key] = here
        return self._trie.add(trie_key, here)

    def remove(self, key: IndexKey, value: T) -> Change:
        """Remove ``value`` from ``key``, and prune empty nodes.

        Raises:
            KeyError: ``key`` has a body pattern and ``value`` is not stored under it. Nothing was
                changed.
        """
        trie_key, pattern = key
        if pattern is None:
            return self._trie.remove(trie_key, value)
        here = self._patterns[trie_key]
        here.remove(pattern, value)
        if here:
            return Change.NOTHING
        change = self._trie.remove(trie_key, self._patterns.pop(trie_key))
        if not self._patterns:
            self._patterns = {}  # a new dict: an emptied one keeps its largest size
        return change

    def find(
        self,
        app_name: str,
        severity: Severity,
        verbosity: Verbosity,
        account_id: str | None,
        account_tree: tuple[str, ...],
    ) -> Found[T]:
        """Return the values that match these fields."""
        return found_among(
            self._trie.match(app_name, severity, verbosity, account_id, account_tree)
        )

    def branch(
        self, app_name: str, severity: Severity, verbosity: Verbosity
    ) -> Branch[T | _KeyPatterns[T]]:
        """Return the branch of the trie for events of this app and these levels."""
        return self._trie.branch(app_name, severity, verbosity)


class BindingIndex(Generic[T]):
    """Values stored under bindings. ``match`` returns all values that match an event.

    Use it to route events without a queue per receiver: in a gateway with many clients, a dry run,
    or a rule engine. Values must be hashable; equal values are one value, as in a dict.

    ``match`` agrees with ``Binding.matches``: it returns a value once if at least one of its
    bindings matches.

    The time of a match does not depend on bindings that do not match: a few microseconds among
    ten or a million. ``add`` and ``remove`` take time in proportion to the bindings of that value
    (one entry for each pair of an app name and an account id). Removing a value frees all of its
    memory.

    Not thread-safe. No method yields to the event loop.
    """

    __slots__ = ("_index", "_keys")

    def __init__(self) -> None:
        self._index: KeyIndex[T] = KeyIndex()
        self._keys: dict[T, tuple[IndexKey, ...]] = {}

    def __len__(self) -> int:
        """Return the number of values."""
        return len(self._keys)

    def __contains__(self, value: object) -> bool:
        """Return whether ``value`` is stored under any binding."""
        return value in self._keys

    def __iter__(self) -> Iterator[T]:
        """Return the values in the order of their first ``add``."""
        return iter(self._keys)

    def add(self, value: T, *bindings: Binding) -> None:
        """Store ``value`` under ``bindings``, in addition to its earlier ones.

        Raises:
            InvalidBindingError: no binding was given, or an argument is not a ``Binding``. Nothing
                was changed.
            TypeError: the value is not hashable. Nothing was changed.
        """
        wanted = index_keys(*checked_bindings(bindings))
        keys = self._keys.get(value, ())
        for key in wanted:
            self._index.add(key, value)
        self._keys[value] = tuple(dict.fromkeys(keys + wanted)) if keys else wanted

    def remove(self, value: T) -> None:
        """Remove ``value`` and all its bindings.

        Raises:
            KeyError: ``value`` is not stored.
        """
        for key in self._keys.pop(value):
            self._index.remove(key, value)
        if not self._keys:
            self._keys = {}  # as in KeyIndex

    def match(self, event: Event) -> list[T]:
        """Return the distinct values that match ``event``, in any order."""
        return self._index.find(
            event.app_name,
            event.severity,
            event.verbosity,
            event.account_id,
            event.account_tree,
        ).wanting(event.body)  # type: ignore[arg-type]  # declared a Mapping; always a dict
