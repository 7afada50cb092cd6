"""What the leaf of a body pattern accepts: sets of scalars, and how a scalar is looked up in one.

A leaf is a list of elements, any of which may match. Read one by one they would make a leaf of
10,000 elements cost 10,000 tests for each value of a body, so a leaf is kept as *sets by kind*:
all its exact strings, all its prefixes, all its numbers. A value is looked up in the sets of its
own type. Three kinds fit no table and are tried one by one: numeric ranges, wildcards and
``anything-but``; their number in a pattern is limited for that reason (``pattern.MAX_TRIED``).

The same sets serve twice: ``language`` compiles them to tests, ``index`` to postings.

Invariants:

* A boolean is no number. ``True == 1`` holds in Python, so types are told apart before values.
* Numbers compare exactly: Python compares, and hashes, an ``int`` and a ``float`` by value.
* No test fails on a value of another type, and none takes more than linear time in its string.
"""

from __future__ import annotations

import ipaddress
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from operator import ge, gt, le, lt
from typing import TypeAlias

Number: TypeAlias = int | float
Scalar: TypeAlias = str | int | float | bool | None
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

# "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255", the longest text of an address. A longer string
# is none, which spares its parsing.
_LONGEST_ADDRESS = 45


def fold(text: str) -> str:
    """Return ``text`` with each character's case removed, and its length kept.

    This is Unicode's *simple* case folding: one character becomes one character. A character
    whose full folding is longer is only lowered (``ẞ`` is ``ß``, and neither is ``ss``), and one
    whose lower case is longer, too, is left alone (``İ`` is only itself). So the first n
    characters of a string fold to the first n of its folding, which prefixes rely on.
    """
    if text.isascii():
        return text.lower()
    folded = text.casefold()
    if len(folded) == len(text):
        return folded
    return "".join(map(_fold_one, text))


def _fold_one(character: str) -> str:
    for folded in (character.casefold(), character.lower()):
        if len(folded) == 1:
            return folded
    return character


@dataclass(frozen=True, slots=True)
class Wildcard:
    """Strings that hold some literal pieces, in that order, with any characters in between.

    Attributes:
        pieces: The literals around each ``*``, so at least two. The first and the last may be
            empty, and only they.
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
    networks: frozenset[Network] = frozenset()
    numbers: frozenset[Number] = frozenset()
    ranges: frozenset[Range] = frozenset()
    literals: frozenset[bool | None] = frozenset()

    def test_of_strings(self) -> Callable[[str], bool]:
        """Return the test of whether a string is in the set."""
        tests: list[Callable[[str], bool]] = []
        if self.strings:
            tests.append(self.strings.__contains__)
        if self.folded:
            tests.append(lambda text: fold(text) in self.folded)
        if self.prefixes:
            tests.append(_test_of_prefixes(self.prefixes))
        if self.suffixes:
            tests.append(_test_of_suffixes(self.suffixes))
        if self.folded_prefixes:
            tests.append(_folding(_test_of_prefixes(self.folded_prefixes)))
        if self.folded_suffixes:
            tests.append(_folding(_test_of_suffixes(self.folded_suffixes)))
        tests.extend(each.test() for each in self.wildcards)
        if self.networks:
            tests.append(_test_of_networks(self.networks))
        return _any_of(tests)

    def test_of_numbers(self) -> Callable[[Number], bool]:
        """Return the test of whether a number, which is no boolean, is in the set."""
        tests: list[Callable[[Number], bool]] = [each.test() for each in self.ranges]
        if self.numbers:
            tests.insert(0, self.numbers.__contains__)
        return _any_of(tests)


def address_of(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the IP address that ``text`` is, None when it is none.

    An IPv6 address with a zone (``fe80::1%eth0``) is none: blocks know no zones.
    """
    if len(text) > _LONGEST_ADDRESS or "%" in text:
        return None
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _never(_: object) -> bool:
    return False


def _any_of(tests: list[Callable[..., bool]]) -> Callable[..., bool]:
    if not tests:
        return _never
    if len(tests) == 1:
        return tests[0]
    in_order = tuple(tests)

    def accepts(value: object) -> bool:
        for test in in_order:  # noqa: SIM110 - a generator would take twice as long
            if test(value):
                return True
        return False

    return accepts


def _folding(test: Callable[[str], bool]) -> Callable[[str], bool]:
    return lambda text: test(fold(text))


def _test_of_prefixes(prefixes: frozenset[str]) -> Callable[[str], bool]:
    if len(prefixes) == 1:
        (prefix,) = prefixes
        return lambda text: text.startswith(prefix)
    lengths = sorted(set(map(len, prefixes)))

    def accepts(text: str) -> bool:
        return any(text[:length] in prefixes for length in _up_to(lengths, len(text)))

    return accepts


def _test_of_suffixes(suffixes: frozenset[str]) -> Callable[[str], bool]:
    if len(suffixes) == 1:
        (suffix,) = suffixes
        return lambda text: text.endswith(suffix)
    lengths = sorted(set(map(len, suffixes)))

    def accepts(text: str) -> bool:
        size = len(text)
        return any(text[size - length :] in suffixes for length in _up_to(lengths, size))

    return accepts


def _up_to(lengths: list[int], longest: int) -> Iterable[int]:
    return lengths[: bisect_right(lengths, longest)]


def _test_of_networks(networks: frozenset[Network]) -> Callable[[str], bool]:
    # Collapsed blocks do not overlap, so the last one that starts at or before an address is the
    # only one that can hold it.
    starts: dict[int, list[int]] = {}
    ends: dict[int, list[int]] = {}
    for version in (4, 6):
        blocks = ipaddress.collapse_addresses(
            [each for each in networks if each.version == version]  # type: ignore[type-var]
        )
        ranges = [(int(each.network_address), int(each.broadcast_address)) for each in blocks]
        starts[version] = [start for start, _ in ranges]
        ends[version] = [end for _, end in ranges]

    def accepts(text: str) -> bool:
        address = address_of(text)
        if address is None:
            return False
        number = int(address)
        block = bisect_right(starts[address.version], number) - 1
        return block >= 0 and number <= ends[address.version][block]

    return accepts
