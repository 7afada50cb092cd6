"""Conditions on one and the same object."""

import pytest
from support.pattern_samples import matches


@pytest.mark.parametrize("body", [{}, {"a": None}, {"a": 5}, {"a": []}, {"a": [1, "b"]}, {"a": {}}])
def test_below_what_is_no_object_all_fields_are_absent(body):
    assert matches({"a": {"b": {"c": [{"exists": False}]}}}, body)
    assert not matches({"a": {"b": {"c": [{"exists": True}]}}}, body)


def test_one_and_the_same_object_of_an_array_satisfies_all_fields():
    pattern = {"calls": {"a": [1], "b": [2]}}

    assert matches(pattern, {"calls": [{"a": 1, "b": 2}]})
    assert matches(pattern, {"calls": [{"a": 1}, {"a": 1, "b": [3, 2]}]})
    assert not matches(pattern, {"calls": [{"a": 1}, {"b": 2}]})


def test_arrays_below_arrays_are_consistent_at_each_level():
    pattern = {"calls": {"id": [1], "legs": {"from": ["a"], "to": ["b"]}}}

    assert matches(
        pattern, {"calls": [{"id": 2}, {"id": 1, "legs": [{}, {"from": "a", "to": "b"}]}]}
    )
    assert not matches(pattern, {"calls": [{"id": 1, "legs": [{"from": "a"}, {"to": "b"}]}]})
    assert not matches(
        pattern, {"calls": [{"id": 1}, {"id": 2, "legs": [{"from": "a", "to": "b"}]}]}
    )


def test_an_or_is_met_by_the_same_object_as_the_fields_beside_it():
    pattern = {"calls": {"id": [1], "$or": [{"a": [1]}, {"b": [2]}]}}

    assert matches(pattern, {"calls": [{"id": 2}, {"id": 1, "b": 2}]})
    assert not matches(pattern, {"calls": [{"id": 1}, {"id": 2, "b": 2}]})


def test_exists_false_is_about_the_same_object_as_the_fields_beside_it():
    pattern = {"calls": {"a": [1], "b": [{"exists": False}]}}

    assert matches(pattern, {"calls": [{"a": 1}, {"b": 2}]})
    assert matches(pattern, {"calls": [{"a": 1, "b": []}]})
    assert not matches(pattern, {"calls": [{"a": 1, "b": 2}, {"a": 2}]})
