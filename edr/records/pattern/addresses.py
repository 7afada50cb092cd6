"""IP addresses in text, and blocks of them.

``ipaddress`` takes two microseconds to say of a string that it is none. An array of 1 MiB can ask
that 170,000 times: so the strings of an array are read in one go, by C.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import chain, repeat
from socket import AF_INET, AF_INET6, inet_pton
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

    def ends(self) -> tuple[bytes, bytes]:
        """Return its first address, and what is greater than its last and less than the next."""
        size = len(self.first)
        last = int.from_bytes(self.first, "big") | ((1 << size * 8 - self.length) - 1)
        return self.first, last.to_bytes(size, "big") + b"\0"


_OCTETS = {str(number): number for number in range(256)}.get
_IPV4 = 4
_LONGEST = len("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255")
_OF_ADDRESS = "0123456789abcdefABCDEF:."


def address_of(text: str) -> bytes | None:
    """Return the IP address that ``text`` is, packed; None when it is none.

    An IPv6 address with a zone (``fe80::1%eth0``) is none: blocks know no zones.
    """
    # Most strings are no address, which must cost next to nothing: ``ipaddress.ip_address`` takes
    # two microseconds to say so, and those a body of 1 MiB can make it say 170,000 times.
    if len(text) > _LONGEST or text.strip(_OF_ADDRESS):  # of other characters, too
        return None
    if ":" not in text:
        parts = text.split(".", 4)
        if len(parts) != 4:  # noqa: PLR2004 - dotted quad
            return None
        a, b, c, d = map(_OCTETS, parts)
        if a is None or b is None or c is None or d is None:
            return None
        return bytes((a, b, c, d))
    # Python's raising takes a microsecond: most of what is no address is told from it before.
    if not 2 <= text.count(":") <= 8 or text.count("::") > 1:  # noqa: PLR2004
        return None
    try:
        return inet_pton(AF_INET6, text)
    except OSError:
        return None


def addresses_in(texts: Iterable[str], size: int) -> list[bytes]:
    """Return those of several strings that are addresses of so many bytes, packed."""
    if size == _IPV4:
        family, alike = AF_INET, [each for each in texts if each.count(".") == 3]  # noqa: PLR2004
    else:
        family, alike = AF_INET6, [each for each in texts if ":" in each]
    alike = [each for each in alike if len(each) <= _LONGEST and not each.strip(_OF_ADDRESS)]
    packing = map(inet_pton, repeat(family), alike)
    addresses: list[bytes] = []
    while True:
        try:
            addresses.extend(packing)
        except OSError:  # one is no address: those before it were added, and the next one follows
            continue
        return addresses


def test_of_blocks(blocks: Iterable[Block]) -> Callable[[str], bool]:
    """Return the test of whether a string is an address of one of several blocks."""
    bounds_of = _bounds_by_size(blocks)

    def accepts(text: str) -> bool:
        address = address_of(text)
        return address is not None and _is_within(address, bounds_of.get(len(address), []))

    return accepts


def test_of_some_by_blocks(blocks: Iterable[Block]) -> Callable[[Iterable[str]], bool]:
    """Return the test of whether one of several strings is an address of one of several blocks."""
    bounds_of = _bounds_by_size(blocks)

    def accepts(texts: Iterable[str]) -> bool:
        return any(
            _is_within(address, bounds)
            for size, bounds in bounds_of.items()
            for address in _one_of_each_part(addresses_in(texts, size), bounds)
        )

    return accepts


# Up to so many blocks it takes less time to place addresses among them than to sort these.
_FEW = 1_000


def blocks_of(texts: Iterable[str], blocks: Iterable[Block]) -> Iterator[Block]:
    """Yield those blocks that one of several strings is an address of."""
    for size, alike in _by_size(blocks).items():
        addresses: Collection[bytes] = addresses_in(texts, size)
        if len(alike) <= _FEW:
            bounds = sorted(chain.from_iterable(map(Block.ends, alike)))
            addresses = _one_of_each_part(addresses, bounds)
        ordered = sorted(addresses)
        for block in alike:
            first, end = block.ends()
            at = bisect_left(ordered, first)
            if at < len(ordered) and ordered[at] < end:
                yield block


def _by_size(blocks: Iterable[Block]) -> dict[int, list[Block]]:
    """Return several blocks, by how many bytes their addresses have."""
    by_size: dict[int, list[Block]] = {}
    for each in blocks:
        by_size.setdefault(len(each.first), []).append(each)
    return by_size


def _bounds_by_size(blocks: Iterable[Block]) -> dict[int, list[bytes]]:
    """Return where an address is in one of several blocks from, and where no longer, in turn."""
    bounds_of = {}
    for size, alike in _by_size(blocks).items():
        firsts, ends = united(map(Block.ends, alike))
        bounds_of[size] = list(chain.from_iterable(zip(firsts, ends, strict=True)))
    return bounds_of


def _is_within(address: bytes, bounds: list[bytes]) -> bool:
    return bisect_right(bounds, address) % 2 == 1


def _one_of_each_part(addresses: Iterable[bytes], bounds: list[bytes]) -> Collection[bytes]:
    """Return one of the addresses that are between the same bounds, for each two that are so."""
    addresses = list(addresses)
    return dict(zip(map(bisect_right, repeat(bounds), addresses), addresses, strict=True)).values()


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
