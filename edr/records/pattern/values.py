"""What the leaf of a body pattern accepts: sets of scalars, and how a scalar is looked up in one.

A leaf is a list of elements, any of which may match. Read one by one they would make a leaf of
10,000 elements cost 10,000 tests for each value of a body, so a leaf is kept as *sets by kind*:
all its exact strings, all its prefixes, all its numbers. A value is looked up in the sets of its
own type, each of which takes one look-up, whatever it holds. Wildcards fit no table and are tried
one by one; their number is limited for that reason (``Limits.work``).

The same sets serve twice: ``tree`` compiles them to tests, ``postings`` to tables.

Case is ignored by full Unicode case folding: ``straße`` is ``STRASSE``, and a prefix regardless of
case is one of the folding. Nothing is normalized: an ``é`` of one character is not one of two.

IP addresses are recognised where an address block is asked for, and nowhere else: as plain
strings ``::1`` and ``0:0:0:0:0:0:0:1`` are two, as they are in JSON.

Invariants:

* A boolean is no number. ``True == 1`` holds in Python, so types are told apart before values.
* Numbers compare exactly: Python compares, and hashes, an ``int`` and a ``float`` by value.
* No test fails on a value of another type, and none takes more than linear time in its string.
* Nobody chooses the hash of an operand: strings and bytes are hashed with a secret of the process,
  and integers have 64 bits at most.
"""

from __future__ import annotations

import socket
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, fields
from functools import partial
from math import inf
from operator import ge, gt, le, lt
from typing import Any, NamedTuple, TypeAlias

Number: TypeAlias = int | float
Scalar: TypeAlias = str | int | float | bool | None

TestOfSome: TypeAlias = Callable[[AbstractSet[str]], bool]

fold = str.casefold
"""Removes case, by Unicode's full case folding: one character may become up to three."""

# Up to so many prefixes are tried one after the other, in C; more are looked up.
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

    def test_of_some(self) -> TestOfSome:
        """Return the test of whether any of several strings is one."""
        rarest = max(self.pieces, key=len)
        test = self.test()
        return lambda texts: any(map(test, [each for each in texts if rarest in each]))


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
        above = None if self.lower is None else partial(le if self.with_lower else lt, self.lower)
        below = None if self.upper is None else partial(ge if self.with_upper else gt, self.upper)
        if above is None:
            assert below is not None, "a range has a bound"
            return below
        if below is None:
            return above
        return lambda number: above(number) and below(number)

    def holds_some(self, ordered: Sequence[Number]) -> bool:
        """Return whether one of several numbers in order is in."""
        if self.lower is None:
            at = 0
        else:
            begin = bisect_left if self.with_lower else bisect_right
            at = begin(ordered, self.lower)
        return at < len(ordered) and self.test()(ordered[at])

    def ends(self) -> tuple[tuple[Number, int], tuple[Number, int]]:
        """Return both ends such that ``n`` is in if ``(n, 1)`` is between them."""
        return (
            (-inf if self.lower is None else self.lower, 0 if self.with_lower else 2),
            (inf if self.upper is None else self.upper, 2 if self.with_upper else 0),
        )


class Block(NamedTuple):
    """A block of IP addresses.

    Attributes:
        first: Its first address, packed: 4 bytes, or 16. An address is hashed as bytes, since
            those who choose 128-bit integers can choose them of one hash.
        length: How many leading bits are common to all.
    """

    first: bytes
    length: int

    @property
    def last(self) -> bytes:
        """Its last address, packed."""
        size = len(self.first)
        number = int.from_bytes(self.first, "big") | ((1 << size * 8 - self.length) - 1)
        return number.to_bytes(size, "big")


