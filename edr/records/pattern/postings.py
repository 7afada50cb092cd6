"""Posting lists: of the leaves asked for at one place of a body, those that a value satisfies.

``LeafPostings`` puts the tables of all kinds of elements together.

Invariants:

* Agreement: the leaves found for a value are those whose test accepts it (one may come twice).
* Nothing remains: a table without operands is removed with the last leaf that needed it.
* Adding and removing cost what the leaf's own elements cost, whatever else is stored; for ranges,
  the logarithm of their number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Generic

from edr.records.pattern.ranges import RangeTable
from edr.records.pattern.tables import (
    AffixTable,
    EntryT,
    FoldedTable,
    NetworkTable,
    Probe,
    Table,
    WildcardTable,
    beginning,
    ending,
)
from edr.records.pattern.tree import Leaf
from edr.records.pattern.values import Number, Scalar, Values, fold


class PresentTable(Generic[EntryT]):
    """Leaves that accept whatever is there, or nearly so: no value leads to them.

    Most of them except a few strings or numbers, so a value is looked up for those that it does
    *not* satisfy. The others, which except a prefix, say, are tried. Equal leaves are one entry.
    """

    __slots__ = ("_excepted", "_excepting", "_tests")

    def __init__(self) -> None:
        self._excepting: dict[EntryT, None] = {}
        self._excepted: dict[str | Number, dict[EntryT, None]] = {}
        self._tests: dict[EntryT, Callable[[object], bool]] = {}

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self._excepting) + len(self._tests)

    def add(self, leaf: Leaf, entry: EntryT) -> None:
        """Add the entry of a leaf."""
        excepted = _excepted_only(leaf)
        if excepted is None:
            self._tests[entry] = leaf.test()
            return
        self._excepting[entry] = None
        for value in excepted:
            self._excepted.setdefault(value, {})[entry] = None

    def discard(self, leaf: Leaf, entry: EntryT) -> None:
        """Take away the entry of a leaf, which is there."""
        excepted = _excepted_only(leaf)
        if excepted is None:
            del self._tests[entry]
            return
        del self._excepting[entry]
        for value in excepted:
            entries = self._excepted[value]
            del entries[entry]
            if not entries:
                del self._excepted[value]

    def probe(self, value: Scalar) -> list[EntryT]:
        """Return the entries of the leaves that accept a value of any type."""
        found = [entry for entry, test in self._tests.items() if test(value)]
        # True would find what excepts 1.
        refusing = None if isinstance(value, bool) or value is None else self._excepted.get(value)
        if refusing is None:
            found += self._excepting
        else:
            found += [entry for entry in self._excepting if entry not in refusing]
        return found


def _excepted_only(leaf: Leaf) -> frozenset[str | Number] | None:
    """Return the strings and numbers that are all that a broad leaf does not accept, if so."""
    if leaf.present:
        return frozenset()
    only, *more = leaf.exceptions
    if more or leaf.values != Values():
        return None
    if only != Values(strings=only.strings, numbers=only.numbers):
        return None
    return only.strings | only.numbers


_TABLES: dict[str, Callable[[], Table[Any, Any]]] = {
    "strings": Table,
    "folded": FoldedTable,
    "prefixes": lambda: AffixTable(beginning),
    "suffixes": lambda: AffixTable(ending),
    "folded_prefixes": lambda: AffixTable(beginning, fold),
    "folded_suffixes": lambda: AffixTable(ending, fold),
    "wildcards": WildcardTable,
    "networks": NetworkTable,
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


class LeafPostings(Generic[EntryT]):
    """All leaves that are asked for at one place of a body.

    Attributes:
        probes: For each type of scalar, what returns the entries of the leaves that accept one.
        absent: The entries of the leaves that accept that nothing is there.
    """

    __slots__ = ("_present", "_tables", "absent", "probes")

    def __init__(self) -> None:
        self._tables: dict[str, Table[Any, EntryT]] = {}
        self._present: PresentTable[EntryT] = PresentTable()
        self.absent: dict[EntryT, None] = {}
        self.probes: dict[type, Probe[EntryT]] = {}
        self._combine()

    def __bool__(self) -> bool:
        """Return whether there is any leaf."""
        return bool(self._tables or self._present or self.absent)

    def add(self, leaf: Leaf, entry: EntryT) -> None:
        """Add an entry for a leaf."""
        if leaf.absent:
            self.absent[entry] = None
        if is_broad(leaf):
            self._present.add(leaf, entry)
            self._combine()
            return
        for kind, operands in _operands(leaf.values):
            table = self._tables.get(kind)
            if table is None:
                table = self._tables[kind] = _TABLES[kind]()
                self._combine()
            for operand in operands:
                table.add(operand, entry)

    def discard(self, leaf: Leaf, entry: EntryT) -> None:
        """Take away the entry of a leaf, which is there."""
        if leaf.absent:
            del self.absent[entry]
        if is_broad(leaf):
            self._present.discard(leaf, entry)
            self._combine()
            return
        for kind, operands in _operands(leaf.values):
            table = self._tables[kind]
            for operand in operands:
                table.discard(operand, entry)
            if not table.postings:
                del self._tables[kind]
                self._combine()

    def size(self, leaf: Leaf) -> int:
        """Return about how many other leaves a value meets that this one accepts."""
        if is_broad(leaf):
            return len(self._present)
        return len(self.absent) * leaf.absent + sum(
            self._tables[kind].size(operand)
            for kind, operands in _operands(leaf.values)
            if kind in self._tables
            for operand in operands
        )

    def _combine(self) -> None:
        """Make ``probes`` those of the tables in use; what is not in use costs a match nothing."""
        for type_, kinds in _TYPES.items():
            probes = [self._tables[kind].probe for kind in kinds if kind in self._tables]
            if self._present:
                probes.append(self._present.probe)
            self.probes[type_] = _all_of(probes)


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

    def probe(value: object) -> list[EntryT]:
        found: list[EntryT] = []
        for each in probes:
            found += each(value) or ()
        return found

    return probe


def _nothing(_: object) -> None:
    return None
