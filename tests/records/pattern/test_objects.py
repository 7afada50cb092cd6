"""Many objects in an array, each with little in it."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.pattern_strategies import bodies, wide_patterns

import edr.records.pattern.arrays
import edr.records.pattern.columns
import edr.records.pattern.index
import edr.records.pattern.many
import edr.records.pattern.match
from edr.records import snapshot
from edr.records.pattern import Pattern, PatternIndex

MANY = 100


@settings(suppress_health_check=list(HealthCheck))
@given(
    stored=st.lists(wide_patterns, min_size=1, max_size=8),
    body=bodies,
    few=st.tuples(*[st.integers(0, 3)] * 4),
)
def test_an_index_says_the_same_wherever_few_end(stored, body, few):
    index = PatternIndex()
    for number, pattern in enumerate(stored):
        index.add(pattern, number)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(edr.records.pattern.index, "SHORT", few[0])
        patch.setattr(edr.records.pattern.arrays, "SHORT", few[0])
        patch.setattr(edr.records.pattern.match, "MANY", few[1])
        patch.setattr(edr.records.pattern.many, "_FEW", few[2])
        patch.setattr(edr.records.pattern.columns, "_FEW", few[3])
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


def test_it_is_not_asked_which_object_holds_what_none_holds(monkeypatch):
    index = PatternIndex()
    index.add(Pattern({"x": {"a": [5], "b": [1]}}), "it")
    with monkeypatch.context() as patch:
        patch.setattr("edr.records.pattern.layers.Layers.rows_of_scalars", None)
        assert index.match({"x": [{"a": [0]}] * MANY}) == []
    assert index.match({"x": [*([{"a": [0]}] * MANY), {"a": [5], "b": 1}]}) == ["it"]


@pytest.mark.parametrize(("width", "depth"), [(2, 11), (4, 6), (30, 3)])
def test_short_arrays_in_short_arrays_may_hold_very_many_objects(width, depth):
    def tree(left, leaf):
        return {"a": [tree(left - 1, leaf)] * width} if left else leaf

    def among(leaf):
        body = tree(depth, {"z": 0})
        at = body
        for _ in range(depth - 1):
            at["a"] = [*at["a"][:-1], dict(at["a"][-1])]
            at = at["a"][-1]
        at["a"] = [*at["a"][:-1], leaf]
        return body

    document = {"y": [1], "z": [5]}
    for _ in range(depth):
        document = {"a": document}
    pattern = Pattern(document)
    index = PatternIndex()
    index.add(pattern, "it")
    for leaf, expected in [({"z": 0}, False), ({"z": 5}, False), ({"y": 1, "z": [5]}, True)]:
        assert pattern.matches(among(leaf)) is expected
        assert bool(index.match(among(leaf))) is expected


def test_very_many_objects_match_very_many_patterns():
    index = PatternIndex()
    for n in range(2_000):
        index.add(Pattern({"lines": {"part": [f"p{n}"], "order": {"n": [n % 7]}}}), n)
    lines = [{"part": f"p{n}", "order": [{"n": n % 5}]} for n in range(1_500)]

    assert sorted(index.match({"lines": lines})) == [n for n in range(1_500) if n % 7 == n % 5]
