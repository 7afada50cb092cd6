"""What the elements of one leaf accept."""

import json

import pytest
from support.pattern_elements import ELEMENTS
from support.pattern_samples import matches


@pytest.mark.parametrize("element", [each[0] for each in ELEMENTS], ids=json.dumps)
def test_only_exists_false_accepts_that_nothing_is_there(element):
    assert matches({"f": [element]}, {"other": 1}) is (element == {"exists": False})


def test_one_element_of_an_array_is_enough():
    assert matches({"tags": ["b"]}, {"tags": ["a", "b"]})
    assert matches({"tags": ["b", {"numeric": [">", 1]}]}, {"tags": ["a", 2]})
    assert not matches({"tags": ["c"]}, {"tags": ["a", "b"]})
    assert not matches({"tags": ["a"]}, {"tags": []})


def test_objects_in_a_leaf_array_are_no_values_of_it():
    assert matches({"tags": ["b"]}, {"tags": [{"x": 1}, "b"]})
    assert matches({"tags": [{"exists": False}]}, {"tags": [{"x": 1}]})


def test_anything_but_over_an_array_wants_some_element_that_is_none_of_these():
    pattern = {"tags": [{"anything-but": ["a", "b"]}]}

    assert matches(pattern, {"tags": ["a", "c"]})
    assert not matches(pattern, {"tags": ["a", "b"]})
    assert not matches(pattern, {"tags": []})


def test_two_anything_buts_are_ored():
    pattern = {"tag": [{"anything-but": "a"}, {"anything-but": "b"}]}

    assert matches(pattern, {"tag": "a"})
    assert matches(pattern, {"tag": "b"})
    assert not matches({"tag": [{"anything-but": ["a", "b"]}]}, {"tag": "a"})
