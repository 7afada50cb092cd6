"""Tables that find, for a value, the operands of one kind that accept it, trying no others.

A dict for what is equal to something; a dict probed once per length in use for prefixes, suffixes
and address blocks. Numbers and literals need no more than ``Table`` itself; wildcards and ranges
have files of their own.

Invariants:

* A probe returns the entries of exactly those operands that accept the value, or one of several.
* Nothing remains: an operand without entries is removed with the last of them, and a dict that
  was far larger gives its room back, as those who iterate over one pass all that it ever had.
* Adding and removing cost the same, whatever else is stored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sized
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import Any, Generic, TypeAlias, TypeVar

from edr.records.pattern.addresses import Block, address_of, blocks_of
from edr.records.pattern.values import fold

OperandT = TypeVar("OperandT")
EntryT = TypeVar("EntryT", bound=Sized)
Probe: TypeAlias = "Callable[[Any], Iterable[EntryT] | None]"


def compact(table: dict[Any, Any]) -> None:
    """Give back the room of a dict from which much has been removed; it stays the same object."""
    if table.__sizeof__() > _SMALL + _PER_ITEM * len(table):
        items = list(table.items())
        table.clear()
        table.update(items)


# A dict takes 100 to 200 bytes for an item, according to how full it is. So most of one that takes
# five times as much is holes; refilling it costs less than the removals that made them.
_SMALL, _PER_ITEM = 4_096, 1_000


def weight_of(entries: Iterable[Sized]) -> int:
    """Return how many patterns stand behind entries; of many, but roughly."""
    return sum(map(len, islice(entries, _COUNTED)))


_COUNTED = 64
"""Entries that are looked at to compare two lists: the longer of two that are so long is no matter
of a few, and adding must not cost what all others cost."""


class Table(Generic[OperandT, EntryT]):
    """Entries by operand of one kind, and how a value finds the operands that accept it.

    Attributes:
        postings: The entries of each operand, as the keys of a dict: a set that keeps its order.
        probe: Returns the entries of the operands that accept a value of the table's type; None,
            too, for nothing.
    """

    __slots__ = ("postings", "probe")

    def __init__(self) -> None:
        self.postings: dict[OperandT, dict[EntryT, None]] = {}
        self.probe: Probe[EntryT] = self.postings.get

    def add(self, operand: OperandT, entry: EntryT) -> None:
        """Add an entry to an operand's."""
        posting = self.postings.get(operand)
        if posting is None:
            posting = self.postings[operand] = {}
            self.link(operand)
        posting[entry] = None

    def discard(self, operand: OperandT, entry: EntryT) -> None:
        """Take away an entry that is there."""
        posting = self.postings[operand]
        del posting[entry]
        if posting:
            compact(posting)
        else:
            del self.postings[operand]
            compact(self.postings)
            self.unlink(operand)

    def size(self, operand: OperandT) -> int:
        """Return about how many patterns a value meets that this operand accepts."""
        posting = self.postings.get(operand)
        return 0 if posting is None else weight_of(posting) + max(0, len(posting) - _COUNTED)

    def probe_all(self, values: AbstractSet[Any]) -> Iterable[EntryT]:
        """Return the entries of the operands that accept one of several values."""
        found: dict[EntryT, None] = {}
        for operand in self.postings.keys() & values:
            found.update(self.postings[operand])
        return found

    def link(self, operand: OperandT) -> None:
        """Make a new operand known to ``probe``; a dict look-up needs no more than the dict."""

    def unlink(self, operand: OperandT) -> None:
        """Undo ``link``."""


class SoughtTable(Table[OperandT, EntryT]):
    """A table in which a value is no key."""

    __slots__ = ()

    def probe_all(self, values: AbstractSet[Any]) -> Iterable[EntryT]:
        found: dict[EntryT, None] = {}
        probe = self.probe
        for value in values:
            entries = probe(value)
            if entries:
                found.update(dict.fromkeys(entries))
        return found


# Up to so many operands are tried for all of several values, in C.
_FEW = 8


