"""``ScalarSet``: the set of scalars that a leaf of a body pattern accepts, and tests of it.

A leaf is a list of elements, any of which may match. Testing them one by one would cost 10,000
tests for each value of a body if a leaf has 10,000 elements. So a leaf is stored as *sets by kind*:
all exact strings, all prefixes, all numbers. A value is looked up in the sets of its own type, and
each look-up costs the same whatever the size of the set. Wildcards fit in no table and are tried
one by one, so ``Limits.max_cost`` limits their number.

The same sets serve twice: ``tree`` compiles them to tests, ``postings`` to tables.

Case is ignored by full Unicode case folding: ``straße`` is ``STRASSE``, and a prefix regardless of
case is one of the folding. Nothing is normalized: an ``é`` of one character is not one of two.

IP addresses are recognised where an address block is asked for, and nowhere else: as plain
strings ``::1`` and ``0:0:0:0:0:0:0:1`` are two, as they are in JSON.

Invariants:

* A boolean is not a number. ``True == 1`` holds in Python, so types are compared before values.
* Numbers compare exactly: Python compares, and hashes, an ``int`` and a ``float`` by value.
* No test fails on a value of another type, and none takes more than linear time in its string.
* An attacker cannot choose the hash of an operand: strings and bytes are hashed with a secret of
  the process, and integers have at most 64 bits.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from math import inf
from operator import ge, gt, le, lt
from typing import TypeAlias

from edr.patterns.addresses import Block, test_of_blocks, united

Number: TypeAlias = int | float
Scalar: TypeAlias = str | int | float | bool | None

fold: Callable[[str], str] = str.casefold
"""Removes case, by Unicode's full case folding: one character may become up to three."""

# Up to this number, prefixes are tried one by one, in C; more are looked up.
_FEW = 8


@dataclass(frozen=True, slots=True)
class Wildcard:
    """Strings that hold some literal pieces, in that order, with any characters in between.

    Attributes:
        pieces: The literals around each ``*``. The first and the last may be empty, and only they.
    """

    pieces: tuple[str, ...]

    def test(self) -> Callable[[str], bool]:
        """Return the test of a string, which takes time linear in its length for whatever pieces.

        Each piece is sought after the end of the one before: the leftmost place leaves the most
        room for the rest, so nothing is ever tried twice. A regular expression would backtrack:
        ``*a*a*a*a*b`` against 400 times ``a`` took it a minute.
        """
        first, *between, last = self.pieces
        shortest = sum(map(len, self.pieces))
        rarest = max(self.pieces, key=len)
        if between == [rarest] and not (first or last):
            return lambda text: rarest in text

        def accepts(text: str) -> bool:
            # Nearly all strings fail here, at a third of the cost of seeking piece by piece.
            if len(text) < shortest or rarest not in text:
                return False
            if not (text.startswith(first) and text.endswith(last)):
                return False
            position = len(first)
            end = len(text) - len(last)
            for piece in between:
                found = text.find(piece, position, end)
                if found < 0:
                    return False
                position = found + len(piece)
            return True

        return accepts


# By whether the lower bound is in, and the upper one: one call less than a test of each.
_BETWEEN: dict[tuple[bool, bool], Callable[[Number, Number], Callable[[Number], bool]]] = {
    (False, False): lambda lower, upper: lambda number: lower < number < upper,
    (False, True): lambda lower, upper: lambda number: lower < number <= upper,
    (True, False): lambda lower, upper: lambda number: lower <= number < upper,
    (True, True): lambda lower, upper: lambda number: lower <= number <= upper,
}


@dataclass(frozen=True, slots=True)
class Range:
    """The numbers above a lower bound, below an upper one, or both.

    Attributes:
        lower: The lower bound, None for none.
        upper: The upper bound, None for none.
        with_lower: Whether the lower bound itself is in.
        with_upper: Whether the upper bound itself is in.
    """

    lower: Number | None = None
    upper: Number | None = None
    with_lower: bool = False
    with_upper: bool = False

    def test(self) -> Callable[[Number], bool]:
        """Return the test of a number; it compares exactly, an ``int`` with a ``float`` too."""
        # The bound comes first in these: partial(lt, lower)(n) is lower < n.
        if self.lower is None:
            assert self.upper is not None, "a range has a bound"
            return partial(ge if self.with_upper else gt, self.upper)
        if self.upper is None:
            return partial(le if self.with_lower else lt, self.lower)
        return _BETWEEN[self.with_lower, self.with_upper](self.lower, self.upper)

    def ends(self) -> tuple[tuple[Number, int], tuple[Number, int]]:
        """Return both ends such that ``n`` is in if ``(n, 1)`` is between them."""
        return (
            (-inf if self.lower is None else self.lower, 0 if self.with_lower else 2),
            (inf if self.upper is None else self.upper, 2 if self.with_upper else 0),
        )


