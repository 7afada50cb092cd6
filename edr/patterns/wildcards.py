"""The table of wildcards: each is found by one literal of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from edr.patterns.scalar_set import Wildcard
from edr.patterns.tables import (
    AffixTable,
    EntryT,
    Held,
    HeldTable,
    Probe,
    SuffixTable,
    Table,
    compact,
    count_down,
)


class PieceTable(Table[str, EntryT]):
    """Strings by a literal that they hold anywhere."""

    __slots__ = ("_lengths",)

    # To seek one literal takes a call and a fast scan of the string; to look every stretch of it
    # up, a step of Python for each character and length. In nanoseconds, roughly.
    _CALL, _SCAN, _STEP = 40, 0.5, 80

    def __init__(self) -> None:
        super().__init__()
        self._lengths: Counter[int] = Counter()
        self.probe: Probe[EntryT] = self._probe

    def link(self, operand: str) -> None:
        self._lengths[len(operand)] += 1

    def unlink(self, operand: str) -> None:
        count_down(self._lengths, len(operand))

    def _probe(self, text: str) -> list[EntryT]:
        found: list[EntryT] = []
        for piece in self._pieces_in(text):
            found += self.postings[piece]
        return found

    def _pieces_in(self, text: str) -> Iterable[str]:
        by_seeking = len(self.postings) * (self._CALL + self._SCAN * len(text))
        if by_seeking <= len(self._lengths) * self._STEP * len(text):
            return [piece for piece in self.postings if piece in text]
        return {
            stretch
            for length in self._lengths
            for start in range(len(text) - length + 1)
            if (stretch := text[start : start + length]) in self.postings
        }


class WildcardTable(HeldTable[Wildcard, EntryT]):
    """Wildcards, each under one literal of its own that few others are under.

    A literal that is not found rules its wildcards out; those of a literal that is found are
    tried. Literals in the middle are cut to few lengths, and of all stretches of that length the
    one is taken that the fewest others are under: ``*order-created-17*`` is under ``ated-17``.
    """

    __slots__ = ("_beginnings", "_chosen", "_endings", "_pieces")

    _PIECE_LENGTHS = (8, 4, 2, 1)

    def __init__(self) -> None:
        super().__init__()
        self._beginnings: AffixTable[Held[EntryT]] = AffixTable()
        self._endings: SuffixTable[Held[EntryT]] = SuffixTable()
        self._pieces: PieceTable[Held[EntryT]] = PieceTable()
        self._chosen: dict[Wildcard, tuple[_Literals[EntryT], str]] = {}

    def link(self, operand: Wildcard) -> None:
        held = self.held[operand] = Held(operand.test(), self.postings[operand])
        table, literal = self._chosen[operand] = min(self._choices(operand), key=_few_and_long)
        table.add(literal, held)

    def unlink(self, operand: Wildcard) -> None:
        table, literal = self._chosen.pop(operand)
        compact(self._chosen)
        table.discard(literal, self.held.pop(operand))
        compact(self.held)

    def size(self, operand: Wildcard) -> int:
        # A value that it accepts meets all patterns with the same wildcard. Under the literal that
        # it would be found by are tests of others, which cost less than a pattern that is met.
        by_literal = min(table.size(literal) for table, literal in self._choices(operand))
        return max(super().size(operand), by_literal)

    def candidates(self, value: str) -> Iterator[Held[EntryT]]:
        for table in (self._beginnings, self._endings, self._pieces):
            if table.postings:
                yield from table.probe(value) or ()

    def _choices(self, wildcard: Wildcard) -> Iterator[tuple[_Literals[EntryT], str]]:
        first, *between, last = wildcard.pieces
        if last:
            yield self._endings, last
        for piece in between:
            length = next(each for each in self._PIECE_LENGTHS if each <= len(piece))
            # The last stretch first: what tells names apart stands at their end more often.
            for start in range(len(piece) - length, -1, -1):
                yield self._pieces, piece[start : start + length]
        if first or not (last or between):
            # A lone * is left with an empty beginning, which each string has.
            yield self._beginnings, first


_Literals: TypeAlias = Table[str, Held[EntryT]]


def _few_and_long(choice: tuple[_Literals[EntryT], str]) -> tuple[int, int]:
    table, literal = choice
    return table.size(literal), -len(literal)
