"""IP addresses in text, and blocks of them.

``ipaddress`` takes two microseconds to refuse a string, and an array of 256 KiB may have 90,000
strings. So most strings that are not addresses are refused by their characters.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from itertools import chain
from socket import AF_INET6, inet_pton
from typing import Any, NamedTuple


class Block(NamedTuple):
    """A block of IP addresses.

    Attributes:
        first: Its first address, packed: 4 bytes, or 16. An address is hashed as
            bytes, since an attacker can choose 128-bit integers with equal hashes.
        length: How many leading bits are common to all.
    """

    first: bytes
    length: int

    def ends(self) -> tuple[bytes, bytes]:
        """Return the first address, and a value between the last one and the next block."""
        size = len(self.first)
        last = int.from_bytes(self.first, "big") | ((1 << size * 8 - self.length) - 1)
        return self.first, last.to_bytes(size, "big") + b"\0"


_OCTETS = {str(number): number for number in range(256)}.get
_IPV4 = 4
_LONGEST = len("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255")
_OF_ADDRESS = "0123456789abcdefABCDEF:."


def address_of(text: str) -> bytes | None:
    """Return ``text`` as a packed IP address, or None if it is not an address.

    An IPv6 address with a zone (``fe80::1%eth0``) is not accepted, because blocks have no zones.
    """
    if len(text) > _LONGEST or text.strip(_OF_ADDRESS):  # it has other characters too
        return None
    if ":" not in text:
        parts = text.split(".", 4)
        if len(parts) != 4:  # noqa: PLR2004 - dotted quad
            return None
        a, b, c, d = map(_OCTETS, parts)
        if a is None or b is None or c is None or d is None:
            return None
        return bytes((a, b, c, d))
    # An exception costs a microsecond, so refuse most other texts before inet_pton.
    if not 2 <= text.count(":") <= 8 or text.count("::") > 1:  # noqa: PLR2004
        return None
    try:
        return inet_pton(AF_INET6, text)
    except OSError:
        return None


def test_of_blocks(blocks: Iterable[Block]) -> Callable[[str], bool]:
    """Return the test of whether a string is an address of one of several blocks."""
    bounds_of = _bounds_by_size(blocks)

    def accepts(text: str) -> bool:
        address = address_of(text)
        return address is not None and _is_within(address, bounds_of.get(len(address), []))

    return accepts


def _bounds_by_size(blocks: Iterable[Block]) -> dict[int, list[bytes]]:
    """Return the bounds of several blocks in order, by how many bytes their addresses have.

    An address with an odd number of bounds up to it is within a block.
    """
    by_size: dict[int, list[Block]] = {}
    for each in blocks:
        by_size.setdefault(len(each.first), []).append(each)
    bounds_of = {}
    for size, alike in by_size.items():
        firsts, ends = united(map(Block.ends, alike))
        bounds_of[size] = list(chain.from_iterable(zip(firsts, ends, strict=True)))
    return bounds_of


def _is_within(address: bytes, bounds: list[bytes]) -> bool:
    return bisect_right(bounds, address) % 2 == 1


def united(intervals: Iterable[tuple[Any, Any]]) -> tuple[list[Any], list[Any]]:
    """Return the sorted lower and upper ends of intervals; overlapping intervals are merged."""
    lowers: list[Any] = []
    uppers: list[Any] = []
    for lower, upper in sorted(intervals):
        if uppers and lower <= uppers[-1]:
            uppers[-1] = max(uppers[-1], upper)
        else:
            lowers.append(lower)
            uppers.append(upper)
    return lowers, uppers
