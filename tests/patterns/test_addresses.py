"""Addresses and blocks of them, as ``ipaddress`` understands them."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edr.patterns import Pattern, PatternIndex

NONE = [
    "", ".", "...", ":", "::::", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "1.2.3.4 ",
    "1.2.3.4\0", "٣.1.1.1", "::12345", "::1::", "fe80::1%eth0", "::g", "1.2.3.4/8", "f" * 60,
    ":" * 60, "x",
]  # fmt: skip
SOME = ["1.2.3.4", "255.255.255.255", "0.0.0.0", "::", "::1", "FF00::a", "::ffff:1.2.3.4"]  # noqa: S104
texts = st.sampled_from(NONE + SOME) | st.ip_addresses().map(str)


def networks():
    near = st.sampled_from(SOME).map(ipaddress.ip_address) | st.ip_addresses()
    return st.builds(
        lambda address, share: ipaddress.ip_network(
            (address, round(address.max_prefixlen * share)), strict=False
        ),
        near,
        st.floats(0, 1),
    )


@given(texts=st.lists(texts, max_size=8), blocks=st.lists(networks(), min_size=1, max_size=8))
def test_blocks_hold_the_addresses_that_ipaddress_says(texts, blocks):
    index = PatternIndex()
    for block in blocks:
        index.add(Pattern({"ip": [{"cidr": str(block)}]}), block)
    any_of_them = Pattern({"ip": [{"cidr": str(block)} for block in blocks]})

    for text in texts:
        address = None if "%" in text else parsed(text)
        expected = {block for block in blocks if address is not None and address in block}
        assert set(index.match({"ip": text})) == expected
        assert any_of_them.matches({"ip": text}) == bool(expected)


@pytest.mark.parametrize("text", NONE)
def test_text_that_is_not_an_address_is_in_no_block(text):
    index = PatternIndex()
    everywhere = Pattern({"ip": [{"cidr": "0.0.0.0/0"}, {"cidr": "::/0"}]})
    index.add(everywhere, "it")

    assert not everywhere.matches({"ip": text})
    assert index.match({"ip": text}) == []


def parsed(text):
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
