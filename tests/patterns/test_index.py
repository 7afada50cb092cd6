"""What the index promises beyond agreeing with each pattern alone."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.pattern_elements import ELEMENTS
from support.pattern_remains import assert_nothing_remains
from support.pattern_samples import index_of

import edr.patterns.index
import edr.patterns.nodes
from edr.patterns.addresses import address_of
from edr.patterns.index import PatternIndex
from edr.patterns.language import Pattern


@pytest.fixture
def tested(monkeypatch):
    """Count the candidates' other conditions that are tested."""
    counts = []
    of_condition = edr.patterns.nodes.Condition.__init__

    def counting(self, text, fields):
        of_condition(self, text, fields)
        test = self.test
        self.test = lambda body: (counts.append(text), test(body))[1]

    monkeypatch.setattr(edr.patterns.nodes.Condition, "__init__", counting)
    return counts


def test_an_empty_index_matches_nothing():
    index = PatternIndex()

    assert index.match({"a": 1}) == []
    assert not index
    assert len(index) == 0


def test_the_values_of_all_patterns_that_match_are_found():
    index = index_of({"a": [1]}, {"a": [2]}, {"b": [1]}, {"a": [1], "b": [2]})

    assert sorted(index.match({"a": 1, "b": 1})) == [0, 2]
    assert sorted(index.match({"a": 1, "b": 2})) == [0, 3]


def test_a_value_under_several_patterns_is_found_once():
    index = PatternIndex()
    index.add(Pattern({"a": [1]}), "it")
    index.add(Pattern({"b": [1]}), "it")
    index.add(Pattern({"$or": [{"a": [1, {"numeric": ["<", 2]}]}, {"b": [1]}]}), "it")

    assert index.match({"a": [1, 1, 0], "b": 1}) == ["it"]
    assert len(index) == 3


def test_a_pattern_may_have_several_values():
    index = PatternIndex()
    index.add(Pattern({"a": [1]}), "x")
    index.add(Pattern({"a": [1.0]}), "y")
    index.remove(Pattern({"a": [1]}), "x")

    assert index.match({"a": 1}) == ["y"]


def test_a_pair_is_there_once_however_often_it_is_added():
    index = PatternIndex()
    index.add(Pattern({"a": [1]}), "x")
    index.add(Pattern({"a": [1]}), "x")
    assert len(index) == 1
    index.remove(Pattern({"a": [1]}), "x")

    assert_nothing_remains(index)


def test_removing_what_is_not_there_changes_nothing():
    index = PatternIndex()
    index.add(Pattern({"a": [1]}), "x")

    with pytest.raises(KeyError):
        index.remove(Pattern({"a": [1]}), "y")
    with pytest.raises(KeyError):
        index.remove(Pattern({"a": [2]}), "x")

    assert index.match({"a": 1}) == ["x"]
    assert len(index) == 1


def test_after_removing_all_nothing_remains():
    documents = [{"f": {"g": [element]}, "h": [1]} for element, _, _ in ELEMENTS]
    documents += [
        {"$or": [{"f": [element]}, {"h": {"i": [element]}}]} for element, _, _ in ELEMENTS
    ]
    index = index_of(*documents)

    for number, document in enumerate(documents):
        index.remove(Pattern(document), number)

    assert_nothing_remains(index)


def test_objects_in_arrays_satisfy_all_or_none():
    index = index_of(
        {"calls": {"a": [1], "b": [2]}},
        {"calls": {"a": [1], "legs": {"to": ["x"], "from": ["y"]}}, "c": [1]},
        {"calls": {"a": [1], "b": [{"exists": False}]}},
    )

    assert index.match({"calls": [{"a": 1, "b": 2}]}) == [0]
    assert index.match({"calls": [{"a": 1, "b": 3}, {"b": 2}]}) == []
    assert index.match({"calls": [{"a": 1}, {"b": 2}]}) == [2]
    split = {"c": 1, "calls": [{"a": 1, "b": 0, "legs": [{"to": "x"}, {"from": "y"}]}]}
    joint = {"c": 1, "calls": [{"a": 1, "b": 0, "legs": [{"to": "x", "from": "y"}]}]}
    assert index.match(split) == []
    assert index.match(joint) == [1]


# What is not done -----------------------------------------------------------------------------


