"""Tables that find, for a string, the operands of one kind that accept it, trying no others.

A dict for what is equal to something, a dict probed once per length in use for prefixes and
suffixes, one probed per mask for address blocks, and literal pieces for wildcards. Numbers and
literals need no more than ``Table`` itself; ranges have a file of their own.

Invariants:

* A probe returns the entries of exactly those operands that accept the value.
* Nothing remains: an operand without entries is removed with the last of them.
* Adding and removing cost the same, whatever else is stored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeAlias, TypeVar

from edr.records.pattern.values import Network, Wildcard, address_of, fold

OperandT = TypeVar("OperandT")
EntryT = TypeVar("EntryT")
Probe: TypeAlias = "Callable[[Any], Iterable[EntryT] | None]"


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
        if not posting:
            del self.postings[operand]
            self.unlink(operand)

    def size(self, operand: OperandT) -> int:
        """Return about how many entries a value meets that this operand accepts."""
        return len(self.postings.get(operand, ()))

    def link(self, operand: OperandT) -> None:
        """Make a new operand known to ``probe``; a dict look-up needs no more than the dict."""

    def unlink(self, operand: OperandT) -> None:
        """Undo ``link``."""


class FoldedTable(Table[str, EntryT]):
    """Strings regardless of case: their foldings."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__()
        self.probe: Probe[EntryT] = lambda text: self.postings.get(fold(text))


class AffixTable(Table[str, EntryT]):
    """Strings by what they begin or end with, cut off once per length in use."""

    __slots__ = ("_cut", "_lengths", "_read")

    def __init__(
        self, cut: Callable[[str, int], str], read: Callable[[str], str] | None = None
    ) -> None:
        super().__init__()
        self._cut = cut
        self._read = read
        self._lengths: Counter[int] = Counter()
        self.probe: Probe[EntryT] = self._probe

    def link(self, operand: str) -> None:
        self._lengths[len(operand)] += 1

    def unlink(self, operand: str) -> None:
        _count_down(self._lengths, len(operand))

    def _probe(self, text: str) -> list[EntryT]:
        if self._read is not None:
            text = self._read(text)
        found: list[EntryT] = []
        for length in self._lengths:
            if length <= len(text):
                posting = self.postings.get(self._cut(text, length))
                if posting is not None:
                    found += posting
        return found


def beginning(text: str, length: int) -> str:
    """Return the first characters of ``text``, which has as many."""
    return text[:length]


def ending(text: str, length: int) -> str:
    """Return the last characters of ``text``, which has as many."""
    return text[len(text) - length :]


class PieceTable(Table[str, EntryT]):
    """Strings by a literal that they hold anywhere."""

    __slots__ = ("_lengths",)

    # Up to so many literals are sought one by one, which takes one fast scan of the string each;
    # more of them by looking up every stretch of it, a Python step per character.
    _FEW = 64

    def __init__(self) -> None:
        super().__init__()
        self._lengths: Counter[int] = Counter()
        self.probe: Probe[EntryT] = self._probe

    def link(self, operand: str) -> None:
        self._lengths[len(operand)] += 1

    def unlink(self, operand: str) -> None:
        _count_down(self._lengths, len(operand))

    def _probe(self, text: str) -> list[EntryT]:
        found: list[EntryT] = []
        for piece in self._pieces_in(text):
            found += self.postings[piece]
        return found

    def _pieces_in(self, text: str) -> Iterable[str]:
        if len(self.postings) <= min(len(text), self._FEW):
            return [piece for piece in self.postings if piece in text]
        return {
            stretch
            for length in self._lengths
            for start in range(len(text) - length + 1)
            if (stretch := text[start : start + length]) in self.postings
        }


class Held(Generic[EntryT]):
    """An operand that is found by a hint and must be tested; its entries at hand.

    Hashed by identity: a range or a wildcard would be hashed by value at each step.
    """

    __slots__ = ("accepts", "entries")

    def __init__(self, accepts: Callable[[Any], bool], entries: dict[EntryT, None]) -> None:
        self.accepts: Callable[[Any], bool] = accepts
        self.entries: dict[EntryT, None] = entries


