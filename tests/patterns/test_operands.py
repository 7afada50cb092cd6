"""Operands are checked in linear time and cannot choose their hashes."""

import ipaddress
from time import thread_time

from support.pattern_samples import refusal

from edr.patterns import Limits, Pattern
from edr.patterns.operands import block_of


def test_a_wildcard_is_read_in_linear_time():
    limits = Limits(max_affix_length=10**7, max_characters=10**7)

    def seconds(size):
        start = thread_time()
        Pattern({"a": [{"wildcard": "x*" + "y" * size}]}, limits=limits)
        return thread_time() - start

    assert min(seconds(1_000_000) for _ in range(3)) < 30 * min(seconds(100_000) for _ in range(3))


def test_integers_that_all_have_one_hash_are_refused():
    colliding = [number * (2**61 - 1) for number in range(1, 100)]

    assert "no body can hold" in refusal({"x": colliding})
    assert "no body can hold" in refusal({"x": [{"anything-but": colliding}]})
    assert "no body can hold" in refusal({"x": [{"numeric": [">", 2**64]}]})


def test_blocks_of_addresses_that_are_one_hash_as_integers_have_hashes_of_their_own():
    addresses = [ipaddress.IPv6Address(number * (2**61 - 1)) for number in range(1, 200)]
    blocks = {block_of(f"{each}/128", ()) for each in addresses}

    assert len(set(map(hash, map(int, addresses)))) == 1
    assert len(set(map(hash, blocks))) == len(addresses)