@dataclass(frozen=True, slots=True)
class ScalarSet:
    """A set of scalars, as the elements of a leaf describe it. Each attribute adds to the set.

    The ``folded`` attributes hold foldings: they are compared with the folding of a value.
    """

    strings: frozenset[str] = frozenset()
    folded: frozenset[str] = frozenset()
    prefixes: frozenset[str] = frozenset()
    suffixes: frozenset[str] = frozenset()
    folded_prefixes: frozenset[str] = frozenset()
    folded_suffixes: frozenset[str] = frozenset()
    wildcards: frozenset[Wildcard] = frozenset()
    blocks: frozenset[Block] = frozenset()
    numbers: frozenset[Number] = frozenset()
    ranges: frozenset[Range] = frozenset()
    literals: frozenset[bool | None] = frozenset()

    def __or__(self, other: ScalarSet) -> ScalarSet:
        """Return the union of two sets."""
        return ScalarSet(*(getattr(self, each.name) | getattr(other, each.name) for each in _KINDS))

    def test_of_strings(self) -> Callable[[str], bool]:
        """Return the test of whether a string is in the set."""
        tests = self._tests_of_strings()
        if self.strings:
            tests.insert(0, self.strings.__contains__)
        return _any_of(tests)

    def test_of_numbers(self) -> Callable[[Number], bool]:
        """Return the test of whether a number (not a boolean) is in the set."""
        tests: list[Callable[[Number], bool]] = []
        if self.numbers:
            tests.append(self.numbers.__contains__)
        if len(self.ranges) <= _FEW // 2:
            tests.extend(each.test() for each in self.ranges)
        else:
            tests.append(_test_of_ranges(self.ranges))
        return _any_of(tests)

    def _tests_of_strings(self) -> list[Callable[[str], bool]]:
        """Return tests that together accept all members of the set except the exact strings."""
        tests: list[Callable[[str], bool]] = []
        if self.prefixes or self.suffixes:
            tests.append(_test_of_affixes(self.prefixes, self.suffixes))
        if self.folded or self.folded_prefixes or self.folded_suffixes:
            folded: list[Callable[[str], bool]] = []
            if self.folded:
                folded.append(self.folded.__contains__)
            if self.folded_prefixes or self.folded_suffixes:
                folded.append(_test_of_affixes(self.folded_prefixes, self.folded_suffixes))
            tests.append(_folding(_any_of(folded)))
        tests.extend(each.test() for each in self.wildcards)
        if self.blocks:
            tests.append(test_of_blocks(self.blocks))
        return tests


_KINDS = fields(ScalarSet)


def _never(*_: object) -> bool:
    return False


def _any_of(tests: Sequence[Callable[..., bool]]) -> Callable[..., bool]:
    if not tests:
        return _never
    if len(tests) == 1:
        return tests[0]
    if len(tests) == 2:  # noqa: PLR2004
        one, other = tests
        return lambda value: one(value) or other(value)
    in_order = tuple(tests)

    def accepts(value: object) -> bool:
        for test in in_order:  # noqa: SIM110 - a generator would take twice as long
            if test(value):
                return True
        return False

    return accepts


def _folding(test: Callable[[str], bool]) -> Callable[[str], bool]:
    return lambda text: test(fold(text))


def _test_of_affixes(prefixes: frozenset[str], suffixes: frozenset[str]) -> Callable[[str], bool]:
    if len(prefixes) > _FEW or len(suffixes) > _FEW:
        return _any_of([_test_of_prefixes(prefixes), _test_of_suffixes(suffixes)])
    beginnings, endings = tuple(prefixes), tuple(suffixes)
    if not endings:
        return lambda text: text.startswith(beginnings)
    if not beginnings:
        return lambda text: text.endswith(endings)
    return lambda text: text.startswith(beginnings) or text.endswith(endings)


def _test_of_prefixes(prefixes: Iterable[str]) -> Callable[[str], bool]:
    # Prefixes that begin with another prefix are redundant. Of the others, a string can begin only
    # with the last one that sorts before it.
    shortest: list[str] = []
    for prefix in sorted(prefixes):
        if not (shortest and prefix.startswith(shortest[-1])):
            shortest.append(prefix)

    def accepts(text: str) -> bool:
        at = bisect_right(shortest, text)
        return at > 0 and text.startswith(shortest[at - 1])

    return accepts if shortest else _never


def _test_of_suffixes(suffixes: Iterable[str]) -> Callable[[str], bool]:
    test = _test_of_prefixes([each[::-1] for each in suffixes])
    return lambda text: test(text[::-1])


def _test_of_ranges(ranges: Iterable[Range]) -> Callable[[Number], bool]:
    lowers, uppers = united(each.ends() for each in ranges)

    def accepts(number: Number) -> bool:
        at = bisect_right(lowers, (number, 1)) - 1
        return at >= 0 and (number, 1) < uppers[at]

    return accepts
