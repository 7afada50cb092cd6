"""``BindingIndex``: values under bindings, and all of those that an event matches, at once.

Two indexes share the work. The trie decides all fields but the body; it holds a value at each
spot of its bindings. Values whose binding has a body pattern too do not stand there themselves:
those that meet at one spot share a ``PatternIndex``, which stands there for them. So one look-up
in the trie gives who matches whatever the body is, and the few pattern indexes that must see it.

``SpotIndex`` is that combination, spot by spot, without a memory of who is where; what it finds for
some fields holds for every event of these fields, so that it can be remembered.
``BindingIndex`` adds that memory.

Rejected: patterns as one more stage of the trie (a pattern is no key that an event has); one
pattern index for all (an event would pay for the patterns of other apps).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from typing import Generic, NamedTuple, TypeAlias, TypeVar

from edr.patterns import Pattern, PatternIndex
from edr.records.binding import Binding, checked_bindings
from edr.records.event import Event
from edr.records.levels import Severity, Verbosity
from edr.records.trie import Branch, Change, Spot, SubscriptionTrie, spots_of

T = TypeVar("T", bound=Hashable)

Place: TypeAlias = tuple[Spot, Pattern | None]
"""Where a value is stored: a spot of the trie, and the body pattern there, if any."""


def places_of(*bindings: Binding) -> tuple[Place, ...]:
    """Return the places at which a value of ``bindings`` is stored, each once."""
    return tuple(dict.fromkeys((spot, each.body) for each in bindings for spot in spots_of(each)))


class Found(NamedTuple, Generic[T]):
    """Who wants events of some fields, as far as the fields can tell."""

    always: tuple[T, ...]
    """Who wants them whatever the body, each once."""
    by_body: tuple[PatternIndex[T], ...]
    """What must see the body; each gives a value once, but two may give the same."""

    def wanting(self, body: dict[str, object]) -> list[T]:
        """Return who wants an event of this body, each once, in no promised order."""
        if not self.by_body:
            return list(self.always)
        wanted = dict.fromkeys(self.always)
        for index in self.by_body:
            wanted.update(dict.fromkeys(index.match(body)))
        return list(wanted)


class _PatternsHere(PatternIndex[T]):
    """The pattern index of one spot; a class of its own, as any hashable may be a value."""

    __slots__ = ()


def found_among(stored: Iterable[T | _PatternsHere[T]]) -> Found[T]:
    """Tell apart the values that a ``SpotIndex`` holds, and the patterns; each once."""
    once = dict.fromkeys(stored)
    patterns = tuple([each for each in once if isinstance(each, _PatternsHere)])
    if not patterns:
        return Found(tuple(once), ())  # type: ignore[arg-type]  # none is a _PatternsHere
    return Found(tuple([each for each in once if not isinstance(each, _PatternsHere)]), patterns)


class SpotIndex(Generic[T]):
    """Values stored at places, and found by the fields of an event.

    Not safe for use by several threads at once.
    """

    __slots__ = ("_patterns", "_trie")

    def __init__(self) -> None:
        self._trie: SubscriptionTrie[T | _PatternsHere[T]] = SubscriptionTrie()
        self._patterns: dict[Spot, _PatternsHere[T]] = {}

    def __bool__(self) -> bool:
        return bool(self._trie)

    def add(self, place: Place, value: T) -> Change:
        """Store ``value`` at ``place``; storing it again changes nothing.

        Returns:
            What it bears upon; nothing for one more pattern where there are some, as their index
            is the same.
        """
        spot, pattern = place
        if pattern is None:
            return self._trie.add(spot, value)
        here = self._patterns.get(spot)
        if here is not None:
            here.add(pattern, value)
            return Change.NOTHING
        here = _PatternsHere()
        here.add(pattern, value)
        self._patterns[spot] = here
        return self._trie.add(spot, here)

    def remove(self, place: Place, value: T) -> Change:
        """Undo ``add``, and prune what is empty then.

        Raises:
            KeyError: it has a body pattern and is not there; nothing has changed.
        """
        spot, pattern = place
        if pattern is None:
            return self._trie.remove(spot, value)
        here = self._patterns[spot]
        here.remove(pattern, value)
        if here:
            return Change.NOTHING
        change = self._trie.remove(spot, self._patterns.pop(spot))
        if not self._patterns:
            self._patterns = {}  # a new one gives back the table of its largest days
        return change

    def find(
        self,
        app_name: str,
        severity: Severity,
        verbosity: Verbosity,
        account_id: str | None,
        account_tree: tuple[str, ...],
    ) -> Found[T]:
        """Return who wants events of these fields."""
        return found_among(
            self._trie.match(app_name, severity, verbosity, account_id, account_tree)
        )

    def branch(
        self, app_name: str, severity: Severity, verbosity: Verbosity
    ) -> Branch[T | _PatternsHere[T]]:
        """Return what events of this app and these levels have in common; see ``found_among``."""
        return self._trie.branch(app_name, severity, verbosity)


class BindingIndex(Generic[T]):
    """Which values want an event: each is stored under bindings, all are matched at once.

    For whoever must route events without a queue for each taker: a gateway with its clients, a
    dry run, a rule engine. Any hashable value will do; two that are equal are one, as in a dict.

    ``match`` agrees with ``Binding.matches`` always: it gives a value just if one of its bindings
    matches, and once, whatever number of them do.

    A match does not get slower by bindings that do not match: it takes a few microseconds among
    ten as among a million. ``add`` and ``remove`` cost what the bindings of that value
    cost (one entry for each of their app names times account ids), whatever else is stored; a
    removal leaves nothing behind.

    Not safe for use by several threads at once; in asyncio no call gives way to another task.
    """

    __slots__ = ("_places", "_spots")

    def __init__(self) -> None:
        self._spots: SpotIndex[T] = SpotIndex()
        self._places: dict[T, tuple[Place, ...]] = {}

    def __len__(self) -> int:
        """Return how many values are stored."""
        return len(self._places)

    def __contains__(self, value: object) -> bool:
        """Tell whether ``value`` is stored, under whatever bindings."""
        return value in self._places

    def __iter__(self) -> Iterator[T]:
        """Return the values, in the order in which they were first added."""
        return iter(self._places)

    def add(self, value: T, *bindings: Binding) -> None:
        """Store ``value`` under ``bindings``, beside those it has.

        Raises:
            InvalidBindingError: there is none, or one is no binding; nothing has changed.
            TypeError: the value is not hashable; nothing has changed.
        """
        wanted = places_of(*checked_bindings(bindings))
        places = self._places.get(value, ())
        for place in wanted:
            self._spots.add(place, value)
        self._places[value] = tuple(dict.fromkeys(places + wanted)) if places else wanted

    def remove(self, value: T) -> None:
        """Forget ``value`` and all its bindings.

        Raises:
            KeyError: it is not there.
        """
        for place in self._places.pop(value):
            self._spots.remove(place, value)
        if not self._places:
            self._places = {}  # as in SpotIndex

    def match(self, event: Event) -> list[T]:
        """Return every value that wants ``event``, each once, in no promised order."""
        return self._spots.find(
            event.app_name,
            event.severity,
            event.verbosity,
            event.account_id,
            event.account_tree,
        ).wanting(event.body)  # type: ignore[arg-type]  # a Mapping to users, a dict in truth
