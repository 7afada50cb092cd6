"""Absent fields in the tree of an index."""

from support.pattern_samples import index_of

import edr.patterns.index
import edr.patterns.nodes
from edr.patterns.index import PatternIndex
from edr.patterns.language import Pattern


def test_absence_is_found_at_any_depth():
    index = index_of({"a": {"b": {"c": [{"exists": False}]}}})

    for body in ({}, {"a": 1}, {"a": []}, {"a": [{}]}, {"a": {"b": [{"c": 1}, {}]}}):
        assert index.match(body) == [0], body
    assert index.match({"a": {"b": [{"c": 1}]}}) == []


def test_what_an_object_without_anything_is_asked_changes_with_the_patterns():
    index = PatternIndex()
    deep = Pattern({"a": {"b": {"c": {"d": [{"exists": False}]}}, "z": [{"exists": False}]}})
    near = Pattern({"a": {"b": [{"exists": False}]}})
    empty = {"a": [{}, {"x": 1}]}
    expected = set()
    for change, pattern in [
        (index.add, deep), (index.add, near), (index.remove, deep), (index.add, deep),
        (index.remove, near), (index.remove, deep),
    ]:  # fmt: skip
        change(pattern, pattern)
        expected ^= {pattern}
        assert set(index.match(empty)) == expected


def test_the_way_to_what_is_absent_is_not_gone_for_each_object(monkeypatch):
    def nested(depth, leaf):
        return {"a": nested(depth - 1, leaf)} if depth else leaf

    calls = []
    visit = edr.patterns.index._visit
    monkeypatch.setattr(
        "edr.patterns.index._visit", lambda *given: (calls.append(1), visit(*given))
    )
    index = index_of({"x": nested(60, [{"exists": False}]), "y": [{"exists": False}]})

    assert index.match({"x": [{"a": [{"z": 0}] * 6}] * 30, "y": 1}) == []
    assert len(calls) == 1 + 30 + 180
    assert index.match({"x": [{"a": [{"z": 0}] * 6}] * 30}) == [0]
