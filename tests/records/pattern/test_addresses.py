"""Addresses among strings, all at once: as one by one, and as ``ipaddress`` does."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

import edr.records.pattern.addresses
from edr.records.pattern.addresses import (
    Block,
    address_of,
    addresses_in,
    blocks_of,
)

NONE = [
    "", ".", "...", ":", "::::", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "1.2.3.4 ",
    "1.2.3.4\0", "\ud800.1.1.1", "٣.1.1.1", "::12345", "::1::", "fe80::1%eth0", "::g", "1.2.3.4/8",
    "f" * 60, ":" * 60, "x",
]  # fmt: skip
SOME = ["1.2.3.4", "255.255.255.255", "0.0.0.0", "::", "::1", "FF00::a", "::ffff:1.2.3.4"]  # noqa: S104
addresses = st.ip_addresses().map(str)
texts = st.lists(st.sampled_from(NONE + SOME) | addresses, max_size=30)


def blocks():
    near = st.sampled_from(SOME).map(ipaddress.ip_address) | st.ip_addresses()
    return st.builds(
        lambda address, share: ipaddress.ip_network(
            (address, round(address.max_prefixlen * share)), strict=False
        ),
        near,
        st.floats(0, 1),
    )


@given(texts=texts)
def test_what_is_no_address_hides_none_beside_it(texts):
    one_by_one = [each for each in map(address_of, texts) if each is not None]

    for size in (4, 16):
        assert addresses_in(texts, size) == [each for each in one_by_one if len(each) == size]


@pytest.mark.parametrize("few", [0, 1_000])
@given(texts=texts, networks=st.lists(blocks(), max_size=8))
def test_the_blocks_that_hold_an_address_are_found(texts, networks, few):
    wanted = {Block(each.network_address.packed, each.prefixlen): each for each in networks}
    found = [ipaddress.ip_address(address) for address in filter(None, map(address_of, texts))]
    expected = {
        block
        for block, network in wanted.items()
        if any(each.version == network.version and each in network for each in found)
    }

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(edr.records.pattern.addresses, "_FEW", few)
        assert set(blocks_of(texts, wanted)) == expected
    some = edr.records.pattern.addresses.test_of_some_by_blocks(wanted)
    assert some(texts) == bool(expected)
