"""Arrays of any length mean what arrays of three elements mean."""

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import naive_pattern as naive
from support.pattern_strategies import bodies, wide_patterns

import edr.records.pattern.index
import edr.records.pattern.leaf
import edr.records.pattern.objects
import edr.records.pattern.sieves
from edr.records.pattern import Limits, Pattern, PatternIndex
from edr.records.pattern.arrays import Contents, contents_of
from edr.records.pattern.layers import Layers

SETTINGS = settings(
    max_examples=3 * settings.default.max_examples, suppress_health_check=list(HealthCheck)
)


@pytest.fixture
def _no_array_is_short(monkeypatch):
    monkeypatch.setattr(edr.records.pattern.index, "SHORT", 0)
    monkeypatch.setattr(edr.records.pattern.leaf, "SHORT", 0)
    monkeypatch.setattr(edr.records.pattern.objects, "SHORT", 0)
    monkeypatch.setattr(edr.records.pattern.sieves, "_PART", 2)


@pytest.mark.usefixtures("_no_array_is_short")
@SETTINGS
@given(pattern=wide_patterns, body=bodies)
def test_a_pattern_says_of_long_arrays_what_its_description_says(pattern, body):
    index = PatternIndex()
    index.add(pattern, "it")

    assert pattern.matches(body) == naive.matches(pattern.document, body)
    assert index.match(body) == (["it"] if pattern.matches(body) else [])


@pytest.mark.usefixtures("_no_array_is_short")
@settings(SETTINGS, max_examples=settings.default.max_examples)
@given(
    stored=st.lists(wide_patterns, min_size=1, max_size=8),
    body=bodies,
)
def test_an_index_of_many_says_of_long_arrays_what_each_pattern_says(stored, body):
    index = PatternIndex()
    for number, pattern in enumerate(stored):
        index.add(pattern, number)

    found = index.match(body)

    assert set(found) == {n for n, pattern in enumerate(stored) if pattern.matches(body)}
    assert len(found) == len(set(found))


@SETTINGS
@given(pattern=wide_patterns, body=bodies)
def test_a_pattern_that_asks_for_much_means_what_its_description_says(pattern, body):
    index = PatternIndex()
    index.add(pattern, "it")

    assert pattern.matches(body) == naive.matches(pattern.document, body)
    assert index.match(body) == (["it"] if pattern.matches(body) else [])
    assert (pattern.explain(body) == ()) == pattern.matches(body)


def test_an_array_is_read_once_for_a_match():
    array = [1] * 100
    seen = {}

    assert contents_of(array, seen) is contents_of(array, seen)


def test_scalars_are_told_apart_by_type_and_nothing_else():
    contents = Contents(Layers([1, True, 1.0, 0, False, None, "a", ["a", [0.0, "b"]], "a"]))

    assert list(contents.strings) == ["a", "b"]
    assert contents.numbers == {0, 1}
    assert contents.literals == {True, False, None}
    assert contents.objects == []
    assert contents.with_empty


@pytest.mark.parametrize("scalars", [[True, None], [False, 0], [True, 1, "x"], [None], [2.5, True]])
def test_a_mix_of_scalars_loses_none(scalars):
    for each in (scalars, scalars * 50, [*reversed(scalars)] * 50):
        contents = Contents(Layers(each))
        found = [*contents.strings, *contents.numbers, *contents.literals]
        assert sorted(map(repr, found)) == sorted(map(repr, scalars))


def test_objects_are_found_at_any_depth_of_arrays():
    contents = Contents(Layers([{"a": 1}, [[{"b": 2}], {}], "x"]))

    assert contents.objects == [{"a": 1}, {"b": 2}]
    assert contents.with_empty
    assert not Contents(Layers([{"a": 1}])).with_empty


def test_one_object_of_very_many_is_enough():
    pattern = Pattern({"calls": {"a": [1], "b": [{"anything-but": 2}]}})
    index = PatternIndex()
    index.add(pattern, "it")
    calls = [{"a": 1, "b": 2}, {"a": 2, "b": 1}] * 2_000

    assert not pattern.matches({"calls": calls})
    assert index.match({"calls": calls}) == []
    calls.insert(random.Random(1).randrange(4_000), {"a": 1, "b": 3})
    assert pattern.matches({"calls": calls})
    assert index.match({"calls": calls}) == ["it"]


def test_long_arrays_meet_every_kind_of_element():
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
        pattern = Pattern({"x": [element]}, limits=Limits(work=100))
        index = PatternIndex()
        index.add(pattern, "it")
        assert pattern.matches({"x": texts}) is match, element
        assert bool(index.match({"x": texts})) is match, element
