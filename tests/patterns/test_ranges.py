"""Numeric ranges in an index."""

import pytest
from support.pattern_remains import assert_nothing_remains
from support.pattern_samples import index_of

from edr.patterns.language import Pattern


def test_numbers_at_the_edge_of_floats_are_told_apart():
    index = index_of(
        {"n": [{"numeric": [">", 2**53, "<", 2**53 + 2]}]},
        {"n": [{"numeric": [">=", 2**53 + 1]}]},
        {"n": [{"numeric": ["<", -(2.0**1023)]}]},
        {"n": [{"numeric": ["<", 1.79e308]}]},
        {"n": [{"numeric": [">", -5e-324, "<", 5e-324]}]},
    )

    assert sorted(index.match({"n": 2**53})) == [3]
    assert sorted(index.match({"n": 2**53 + 1})) == [0, 1, 3]
    assert sorted(index.match({"n": float(2**53)})) == [3]
    assert sorted(index.match({"n": -1.7e308})) == [2, 3]
    assert sorted(index.match({"n": -0.0})) == [3, 4]


@pytest.mark.slow
def test_thousands_of_ranges_are_found_and_removed_in_any_order():
    documents = [{"n": [{"numeric": [">=", 2 * k, "<", 2 * k + 3]}]} for k in range(3_000)]
    index = index_of(*documents)

    assert sorted(index.match({"n": 3_000})) == [1_499, 1_500]
    assert sorted(index.match({"n": 3_001})) == [1_500]
    for number in sorted(range(3_000), key=lambda k: (k * 7919) % 3_000):
        if number != 1_500:
            index.remove(Pattern(documents[number]), number)
    assert index.match({"n": 3_000}) == [1_500]
    index.remove(Pattern(documents[1_500]), 1_500)
    assert_nothing_remains(index)
