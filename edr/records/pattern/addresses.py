"""IP addresses in text, and blocks of them.

``ipaddress`` takes two microseconds to say of a string that it is none. An array of 1 MiB can ask
that 170,000 times.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from socket import AF_INET6, inet_pton
from typing import Any, NamedTuple


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


_OCTETS = {str(number): number for number in range(256)}.get
_LONGEST_ADDRESS = len("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255")
_OF_ADDRESS = "0123456789abcdefABCDEF:."


def address_of(text: str) -> bytes | None:
    """Return the IP address that ``text`` is, packed; None when it is none.

    An IPv6 address with a zone (``fe80::1%eth0``) is none: blocks know no zones.
    """
    # Most strings are no address, which must cost next to nothing: ``ipaddress.ip_address`` takes
    # two microseconds to say so, and those a body of 1 MiB can make it say 170,000 times.
    if len(text) > _LONGEST_ADDRESS or text.strip(_OF_ADDRESS):  # of other characters, too
        return None
    if ":" not in text:
        parts = text.split(".", 4)
        if len(parts) != 4:  # noqa: PLR2004 - dotted quad
            return None
        a, b, c, d = map(_OCTETS, parts)
        if a is None or b is None or c is None or d is None:
            return None
        return bytes((a, b, c, d))
    # What raises takes a microsecond: most of what is no address is told from it before.
    if not 2 <= text.count(":") <= 8 or text.count("::") > 1:  # noqa: PLR2004
        return None
    try:
        return inet_pton(AF_INET6, text)
    except OSError:
        return None


def like_addresses(texts: Iterable[str], blocks: Iterable[Block]) -> list[str]:
    """Return those of several strings that may be addresses of the families of some blocks."""
    sizes = {len(each.first) for each in blocks}
    dots = 3 if 4 in sizes else -1  # noqa: PLR2004 - bytes of an IPv4 address
    if 16 in sizes:  # noqa: PLR2004 - and of an IPv6 address
        return [each for each in texts if ":" in each or each.count(".") == dots]
    return [each for each in texts if "." in each and each.count(".") == dots]


def test_of_blocks(blocks: AbstractSet[Block]) -> Callable[[str], bool]:
    """Return the test of whether a string is an address of one of several blocks."""
    of_family = {
        size: united((each.first, each.last) for each in blocks if len(each.first) == size)
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


def blocks_of(texts: Iterable[str], blocks: Iterable[Block]) -> list[Block]:
    """Return those blocks that some of several strings is an address of."""
    addresses: dict[int, list[bytes]] = {4: [], 16: []}
    for text in texts:
        address = address_of(text)
        if address is not None:
            addresses[len(address)].append(address)
    for each in addresses.values():
        each.sort()
    found = []
    for block in blocks:
        ordered = addresses[len(block.first)]
        at = bisect_left(ordered, block.first)
        if at < len(ordered) and ordered[at] <= block.last:
            found.append(block)
    return found


def united(intervals: Iterable[tuple[Any, Any]]) -> tuple[list[Any], list[Any]]:
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
