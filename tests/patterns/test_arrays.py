"""Arrays: of scalars, of objects, in arrays, short and long."""

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import naive_pattern as naive
from support.pattern_strategies import bodies, wide_patterns

import edr.patterns.tables
from edr.patterns import Pattern, PatternIndex
from edr.patterns.arrays import has_object, has_scalar, objects_of
from edr.records import snapshot

SETTINGS = settings(suppress_health_check=list(HealthCheck))


def index_of(*patterns):
    index = PatternIndex()
    for number, pattern in enumerate(patterns):
        index.add(pattern, number)
    return index


@SETTINGS
@given(pattern=wide_patterns, body=bodies)
def test_a_large_pattern_means_what_its_description_says(pattern, body):
    assert pattern.matches(body) == naive.matches(pattern.document, body)
    assert index_of(pattern).match(body) == ([0] if pattern.matches(body) else [])
    assert (pattern.explain(body) == ()) == pattern.matches(body)


@pytest.mark.parametrize("few", [0, 4])
@SETTINGS
@given(stored=st.lists(wide_patterns, min_size=1, max_size=8), body=bodies)
def test_an_index_of_many_says_what_each_pattern_says(few, stored, body):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(edr.patterns.tables, "_FEW", few)
        found = index_of(*stored).match(body)

    assert sorted(found) == [n for n, pattern in enumerate(stored) if pattern.matches(body)]


@pytest.mark.parametrize(
    ("array", "with_scalar", "with_object", "objects"),
    [
        ([], False, False, [{}]),
        ([1], True, False, [{}]),
        ([None], True, False, [{}]),
        ([[], [[]]], False, False, [{}]),
        ([[], [[0]]], True, False, [{}]),
        ([{}], False, True, [{}]),
        ([[{}], {}], False, True, [{}]),
        ([{"a": 1}], False, True, [{"a": 1}]),
        ([{"a": 1}, [[{"b": 2}], "x"]], True, True, [{"a": 1}, {"b": 2}]),
        ([[{}], {"a": 1}], False, True, [{"a": 1}, {}]),
        ([{"a": 1}, {}, {"a": 1}], False, True, [{"a": 1}, {"a": 1}, {}]),
    ],
    ids=str,
)
def test_an_array_stands_for_its_elements(array, with_scalar, with_object, objects):
    assert has_scalar(array) is with_scalar
    assert has_object(array) is with_object
    assert objects_of(array) == objects


INSIDE = [
    [0], [0, 5], [[0]], [[0], 5], [[[]]], [0, [{"c": 0}]], [], {}, [{}], [[{}], {"c": 0}],
    [{"c": 0}], {"c": 0}, "0",
]  # fmt: skip
ASKED = [
    {"a": [0]},
    {"a": [5, 6], "b": [1]},
    {"a": [{"anything-but": [0]}], "b": [{"exists": False}]},
    {"a": [{"exists": False}]},
    {"a": {"c": [0]}},
    {"a": {"c": [{"exists": False}], "d": [{"exists": False}]}},
]


@pytest.mark.parametrize("inside", INSIDE, ids=str)
@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_one_of_many_objects_is_enough(inside, asked):
    pattern = Pattern({"x": asked})
    index = index_of(pattern)
    alone, among = {"x": {"a": inside}}, {"x": [*([{"z": 0}] * 100), {"a": inside}]}
    others = {"x": [{"z": 0}] * 100}

    for body in (alone, snapshot(alone)):
        expected = naive.matches(pattern.document, alone)
        assert bool(index.match(body)) == pattern.matches(body) == expected
    for body in (among, snapshot(among)):
        expected = pattern.matches(alone) or pattern.matches(others)
        assert bool(index.match(body)) == pattern.matches(body) == expected


def test_one_and_the_same_of_many_objects_must_satisfy_all():
    pattern = Pattern({"calls": {"a": [1], "b": [{"anything-but": 2}]}})
    index = index_of(pattern)
    calls = [{"a": 1, "b": 2}, {"a": 2, "b": 1}] * 2_000

    assert not pattern.matches({"calls": calls})
    assert index.match({"calls": calls}) == []
    calls.insert(random.Random(1).randrange(4_000), {"a": 1, "b": 3})
    assert pattern.matches({"calls": calls})
    assert index.match({"calls": calls}) == [0]


def test_a_long_array_meets_every_kind_of_element():
    texts = [f"{n:04}" for n in range(100)]
    for element, match in [
        ({"prefix": "009"}, True),
        ({"prefix": "1"}, False),
        ({"suffix": "42"}, True),
        ({"suffix": {"equals-ignore-case": "X"}}, False),
        ({"wildcard": "*04*2"}, True),
        ({"wildcard": "*9*8*7*"}, False),
        ({"equals-ignore-case": "0042"}, True),
        ({"cidr": "0.0.0.0/0"}, False),
        ({"anything-but": texts}, False),
        ({"anything-but": texts[1:]}, True),
        ({"anything-but": {"prefix": "00"}}, False),
    ]:
        pattern = Pattern({"x": [element]})
        assert pattern.matches({"x": texts}) is match, element
        assert bool(index_of(pattern).match({"x": texts})) is match, element


def test_an_array_is_read_until_all_leaves_of_its_field_are_found():
    index = index_of(Pattern({"x": [{"equals-ignore-case": "a"}, 1]}), Pattern({"x": [2]}))

    assert sorted(index.match({"x": [1, 2, *[3] * 1_000]})) == [0, 1]
    assert sorted(index.match({"x": [1, *[3] * 1_000, [[2]]]})) == [0, 1]


def test_many_objects_match_many_patterns():
    patterns = [Pattern({"lines": {"part": [n], "order": {"n": [n % 7]}}}) for n in range(2_000)]
    lines = [{"part": n, "order": [{"n": n % 5}]} for n in range(1_500)]

    found = index_of(*patterns).match({"lines": lines})

    assert sorted(found) == [n for n in range(1_500) if n % 7 == n % 5]


@pytest.mark.parametrize(("width", "depth"), [(2, 11), (4, 6), (30, 3)])
def test_arrays_in_arrays_may_hold_many_objects(width, depth):
    def tree(left, leaf):
        if not left:
            return leaf
        return {"a": [*[tree(left - 1, {"z": 0})] * (width - 1), tree(left - 1, leaf)]}

    document = {"y": [1], "z": [5]}
    for _ in range(depth):
        document = {"a": document}
    pattern = Pattern(document)
    for leaf, expected in [({"z": 5}, False), ({"y": 1, "z": [5]}, True)]:
        body = tree(depth, leaf)
        assert pattern.matches(body) is expected
        assert bool(index_of(pattern).match(body)) is expected
