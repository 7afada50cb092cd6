"""Many objects in an array, each with little in it."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.pattern_strategies import bodies, wide_patterns

import edr.records.pattern.arrays
import edr.records.pattern.index
from edr.records import snapshot
from edr.records.pattern import Pattern, PatternIndex

MANY = 100


@settings(suppress_health_check=list(HealthCheck))
@given(stored=st.lists(wide_patterns, min_size=1, max_size=8), body=bodies, short=st.integers(0, 3))
def test_an_index_says_the_same_wherever_short_arrays_end(stored, body, short):
    index = PatternIndex()
    for number, pattern in enumerate(stored):
        index.add(pattern, number)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(edr.records.pattern.index, "SHORT", short)
        patch.setattr(edr.records.pattern.arrays, "SHORT", short)
        found = index.match(body)

    assert sorted(found) == [n for n, pattern in enumerate(stored) if pattern.matches(body)]


@pytest.mark.parametrize(
    "inside",
    [
        [0],
        [0, 5],
        [[0]],
        [[0], 5],
        [[[]]],
        [0, [{"c": 0}]],
        [],
        {},
        [{}],
        [{"c": 0}],
        {"c": 0},
        "0",
    ],
)
@pytest.mark.parametrize(
    "asked",
    [
        {"a": [0]},
        {"a": [5, 6], "b": [1]},
        {"a": [{"anything-but": [0]}], "b": [{"exists": False}]},
        {"a": [{"exists": False}]},
        {"a": {"c": [0]}},
        {"a": {"c": [{"exists": False}], "d": [{"exists": False}]}},
    ],
)
def test_many_objects_are_told_apart_as_one_is(inside, asked):
    pattern = Pattern({"x": asked})
    index = PatternIndex()
    index.add(pattern, "it")
    alone, among = {"x": {"a": inside}}, {"x": [*([{"z": 0}] * MANY), {"a": inside}]}
    others = {"x": [{"z": 0}] * MANY}

    for body in (alone, snapshot(alone)):
        assert bool(index.match(body)) == pattern.matches(body) == pattern.matches(alone)
    for body in (among, snapshot(among)):
        assert bool(index.match(body)) == (pattern.matches(alone) or pattern.matches(others))


def test_no_scope_is_made_for_an_object_that_holds_only_values(monkeypatch):
    index = PatternIndex()
    index.add(Pattern({"x": {"a": [0], "b": [1]}}), "it")
    monkeypatch.setattr("edr.records.pattern.index._visit_within", None)

    assert index.match({"x": [{"a": [0]}] * MANY}) == []
    assert index.match({"x": [*([{"a": [0]}] * MANY), {"a": [0], "b": 1}]}) == ["it"]
