"""Posting lists: of the leaves asked for at one field of a body, those that a value satisfies.

``LeafPostings`` puts the tables of all kinds of elements together.

Invariants:

* Agreement: the leaves found for a value are those whose test accepts it (one may come twice).
* Nothing remains: a table without operands is removed with the last leaf that needed it.
* Adding and removing cost what the leaf's own elements cost, whatever else is stored; for ranges,
  the logarithm of their number.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import replace
from itertools import islice
from typing import Any, Generic, TypeAlias

from edr.records.pattern.arrays import Contents
from edr.records.pattern.leaf import Leaf, Test
from edr.records.pattern.ranges import RangeTable
from edr.records.pattern.tables import (
    AffixTable,
    BlockTable,
    EntryT,
    FoldedTable,
    Probe,
    SuffixTable,
    Table,
    compact,
    count_down,
    weight_of,
)
from edr.records.pattern.values import Scalar, Values, fold
from edr.records.pattern.wildcards import WildcardTable

_TABLES: dict[str, Callable[[], Table[Any, Any]]] = {
    "strings": Table,
    "folded": FoldedTable,
    "prefixes": AffixTable,
    "suffixes": SuffixTable,
    "folded_prefixes": lambda: AffixTable(fold),
    "folded_suffixes": lambda: SuffixTable(fold),
    "wildcards": WildcardTable,
    "blocks": BlockTable,
    "numbers": Table,
    "ranges": RangeTable,
    "literals": Table,
}
_KINDS_OF_STRING = tuple(_TABLES)[:8]
_KINDS_OF_NUMBER = ("numbers", "ranges")
_KINDS_OF_LITERAL = ("literals",)
_TYPES: dict[type, tuple[str, ...]] = {
    str: _KINDS_OF_STRING,
    int: _KINDS_OF_NUMBER,
    float: _KINDS_OF_NUMBER,
    bool: _KINDS_OF_LITERAL,
    type(None): _KINDS_OF_LITERAL,
}


# Of a leaf with more operands so many stand for all.
_COUNTED = 64


class ValuePostings(Generic[EntryT]):
    """Sets of values, by what is in them.

    Attributes:
        probes: For each type of scalar, what returns the entries of the sets that one is in, and
            what ``besides`` finds.
        besides: A further probe of all types.
    """

    __slots__ = ("_tables", "besides", "probes")

    def __init__(self) -> None:
        self.besides: Probe[EntryT] | None = None
        self._tables: dict[str, Table[Any, EntryT]] = {}
        self.probes: dict[type, Probe[EntryT]] = dict.fromkeys(_TYPES, _nothing)

    def __bool__(self) -> bool:
        """Return whether there is any set that is not empty."""
        return bool(self._tables)

    def add(self, values: Values, entry: EntryT) -> None:
        """Add an entry for a set."""
        for kind, operands in _operands(values):
            table = self._tables.get(kind)
            if table is None:
                table = self._tables[kind] = _TABLES[kind]()
                self.combine()
            for operand in operands:
                table.add(operand, entry)

    def discard(self, values: Values, entry: EntryT) -> None:
        """Take away the entry of a set, which is there."""
        for kind, operands in _operands(values):
            table = self._tables[kind]
            for operand in operands:
                table.discard(operand, entry)
            if not table.postings:
                del self._tables[kind]
                self.combine()

    def size_of(self, values: Values) -> int:
        """Return about how many patterns a value meets that is in a set."""
        total = 0
        for kind, operands in _operands(values):
            table = self._tables.get(kind)
            if table is not None:
                counted = [table.size(each) for each in islice(operands, _COUNTED)]
                total += sum(counted) * len(operands) // len(counted)
        return total

    def probe_contents(self, contents: Contents) -> dict[EntryT, None]:
        """Return the entries of the sets that some scalar of an array is in."""
        found: dict[EntryT, None] = {}
        for kind, table in self._tables.items():
            if isinstance(table, RangeTable):
                if contents.numbers:
                    ordered = contents.in_order()
                    found.update(dict.fromkeys(table.probe_ordered(contents.numbers, ordered)))
                continue
            values: AbstractSet[Any] = contents.strings
            if kind == "numbers":
                values = contents.numbers
            elif kind == "literals":
                values = contents.literals
            if values:
                found.update(dict.fromkeys(table.probe_all(values)))
        return found

    def combine(self) -> None:
        """Make ``probes`` those of the tables in use; what is not in use costs a match nothing."""
        for type_, kinds in _TYPES.items():
            probes = [self._tables[kind].probe for kind in kinds if kind in self._tables]
            if self.besides is not None:
                probes.append(self.besides)
            self.probes[type_] = _all_of(probes)


_Operand: TypeAlias = tuple[str, Any]
"""A kind of element, and an operand of it."""


class _Group(Generic[EntryT]):
    """Entries that except the same operands, and the groups of those that except more.

    Attributes:
        above: The group that it is in, which excepts all but ``operand``; None for the outermost.
        operand: What it excepts besides.
        entries: Those in no group below.
        groups: By what they except besides.
    """

    __slots__ = ("above", "entries", "groups", "operand")

    def __init__(self, above: _Group[EntryT] | None, operand: _Operand | None) -> None:
        self.above: _Group[EntryT] | None = above
        self.operand: _Operand | None = operand
        self.entries: dict[EntryT, None] = {}
        self.groups: dict[_Operand, _Group[EntryT]] = {}

    def __len__(self) -> int:
        """Return how much is in it itself."""
        return len(self.entries) + len(self.groups)

    def operands(self) -> list[_Operand]:
        """Return what all in it except."""
        if self.above is None or self.operand is None:
            return []
        return [*self.above.operands(), self.operand]

    def without(self, skipped: Collection[_Group[EntryT]]) -> list[EntryT]:
        """Return the entries in it and below, but for some groups that are not looked at."""
        found: list[EntryT] = []
        groups = [self]
        while groups:
            group = groups.pop()
            found += group.entries
            groups += [each for each in group.groups.values() if each not in skipped]
        return found


class PresentTable(Generic[EntryT]):
    """Leaves that accept whatever is there, or nearly so: no value leads to them.

    Most of them except some values, so a value is looked up for those that it does *not* satisfy.
    The few others, such as two ``anything-but`` in one leaf, are tried. What an event pays for is
    that many of these match, and it pays for each.

    It does not pay for those that do not. What many leaves except is a group, within that of what
    still more except, so that a value passes all of them over at once. What few except is looked
    up, and taken away from what is found.
    """

    __slots__ = ("_counts", "_excepting", "_outermost", "_refusing", "_skipping", "_tests")

    def __init__(self) -> None:
        self._excepting: dict[EntryT, _Group[EntryT]] = {}
        self._outermost: _Group[EntryT] = _Group(None, None)
        self._counts: dict[_Operand, int] = {}
        self._skipping: ValuePostings[_Group[EntryT]] = ValuePostings()
        self._refusing: ValuePostings[EntryT] = ValuePostings()
        self._tests: dict[EntryT, tuple[Test, Callable[[Contents], bool]]] = {}

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self._excepting) + len(self._tests)

    def add(self, leaf: Leaf, entry: EntryT) -> None:
        """Add the entry of a leaf."""
        excepted = _excepted_only(leaf)
        if excepted is None:
            self._tests[entry] = leaf.test(), leaf.test_of_contents()
            return
        operands = _each_operand(excepted)
        for operand in operands:
            self._counts[operand] = self._counts.get(operand, 0) + 1
        group = self._outermost
        for operand in self._common(operands):
            below = group.groups.get(operand)
            if below is None:
                below = group.groups[operand] = _Group(group, operand)
                self._skipping.add(_values_of(operand), below)
            group = below
        group.entries[entry] = None
        self._excepting[entry] = group
        self._refusing.add(_without(excepted, group.operands()), entry)

    def discard(self, leaf: Leaf, entry: EntryT) -> None:
        """Take away the entry of a leaf, which is there."""
        excepted = _excepted_only(leaf)
        if excepted is None:
            del self._tests[entry]
            compact(self._tests)
            return
        for operand in _each_operand(excepted):
            count_down(self._counts, operand)
        compact(self._counts)
        group = self._excepting.pop(entry)
        compact(self._excepting)
        self._refusing.discard(_without(excepted, group.operands()), entry)
        del group.entries[entry]
        compact(group.entries)
        while not group and group.above is not None and group.operand is not None:
            self._skipping.discard(_values_of(group.operand), group)
            del group.above.groups[group.operand]
            group = group.above
            compact(group.groups)

    def size(self) -> int:
        """Return about how many patterns a value meets."""
        return weight_of(self._excepting) + len(self)

    def probe(self, value: Scalar) -> Collection[EntryT]:
        """Return the entries of the leaves that accept a value of any type."""
        found: Collection[EntryT] = self._excepting
        refusing = self._refusing.probes[type(value)](value)
        skipped = self._skipping.probes[type(value)](value) if self._skipping else None
        if skipped:
            found = self._outermost.without(set(skipped))
        if refusing:
            refused = refusing if isinstance(refusing, dict) else dict.fromkeys(refusing)
            all_refuse = len(refused) == len(self._excepting)
            found = () if all_refuse else [each for each in found if each not in refused]
        if not self._tests:
            return found
        return [*found, *(entry for entry, (test, _) in self._tests.items() if test(value, {}))]

    def probe_contents(self, contents: Contents) -> Iterable[EntryT]:
        """Return the entries of the leaves that accept some scalar of an array, which has one."""
        left: Collection[EntryT] = self._excepting  # those that refuse all that was looked at
        for values in (contents.literals, contents.numbers, contents.strings):
            for value in values:
                if not left:
                    break
                refusing = self._refusing.probes[type(value)](value) or ()
                if self._skipping:
                    skipped = self._skipping.probes[type(value)](value) or ()
                    refusing = [
                        *refusing,
                        *(each for group in skipped for each in group.without(())),
                    ]
                left = {each: None for each in refusing if each in left} if refusing else {}
        yield from (each for each in self._excepting if each not in left)
        yield from (each for each, (_, test) in self._tests.items() if test(contents))

    def _common(self, operands: list[_Operand]) -> list[_Operand]:
        """Return those that many except, the most common one first."""
        counts = self._counts
        many = [each for each in operands if counts[each] > _MANY]
        # The last is for those that are equally common: all entries must have them in one order.
        many.sort(key=lambda each: (-counts[each], each[0], str(each[1])))
        return many[:_DEEP]


# An operand that more leaves except makes a group, and a leaf is in so many of them at most.
_MANY = 16
_DEEP = 16


def _each_operand(values: Values) -> list[_Operand]:
    return [(kind, each) for kind, operands in _operands(values) for each in operands]


def _values_of(operand: _Operand) -> Values:
    kind, only = operand
    return Values(**{kind: frozenset({only})})


def _without(values: Values, operands: list[_Operand]) -> Values:
    """Return a set less some of what describes it."""
    left = {kind: set(getattr(values, kind)) for kind, _ in operands}
    for kind, operand in operands:
        left[kind].discard(operand)
    return replace(values, **{kind: frozenset(each) for kind, each in left.items()})


def _excepted_only(leaf: Leaf) -> Values | None:
    """Return the values that are all that a broad leaf does not accept, if so."""
    if leaf.present:
        return Values()
    only, *more = leaf.exceptions
    return None if more or leaf.values != Values() else only


class LeafPostings(Generic[EntryT]):
    """All leaves that are asked for at one field of a body.

    Attributes:
        probes: For each type of scalar, what returns the entries of the leaves that accept one.
        absent: The entries of the leaves that accept that nothing is there.
    """

    __slots__ = ("_narrow", "_present", "absent", "probes")

    def __init__(self) -> None:
        self._narrow: ValuePostings[EntryT] = ValuePostings()
        self._present: PresentTable[EntryT] = PresentTable()
        self.absent: dict[EntryT, None] = {}
        self.probes: dict[type, Probe[EntryT]] = self._narrow.probes

    def __bool__(self) -> bool:
        """Return whether there is any leaf."""
        return bool(self._narrow or self._present or self.absent)

    def add(self, leaf: Leaf, entry: EntryT) -> None:
        """Add an entry for a leaf."""
        if leaf.absent:
            self.absent[entry] = None
        if is_broad(leaf):
            self._present.add(leaf, entry)
            self._combine()
        else:
            self._narrow.add(leaf.values, entry)

    def discard(self, leaf: Leaf, entry: EntryT) -> None:
        """Take away the entry of a leaf, which is there."""
        if leaf.absent:
            del self.absent[entry]
            compact(self.absent)
        if is_broad(leaf):
            self._present.discard(leaf, entry)
            self._combine()
        else:
            self._narrow.discard(leaf.values, entry)

    def size(self, leaf: Leaf) -> int:
        """Return about how many patterns a value meets that a leaf accepts."""
        if is_broad(leaf):
            return self._present.size()
        return weight_of(self.absent) * leaf.absent + self._narrow.size_of(leaf.values)

    def probe_contents(self, contents: Contents) -> Iterable[EntryT]:
        """Return the entries of the leaves that accept an array, each once."""
        if not contents:
            return self.absent
        found = self._narrow.probe_contents(contents)
        if self._present:
            found.update(dict.fromkeys(self._present.probe_contents(contents)))
        return found

    def _combine(self) -> None:
        besides = self._present.probe if self._present else None
        if (self._narrow.besides is None) != (besides is None):
            self._narrow.besides = besides
            self._narrow.combine()


def is_broad(leaf: Leaf) -> bool:
    """Return whether a leaf accepts whatever is there, or nearly so."""
    return leaf.present or bool(leaf.exceptions)


def _operands(values: Values) -> Iterator[tuple[str, frozenset[Any]]]:
    for kind in _TABLES:
        operands = getattr(values, kind)
        if operands:
            yield kind, operands


def _all_of(probes: list[Probe[EntryT]]) -> Probe[EntryT]:
    if not probes:
        return _nothing
    if len(probes) == 1:
        return probes[0]

    def probe(value: object) -> list[EntryT] | None:
        found: list[EntryT] | None = None
        for each in probes:
            entries = each(value)
            if entries:
                found = [*found, *entries] if found else list(entries)
        return found

    return probe


def _nothing(_: object) -> None:
    return None