@dataclass(frozen=True, slots=True)
class Values:
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

    def __or__(self, other: Values) -> Values:
        """Return the union of two sets."""
        return Values(*(getattr(self, each.name) | getattr(other, each.name) for each in _KINDS))

    def test_of_strings(self) -> Callable[[str], bool]:
        """Return the test of whether a string is in the set."""
        tests = self._tests_of_strings()
        if self.strings:
            tests.insert(0, self.strings.__contains__)
        return _any_of(tests)

    def test_of_numbers(self) -> Callable[[Number], bool]:
        """Return the test of whether a number, which is no boolean, is in the set."""
        tests: list[Callable[[Number], bool]] = []
        if self.numbers:
            tests.append(self.numbers.__contains__)
        if len(self.ranges) <= _FEW // 2:
            tests.extend(each.test() for each in self.ranges)
        else:
            tests.append(_test_of_ranges(self.ranges))
        return _any_of(tests)

    def test_of_some_string(self) -> TestOfSome:
        """Return the test of whether any of several strings is in the set."""
        tests: list[TestOfSome] = []
        if self.strings:
            strings = self.strings
            tests.append(lambda texts: not texts.isdisjoint(strings))
        if self.prefixes or self.suffixes:
            tests.append(_test_of_some_affixed(self.prefixes, self.suffixes))
        folded = self.folded
        if self.folded_prefixes or self.folded_suffixes:
            of_folded = Values(
                strings=folded, prefixes=self.folded_prefixes, suffixes=self.folded_suffixes
            ).test_of_some_string()
            tests.append(lambda texts: of_folded(dict.fromkeys(map(fold, texts)).keys()))
        elif folded:
            tests.append(lambda texts: not folded.isdisjoint(map(fold, texts)))
        tests.extend(each.test_of_some() for each in self.wildcards)
        if self.blocks:
            test_of_block = test_of_blocks(self.blocks)
            tests.append(lambda texts: any(map(test_of_block, like_addresses(texts))))
        return _any_of(tests)

    def test_of_some_number(self) -> Callable[[Iterable[Number], Callable[[], list[Number]]], bool]:
        """Return the test of whether any of several numbers is in the set.

        It is given them twice: as they are, and what returns them in order.
        """
        numbers, ranges = self.numbers, self.ranges
        few = [each.test() for each in ranges] if len(ranges) == 1 else []

        def accepts(several: Iterable[Number], in_order: Callable[[], list[Number]]) -> bool:
            if not numbers.isdisjoint(several):
                return True
            if few:
                return any(map(few[0], several))
            return any(each.holds_some(in_order()) for each in ranges)

        return accepts

    def _tests_of_strings(self) -> list[Callable[[str], bool]]:
        """Return tests that together accept what is in the set, but for the exact strings."""
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


_KINDS = fields(Values)

_OCTETS = {str(number): number for number in range(256)}.get
_LONGEST_ADDRESS = len("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255")
_OF_ADDRESS = frozenset("0123456789abcdefABCDEF:.").issuperset


def address_of(text: str) -> bytes | None:
    """Return the IP address that ``text`` is, packed; None when it is none.

    An IPv6 address with a zone (``fe80::1%eth0``) is none: blocks know no zones.
    """
    # Most strings are no address, which must cost next to nothing: ``ipaddress.ip_address`` takes
    # two microseconds to say so, and those a body of 1 MiB can make it say 170,000 times.
    if len(text) > _LONGEST_ADDRESS:
        return None
    if ":" not in text:
        parts = text.split(".", 4)
        if len(parts) != 4:  # noqa: PLR2004 - dotted quad
            return None
        a, b, c, d = map(_OCTETS, parts)
        if a is None or b is None or c is None or d is None:
            return None
        return bytes((a, b, c, d))
    if text.count(":") < 2 or not _OF_ADDRESS(text):  # noqa: PLR2004 - the fewest, in "::"
        return None
    try:
        return socket.inet_pton(socket.AF_INET6, text)
    except OSError:
        return None


def like_addresses(texts: Iterable[str]) -> list[str]:
    """Return those of several strings that may be addresses."""
    dots = 3
    return [each for each in texts if ("." in each and each.count(".") == dots) or ":" in each]


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


def _test_of_some_affixed(prefixes: frozenset[str], suffixes: frozenset[str]) -> TestOfSome:
    if len(prefixes) > _FEW or len(suffixes) > _FEW:
        test = _test_of_affixes(prefixes, suffixes)
        return lambda texts: any(map(test, texts))
    beginnings, endings = tuple(prefixes), tuple(suffixes)
    if not endings:
        return lambda texts: bool([None for each in texts if each.startswith(beginnings)])
    if not beginnings:
        return lambda texts: bool([None for each in texts if each.endswith(endings)])
    return lambda texts: bool(
        [None for each in texts if each.startswith(beginnings) or each.endswith(endings)]
    )


def _test_of_prefixes(prefixes: Iterable[str]) -> Callable[[str], bool]:
    # Without those that begin with another one, the last one in order up to a string is the only
    # one that it can begin with.
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
    lowers, uppers = _united(each.ends() for each in ranges)

    def accepts(number: Number) -> bool:
        at = bisect_right(lowers, (number, 1)) - 1
        return at >= 0 and (number, 1) < uppers[at]

    return accepts


def test_of_blocks(blocks: AbstractSet[Block]) -> Callable[[str], bool]:
    """Return the test of whether a string is an address of one of several blocks."""
    of_family = {
        size: _united((each.first, each.last) for each in blocks if len(each.first) == size)
        for size in (4, 16)
    }

    def accepts(text: str) -> bool:
        address = address_of(text)
        if address is None:
            return False
        firsts, lasts = of_family[len(address)]
        at = bisect_right(firsts, address) - 1
        return at >= 0 and address <= lasts[at]

    return accepts


def _united(intervals: Iterable[tuple[Any, Any]]) -> tuple[list[Any], list[Any]]:
    """Return the lower and the upper ends of intervals, those that overlap as one, in order."""
    lowers: list[Any] = []
    uppers: list[Any] = []
    for lower, upper in sorted(intervals):
        if uppers and lower <= uppers[-1]:
            uppers[-1] = max(uppers[-1], upper)
        else:
            lowers.append(lower)
            uppers.append(upper)
    return lowers, uppers