class FoldedTable(Table[str, EntryT]):
    """Strings regardless of case: their foldings."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__()
        self.probe: Probe[EntryT] = lambda text: self.postings.get(fold(text))

    def probe_all(self, values: AbstractSet[Any]) -> Iterable[EntryT]:
        return super().probe_all(set(map(fold, values)))


class AffixTable(SoughtTable[str, EntryT]):
    """Strings by what they begin with, cut off once per length in use.

    A value is read first: turned around for suffixes, folded where case is ignored.
    """

    __slots__ = ("_lengths", "_read")

    def __init__(self, read: Callable[[str], str | None] | None = None) -> None:
        super().__init__()
        self._read = read
        self._lengths: Counter[int] = Counter()
        self.probe: Probe[EntryT] = self._probe if read is None else self._probe_read

    def link(self, operand: str) -> None:
        self._lengths[len(operand)] += 1

    def unlink(self, operand: str) -> None:
        count_down(self._lengths, len(operand))

    def probe_all(self, values: AbstractSet[Any]) -> Iterable[EntryT]:
        texts: AbstractSet[Any] = values
        if self._read is not None:
            texts = {read: None for each in values if (read := self._read(each)) is not None}.keys()
        if len(self.postings) <= _FEW:
            beginnings = tuple(self.postings)
            texts = {each: None for each in texts if each.startswith(beginnings)}.keys()
        return self._cut(texts)

    def _cut(self, texts: AbstractSet[Any]) -> dict[EntryT, None]:
        found: dict[EntryT, None] = {}
        for length in self._lengths:
            for beginning in {text[:length] for text in texts} & self.postings.keys():
                found.update(self.postings[beginning])
        return found

    def _probe_read(self, text: str) -> list[EntryT] | None:
        assert self._read is not None
        read = self._read(text)
        return None if read is None else self._probe(read)

    def _probe(self, text: str) -> list[EntryT] | None:
        found: list[EntryT] | None = None
        size = len(text)
        postings = self.postings
        for length in self._lengths:
            if length <= size:
                posting = postings.get(text[:length])
                if posting is not None:
                    found = [*found, *posting] if found else list(posting)
        return found


def turned(text: str) -> str:
    """Return a string from its end to its beginning: a suffix of one is a prefix of the other."""
    return text[::-1]


class SuffixTable(AffixTable[EntryT]):
    """Strings by what they end with."""

    __slots__ = ("_read_first",)

    def __init__(self, read: Callable[[str], str] | None = None) -> None:
        super().__init__(turned if read is None else lambda text: turned(read(text)))
        self._read_first = read

    def add(self, operand: str, entry: EntryT) -> None:
        super().add(turned(operand), entry)

    def discard(self, operand: str, entry: EntryT) -> None:
        super().discard(turned(operand), entry)

    def size(self, operand: str) -> int:
        return super().size(turned(operand))

    def probe_all(self, values: AbstractSet[Any]) -> Iterable[EntryT]:
        texts: AbstractSet[Any] = values
        if self._read_first is not None:
            texts = dict.fromkeys(map(self._read_first, values)).keys()
        if len(self.postings) <= _FEW:
            endings = tuple(map(turned, self.postings))
            texts = {each: None for each in texts if each.endswith(endings)}.keys()
        return self._cut(set(map(turned, texts)))


class Held(Generic[EntryT]):
    """An operand that is found by a hint and must be tested; its entries at hand.

    Hashed by identity: a range or a wildcard would be hashed by value at each step.
    """

    __slots__ = ("accepts", "entries")

    def __init__(self, accepts: Callable[[Any], bool], entries: dict[EntryT, None]) -> None:
        self.accepts: Callable[[Any], bool] = accepts
        self.entries: dict[EntryT, None] = entries

    def __len__(self) -> int:
        """Return about how many patterns stand behind it."""
        return weight_of(self.entries)


class BlockTable(Table[Block, EntryT]):
    """Blocks of addresses: prefixes of what an address is in bits."""

    __slots__ = ("_by_bits",)

    def __init__(self) -> None:
        super().__init__()
        self._by_bits: AffixTable[EntryT] = AffixTable(_bits_of_address)
        self.probe: Probe[EntryT] = self._by_bits.probe

    def add(self, operand: Block, entry: EntryT) -> None:
        super().add(operand, entry)
        self._by_bits.add(_bits(operand.first)[: 2 + operand.length], entry)

    def discard(self, operand: Block, entry: EntryT) -> None:
        super().discard(operand, entry)
        self._by_bits.discard(_bits(operand.first)[: 2 + operand.length], entry)

    def probe_all(self, values: AbstractSet[Any]) -> Iterable[EntryT]:
        if len(self.postings) > len(values):
            return self._by_bits.probe_all(values)
        found: dict[EntryT, None] = {}
        for block in blocks_of(values, self.postings):
            found.update(self.postings[block])
        return found


def _bits(address: bytes) -> str:
    """Return an address as text: the size of its family, and its bits."""
    return f"{len(address):02}{int.from_bytes(address, 'big'):0{8 * len(address)}b}"


def _bits_of_address(text: str) -> str | None:
    address = address_of(text)
    return None if address is None else _bits(address)


def count_down(counts: dict[OperandT, int], key: OperandT) -> None:
    """Take one away, and the key with the last."""
    counts[key] -= 1
    if not counts[key]:
        del counts[key]