class WildcardTable(Table[Wildcard, EntryT]):
    """Wildcards, each under one literal of its own that few others are under.

    A literal that is not found rules its wildcards out; those of a literal that is found are
    tried.
    """

    __slots__ = ("_beginnings", "_chosen", "_endings", "_pieces")

    # Literals in the middle are cut to such lengths, so that few lengths are in use.
    _PIECE_LENGTHS = (8, 4, 2, 1)

    def __init__(self) -> None:
        super().__init__()
        self._beginnings: AffixTable[Held[EntryT]] = AffixTable(beginning)
        self._endings: AffixTable[Held[EntryT]] = AffixTable(ending)
        self._pieces: PieceTable[Held[EntryT]] = PieceTable()
        self._chosen: dict[Wildcard, tuple[_Literals[EntryT], str, Held[EntryT]]] = {}
        self.probe: Probe[EntryT] = self._probe

    def link(self, operand: Wildcard) -> None:
        held = Held(operand.test(), self.postings[operand])
        table, literal = min(self._choices(operand), key=_few_and_long)
        table.add(literal, held)
        self._chosen[operand] = table, literal, held

    def unlink(self, operand: Wildcard) -> None:
        table, literal, held = self._chosen.pop(operand)
        table.discard(literal, held)

    def size(self, operand: Wildcard) -> int:
        return min(table.size(literal) for table, literal in self._choices(operand))

    def _choices(self, wildcard: Wildcard) -> Iterator[tuple[_Literals[EntryT], str]]:
        first, *between, last = wildcard.pieces
        if last:
            yield self._endings, last
        for piece in between:
            length = next(each for each in self._PIECE_LENGTHS if each <= len(piece))
            yield self._pieces, piece[:length]
        if first or not (last or between):
            # A lone * is left with an empty beginning, which each string has.
            yield self._beginnings, first

    def _probe(self, text: str) -> list[EntryT]:
        found: list[EntryT] = []
        for table in (self._beginnings, self._endings, self._pieces):
            if table.postings:
                for held in table.probe(text) or ():
                    if held.accepts(text):
                        found += held.entries
        return found


_Literals: TypeAlias = Table[str, Held[EntryT]]


def _few_and_long(choice: tuple[_Literals[EntryT], str]) -> tuple[int, int]:
    table, literal = choice
    return table.size(literal), -len(literal)


class NetworkTable(Table["Network", EntryT]):
    """Blocks of addresses, looked up once per length of mask in use."""

    __slots__ = ("_blocks",)

    def __init__(self) -> None:
        super().__init__()
        # By IP version and number of host bits: the blocks by their network bits.
        self._blocks: dict[tuple[int, int], dict[int, Network]] = {}
        self.probe: Probe[EntryT] = self._probe

    def link(self, operand: Network) -> None:
        mask, bits = self._bits_of(operand)
        self._blocks.setdefault(mask, {})[bits] = operand

    def unlink(self, operand: Network) -> None:
        mask, bits = self._bits_of(operand)
        blocks = self._blocks[mask]
        del blocks[bits]
        if not blocks:
            del self._blocks[mask]

    @staticmethod
    def _bits_of(network: Network) -> tuple[tuple[int, int], int]:
        host_bits = network.max_prefixlen - network.prefixlen
        return (network.version, host_bits), int(network.network_address) >> host_bits

    def _probe(self, text: str) -> list[EntryT]:
        found: list[EntryT] = []
        address = address_of(text)
        if address is not None:
            number = int(address)
            for (version, host_bits), blocks in self._blocks.items():
                if version == address.version and (number >> host_bits) in blocks:
                    found += self.postings[blocks[number >> host_bits]]
        return found


def _count_down(counts: Counter[int], key: int) -> None:
    counts[key] -= 1
    if not counts[key]:
        del counts[key]