def test_patterns_that_share_a_field_are_not_candidates_for_it(tested):
    index = index_of(*({"type": ["order"], "id": [number]} for number in range(1_000)))

    assert index.match({"type": "order", "id": 7}) == [7]

    # The first of all had no shorter list than that of its type, so it is a candidate, too.
    assert tested == ['{"id":[0]}', '{"type":["order"]}']


def test_a_condition_of_many_candidates_is_tested_once(tested):
    index = index_of(*({"id": [number % 2], "n": {"x": [1]}, "m": [number]} for number in range(9)))
    tested.clear()

    index.match({"id": 1, "n": {"x": 1}, "m": [1, 2, 3, 4, 5, 6, 7, 8]})

    assert tested.count('{"n":{"x":[1]}}') == 1


def test_a_condition_outside_of_an_array_is_tested_once_for_all_its_objects(tested):
    index = index_of({"calls": {"id": [1]}, "tags": ["x"]})
    tested.clear()

    index.match({"calls": [{"id": 1}] * 1_000, "tags": ["y"] * 1_000})

    assert len(tested) == 1


def test_an_anything_but_is_no_access_predicate_where_a_value_is_asked_for(tested):
    documents = [
        {"a": [{"anything-but": number}], "b": [{"exists": False}], "type": ["order"]}
        for number in range(1_000)
    ]
    index = index_of(*documents)

    assert index.match({"a": 5_000, "type": "invoice"}) == []

    assert tested == []


def test_removing_makes_room_in_the_posting_lists():
    index = index_of({"type": ["order"]}, {"type": ["order"], "status": ["new"]})
    (place,) = (index._root.children[name] for name in ("status",))
    assert len(place.accesses) == 1

    index.remove(Pattern({"type": ["order"], "status": ["new"]}), 1)

    assert "status" not in index._root.children


# Hostile patterns and bodies: bounded by counts, not by the clock --------------------------------


def test_the_empty_objects_of_an_array_are_looked_up_once(tested):
    index = index_of({"a": {"b": [{"exists": False}], "c": [{"exists": False}]}})

    assert index.match({"a": [{}] * 1_000}) == [0]

    assert len(tested) == 1


# The index never becomes a list: counted by steps, not by the clock -------------------------------


@pytest.mark.parametrize("operator", ["prefix", "suffix", "equals-ignore-case", "wildcard"])
def test_what_an_anything_but_excepts_is_looked_up_and_not_tried(operator, monkeypatch):
    text = {"prefix": "{}-", "suffix": "-{}", "equals-ignore-case": "{}", "wildcard": "x*{}*x"}[
        operator
    ]
    index = index_of(*({"s": [{"anything-but": {operator: text.format(n)}}]} for n in range(1_000)))
    monkeypatch.setattr("edr.patterns.field_matcher.FieldMatcher.test", None)  # none is compiled

    body = {"prefix": "7-x", "suffix": "x-7", "equals-ignore-case": "7", "wildcard": "xx7xx"}[
        operator
    ]
    found = index.match({"s": body})

    assert sorted(found) == [n for n in range(1_000) if n != 7]


def test_a_value_that_cannot_be_hashed_leaves_nothing_behind():
    index = PatternIndex()

    with pytest.raises(TypeError):
        index.add(Pattern({"a": [1]}), [])

    assert_nothing_remains(index)


def test_addresses_are_recognised_as_by_the_standard_library():
    for text in (
        "1.2.3.4", "1.2.3", "1.2.3.4.5", "01.2.3.4", "256.1.1", "1.2.3.-4", "1.2.3.\u0664", "1..2",
        "::", ":::", "::1", "1::2::3", "::1.2.3.4", "::1.2.3", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7::", "::ffff:1.2.3.4", "fe80::1%eth0", "12345::", "g::", "a:b", "", "::\0",
        "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:7:1.2.3.4", " ::1", "::01.2.3.4",
    ):  # fmt: skip
        try:
            expected = ipaddress.ip_address(text).packed if "%" not in text else None
        except ValueError:
            expected = None
        assert address_of(text) == expected, text


@given(st.text("0123456789abcdef:.", max_size=24) | st.ip_addresses().map(str))
def test_any_address_is_recognised_as_by_the_standard_library(text):
    try:
        expected = ipaddress.ip_address(text).packed
    except ValueError:
        expected = None

    assert address_of(text) == expected
