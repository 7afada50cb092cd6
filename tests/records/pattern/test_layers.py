"""What is in arrays within arrays, however it is opened."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

import edr.records.pattern.layers
from edr.records.pattern.layers import LITERALS, NUMBERS, STRINGS, Layers

scalars = st.sampled_from(["a", "b", 0, 1, 1.5, True, False, None])
objects = st.sampled_from([{}, {"a": 1}, {"b": 2}])
values = st.recursive(scalars | objects, lambda inner: st.lists(inner, max_size=4), max_leaves=40)


def flat(value):
    return [each for inner in value for each in flat(inner)] if isinstance(value, list) else [value]


def told_apart(values):
    return Counter((type(each), repr(each)) for each in values)


@pytest.mark.parametrize(
    ("wide", "short", "deep"), [(2, 32, 100), (0, 32, 100), (0, 2, 100), (0, 32, 1), (100, 32, 100)]
)
@given(column=st.lists(values, max_size=8))
def test_each_value_is_found_once_with_its_row(column, wide, short, deep):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(edr.records.pattern.layers, "_WIDE", wide)
        patch.setattr(edr.records.pattern.layers, "_SHORT", short)
        patch.setattr(edr.records.pattern.layers, "_DEEP", deep)
        rows = [3 * row for row in range(len(column))]
        layers = Layers(column, rows)
        expected = [
            (row, each) for row, value in zip(rows, column, strict=True) for each in flat(value)
        ]

        found = [*zip(layers.rows_of_scalars(), layers.scalars(), strict=True)]
        with_scalars = set(layers.rows_with_scalars())
        found += zip(layers.rows_of_objects(), layers.objects(), strict=True)
        by_type = [
            each
            for types in (STRINGS, NUMBERS, LITERALS)
            for each in zip(layers.rows_of_scalars(types), layers.scalars(types), strict=True)
        ]

    assert told_apart(found) == told_apart(expected)
    assert told_apart(by_type) == told_apart(
        each for each in expected if not isinstance(each[1], dict)
    )
    assert with_scalars == {row for row, each in expected if not isinstance(each, dict)}
    if not layers.has_arrays:
        assert layers.rows_of_scalars() == sorted(set(layers.rows_of_scalars()))


def test_arrays_may_be_deeper_than_calls_may_be():
    deep = [1, {"a": 2}]
    for _ in range(10_000):
        deep = [0, deep]
    layers = Layers([deep, "x"], [7, 8])

    assert Counter(layers.scalars()) == {0: 10_000, 1: 1, "x": 1}
    assert Counter(layers.rows_of_scalars()) == {7: 10_001, 8: 1}
    assert layers.objects() == [{"a": 2}]
    assert layers.rows_of_objects() == [7]
