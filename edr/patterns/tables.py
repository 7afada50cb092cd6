"""Tables that find, for a value, the operands of one kind that accept it, without trying others.

Equality uses a dict. Prefixes, suffixes and address blocks use a dict that is probed once per
length in use. Numbers and literals need only ``Table`` itself; wildcards and ranges have modules of
their own.

Invariants:

* A probe returns the entries of exactly those operands that accept the value, or one of several.
* Nothing remains: an operand without entries is removed with the last of them, and a dict that
  was far larger is shrunk, because iterating over a dict visits the slots of deleted items too.
* Adding and removing cost the same, whatever else is stored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sized
from itertools import islice
from typing import Any, Generic, TypeAlias, TypeVar

from edr.patterns.addresses import Block, address_of

OperandT = TypeVar("OperandT")
EntryT = TypeVar("EntryT", bound=Sized)
Probe: TypeAlias = "Callable[[Any], Iterable[EntryT] | None]"


def compact(table: dict[Any, Any]) -> None:
    """Shrink a dict from which many items have been removed, in place."""
    if table.__sizeof__() > _SMALL + _PER_ITEM * len(table):
        items = list(table.items())
        table.clear()
        table.update(items)


# A dict takes 100 to 200 bytes for an item, according to how full it is. So most of one that takes
# five times as much is holes; refilling it costs less than the removals that made them.
_SMALL, _PER_ITEM = 4_096, 1_000


def weight_of(entries: Collection[Sized]) -> int:
    """Return about how many patterns several entries lead to."""
    if len(entries) <= _COUNTED:
        return sum(map(len, entries))
    return sum(map(len, islice(entries, _COUNTED))) * len(entries) // _COUNTED


_COUNTED = 64
"""Entries that are counted; of more, these are a sample. Adding a pattern must cost the same,
whatever else is stored."""


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
        return 0 if posting is None else weight_of(posting)

    def link(self, operand: OperandT) -> None:
        """Make a new operand known to ``probe``; a dict look-up needs no more than the dict."""

    def unlink(self, operand: OperandT) -> None:
        """Undo ``link``."""


class AffixTable(Table[str, EntryT]):
    """Strings by their prefix, cut off once for each length in use."""

    __slots__ = ("_lengths",)

    def __init__(self) -> None:
        super().__init__()
        self._lengths: Counter[int] = Counter()
        self.probe: Probe[EntryT] = self._probe

    def link(self, operand: str) -> None:
        self._lengths[len(operand)] += 1

    def unlink(self, operand: str) -> None:
        count_down(self._lengths, len(operand))

    def _probe(self, text: str) -> Iterable[EntryT] | None:
        found: Iterable[EntryT] | None = None
        size = len(text)
        postings = self.postings
        for length in self._lengths:
            if length <= size:
                posting = postings.get(text[:length])
                if posting is not None:
                    found = posting if found is None else [*found, *posting]
        return found


class SuffixTable(AffixTable[EntryT]):
    """Strings by their suffix: the prefix of the reversed string."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__()
        self.probe: Probe[EntryT] = lambda text: self._probe(text[::-1])

    def add(self, operand: str, entry: EntryT) -> None:
        super().add(operand[::-1], entry)

    def discard(self, operand: str, entry: EntryT) -> None:
        super().discard(operand[::-1], entry)

    def size(self, operand: str) -> int:
        return super().size(operand[::-1])


class BlockTable(Table[Block, EntryT]):
    """Blocks of addresses: prefixes of the bits of an address."""

    __slots__ = ("_by_bits",)

    def __init__(self) -> None:
        super().__init__()
        self._by_bits: dict[int, AffixTable[EntryT]] = {4: AffixTable(), 16: AffixTable()}
        self.probe: Probe[EntryT] = self._probe

    def add(self, operand: Block, entry: EntryT) -> None:
        super().add(operand, entry)
        self._by_bits[len(operand.first)].add(_bits(operand.first)[: 3 + operand.length], entry)

    def discard(self, operand: Block, entry: EntryT) -> None:
        super().discard(operand, entry)
        self._by_bits[len(operand.first)].discard(_bits(operand.first)[: 3 + operand.length], entry)

    def _probe(self, text: str) -> Iterable[EntryT] | None:
        address = address_of(text)
        return None if address is None else self._by_bits[len(address)].probe(_bits(address))


def _bits(address: bytes) -> str:
    """Return the bits of an address as text, after "0b1", which keeps leading zeros."""
    return bin(int.from_bytes(address, "big") | 1 << 8 * len(address))


class Held(Generic[EntryT]):
    """An operand that must be tested, with its entries at hand.

    Hashed by identity: a range or a wildcard would be hashed by value at each step.
    """

    __slots__ = ("accepts", "entries")

    def __init__(self, accepts: Callable[[Any], bool], entries: dict[EntryT, None]) -> None:
        self.accepts: Callable[[Any], bool] = accepts
        self.entries: dict[EntryT, None] = entries

    def __len__(self) -> int:
        """Return about how many patterns it leads to."""
        return weight_of(self.entries)


class HeldTable(Table[OperandT, EntryT]):
    """Operands that must be tested: all of a few, and of many only the candidates for a value.

    Attributes:
        held: The operands.
    """

    __slots__ = ("held",)

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[OperandT, Held[EntryT]] = {}
        self.probe: Probe[EntryT] = self._probe

    def candidates(self, value: Any) -> Iterable[Held[EntryT]]:
        """Return the operands that may accept a value: all that do, and few others."""
        raise NotImplementedError

    def _probe(self, value: Any) -> list[EntryT]:
        held = self.held.values() if len(self.held) <= _FEW else self.candidates(value)
        found: list[EntryT] = []
        for each in held:
            if each.accepts(value):
                found += each.entries
        return found


_FEW = 4
"""Up to this number, testing all operands is faster than finding the candidates."""


def count_down(counts: dict[OperandT, int], key: OperandT) -> None:
    """Decrement a count; delete the key at zero."""
    counts[key] -= 1
    if not counts[key]:
        del counts[key]
