"""Posting lists: they find, for a value of one field, the leaves that it satisfies.

``FieldPostings`` puts the tables of all kinds of elements together.

Invariants:

* Agreement: the leaves found for a value are those whose test accepts it (one may come twice).
* Nothing remains: a table without operands is removed with the last leaf that needed it.
* Adding and removing cost what the leaf's own elements cost, whatever else is stored; for ranges,
  the logarithm of their number.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import islice
from typing import Any, Generic

from edr.patterns.field_matcher import FieldMatcher, Test
from edr.patterns.ranges import RangeTable
from edr.patterns.scalar_set import Scalar, ScalarSet, fold
from edr.patterns.tables import (
    AffixTable,
    BlockTable,
    EntryT,
    Probe,
    SuffixTable,
    Table,
    compact,
    weight_of,
)
from edr.patterns.wildcards import WildcardTable

_TABLES: dict[str, Callable[[], Table[Any, Any]]] = {
    "strings": Table,
    "prefixes": AffixTable,
    "suffixes": SuffixTable,
    "wildcards": WildcardTable,
    "blocks": BlockTable,
    "folded": Table,
    "folded_prefixes": AffixTable,
    "folded_suffixes": SuffixTable,
    "numbers": Table,
    "ranges": RangeTable,
    "literals": Table,
}
"""The tables, by attribute of ``ScalarSet``. Those of the folded ones are given folded strings."""

_KINDS_OF_STRING = ("strings", "prefixes", "suffixes", "wildcards", "blocks")
_KINDS_OF_FOLDED = ("folded", "folded_prefixes", "folded_suffixes")
_KINDS_OF_NUMBER = ("numbers", "ranges")
_KINDS_OF_LITERAL = ("literals",)
_TYPES: dict[type, tuple[str, ...]] = {
    str: _KINDS_OF_STRING,
    int: _KINDS_OF_NUMBER,
    float: _KINDS_OF_NUMBER,
    bool: _KINDS_OF_LITERAL,
    type(None): _KINDS_OF_LITERAL,
}


# Operands that are counted; of a leaf with more, these are a sample.
_COUNTED = 64


class ScalarPostings(Generic[EntryT]):
    """Entries of sets of values, found by a value in the set.

    Attributes:
        probes: By type of scalar, the probe that returns the entries of all sets with a value. It
            includes the results of ``fallback``.
        fallback: A further probe, for values of all types.
    """

    __slots__ = ("_tables", "fallback", "probes")

    def __init__(self) -> None:
        self.fallback: Probe[EntryT] | None = None
        self._tables: dict[str, Table[Any, EntryT]] = {}
        self.probes: dict[type, Probe[EntryT]] = dict.fromkeys(_TYPES, _nothing)

    def __bool__(self) -> bool:
        """Return whether there is any set that is not empty."""
        return bool(self._tables)

    def add(self, values: ScalarSet, entry: EntryT) -> None:
        """Add an entry for a set."""
        for kind, operands in _operands(values):
            table = self._tables.get(kind)
            if table is None:
                table = self._tables[kind] = _TABLES[kind]()
                self.combine()
            for operand in operands:
                table.add(operand, entry)

    def discard(self, values: ScalarSet, entry: EntryT) -> None:
        """Take away the entry of a set, which is there."""
        for kind, operands in _operands(values):
            table = self._tables[kind]
            for operand in operands:
                table.discard(operand, entry)
            if not table.postings:
                del self._tables[kind]
                self.combine()

    def size_of(self, values: ScalarSet) -> int:
        """Return about how many patterns a value meets that is in a set."""
        total = 0
        for kind, operands in _operands(values):
            table = self._tables.get(kind)
            if table is not None:
                counted = [table.size(each) for each in islice(operands, _COUNTED)]
                total += sum(counted) * len(operands) // len(counted)
        return total

    def combine(self) -> None:
        """Make ``probes`` those of the tables in use; a table not in use costs a match nothing."""
        for type_, kinds in _TYPES.items():
            probes = self._probes_of(kinds)
            if type_ is str and (folded := self._probes_of(_KINDS_OF_FOLDED)):
                probes.append(_folding(_all_of(folded)))
            if self.fallback is not None:
                probes.append(self.fallback)
            self.probes[type_] = _all_of(probes)

    def _probes_of(self, kinds: Iterable[str]) -> list[Probe[EntryT]]:
        return [self._tables[kind].probe for kind in kinds if kind in self._tables]


class PresentTable(Generic[EntryT]):
    """Leaves that accept any value, or nearly any: no value leads to them.

    Most of them except some values, so a value is looked up for the leaves that do *not* accept
    it, and these are left out of the result. The few others, such as two ``anything-but`` in one
    leaf, are tested.
    """

    __slots__ = ("_excepting", "_refusing", "_tests")

    def __init__(self) -> None:
        self._excepting: dict[EntryT, None] = {}
        self._refusing: ScalarPostings[EntryT] = ScalarPostings()
        self._tests: dict[EntryT, Test] = {}

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self._excepting) + len(self._tests)

    def add(self, leaf: FieldMatcher, entry: EntryT) -> None:
        """Add the entry of a leaf."""
        excepted = _excepted_only(leaf)
        if excepted is None:
            self._tests[entry] = leaf.test()
        else:
            self._excepting[entry] = None
            self._refusing.add(excepted, entry)

    def discard(self, leaf: FieldMatcher, entry: EntryT) -> None:
        """Remove the entry of a leaf, which is there."""
        excepted = _excepted_only(leaf)
        if excepted is None:
            del self._tests[entry]
            compact(self._tests)
        else:
            del self._excepting[entry]
            compact(self._excepting)
            self._refusing.discard(excepted, entry)

    def size(self) -> int:
        """Return about how many patterns a value meets."""
        return weight_of(self._excepting) + weight_of(self._tests)

    def probe(self, value: Scalar) -> Collection[EntryT]:
        """Return the entries of the leaves that accept a value of any type."""
        found: Collection[EntryT] = self._excepting
        refusing = self._refusing.probes[type(value)](value)
        if refusing:
            refused = refusing if isinstance(refusing, dict) else dict.fromkeys(refusing)
            # Many leaves that except the same common value cost that value one comparison.
            all_refuse = len(refused) == len(found)
            found = () if all_refuse else [each for each in found if each not in refused]
        if not self._tests:
            return found
        return [*found, *[entry for entry, test in self._tests.items() if test(value)]]


def _excepted_only(leaf: FieldMatcher) -> ScalarSet | None:
    """Return the values that are all that a broad leaf does not accept, if so."""
    if leaf.present:
        return ScalarSet()
    only, *more = leaf.exceptions
    return None if more or leaf.values != ScalarSet() else only


class FieldPostings(Generic[EntryT]):
    """All leaves that are asked for at one field of a body.

    Attributes:
        probes: For each type of scalar, what returns the entries of the leaves that accept one.
        absent: The entries of the leaves that accept that nothing is there.
    """

    __slots__ = ("_narrow", "_present", "absent", "probes")

    def __init__(self) -> None:
        self._narrow: ScalarPostings[EntryT] = ScalarPostings()
        self._present: PresentTable[EntryT] = PresentTable()
        self.absent: dict[EntryT, None] = {}
        self.probes: dict[type, Probe[EntryT]] = self._narrow.probes

    def __bool__(self) -> bool:
        """Return whether there is any leaf."""
        return bool(self._narrow or self._present or self.absent)

    def add(self, leaf: FieldMatcher, entry: EntryT) -> None:
        """Add an entry for a leaf."""
        if leaf.absent:
            self.absent[entry] = None
        if is_broad(leaf):
            self._present.add(leaf, entry)
            self._combine()
        else:
            self._narrow.add(leaf.values, entry)

    def discard(self, leaf: FieldMatcher, entry: EntryT) -> None:
        """Take away the entry of a leaf, which is there."""
        if leaf.absent:
            del self.absent[entry]
            compact(self.absent)
        if is_broad(leaf):
            self._present.discard(leaf, entry)
            self._combine()
        else:
            self._narrow.discard(leaf.values, entry)

    def size(self, leaf: FieldMatcher) -> int:
        """Return about how many patterns a value meets that a leaf accepts."""
        if is_broad(leaf):
            return self._present.size()
        return weight_of(self.absent) * leaf.absent + self._narrow.size_of(leaf.values)

    def _combine(self) -> None:
        fallback = self._present.probe if self._present else None
        if (self._narrow.fallback is None) != (fallback is None):
            self._narrow.fallback = fallback
            self._narrow.combine()


def is_broad(leaf: FieldMatcher) -> bool:
    """Return whether a leaf accepts whatever is there, or nearly so."""
    return leaf.present or bool(leaf.exceptions)


def _operands(values: ScalarSet) -> Iterator[tuple[str, frozenset[Any]]]:
    for kind in _TABLES:
        operands = getattr(values, kind)
        if operands:
            yield kind, operands


def _all_of(probes: list[Probe[EntryT]]) -> Probe[EntryT]:
    if not probes:
        return _nothing
    if len(probes) == 1:
        return probes[0]

    def probe(value: object) -> Iterable[EntryT] | None:
        found: Iterable[EntryT] | None = None
        for each in probes:
            entries = each(value)
            if entries:
                found = [*found, *entries] if found else entries
        return found

    return probe


def _folding(probe: Probe[EntryT]) -> Probe[EntryT]:
    return lambda text: probe(fold(text))


def _nothing(_: object) -> None:
    return None
