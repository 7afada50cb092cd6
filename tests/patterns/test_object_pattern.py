"""Equality of patterns."""

from support.pattern_samples import matches

from edr.patterns.language import Pattern


def test_the_order_of_fields_and_members_changes_nothing():
    body = {"a": 1, "c": 3}

    for pattern in (
        {"$or": [{"b": [2]}, {"c": [3]}], "a": [1]},
        {"a": [1], "$or": [{"c": [3]}, {"b": [2]}]},
    ):
        assert matches(pattern, body)


def test_patterns_are_equal_when_their_documents_are_equal_json():
    assert Pattern({"a": [5], "b": ["x"]}) == Pattern({"b": ["x"], "a": [5.0]})
    assert hash(Pattern({"a": [5]})) == hash(Pattern({"a": [5.0]}))
    assert Pattern({"a": [1]}) != Pattern({"a": [True]})
    assert Pattern({"a": ["1"]}) != Pattern({"a": [1]})
    assert Pattern({"a": [1, 2]}) != Pattern({"a": [2, 1]})
    assert Pattern({"a": [2**53 + 1]}) != Pattern({"a": [float(2**53)]})
    assert Pattern({"a": [1]}) != {"a": [1]}
