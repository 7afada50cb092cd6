"""What is legal and seldom meant is said, by the pattern and where nothing matches."""

import pytest
from hypothesis import given
from support.pattern_strategies import patterns

from edr.records.pattern import Pattern


def warned(document):
    return [str(each) for each in Pattern(document).warnings]


@pytest.mark.parametrize(
    ("document", "path", "said"),
    [
        ({"s": {"prefix": ["x"]}}, "body.s.prefix", '[{"prefix": …}]'),
        ({"s": {"exists": [True]}}, "body.s.exists", '[{"exists": …}]'),
        ({"queue.id": [1]}, 'body["queue.id"]', '{"queue": {"id": …}}'),
        ({"s": ["wrap*"]}, "body.s[0]", '{"wildcard": …}'),
        ({"s": [{"anything-but": "a"}, {"anything-but": "b"}]}, "body.s", '["a", "b"]'),
        ({"s": ["a", {"exists": True}]}, "body.s", "any value"),
        ({"$and": [1]}, 'body["$and"]', "$or is the only operator"),
        ({"$or": [{"a": [1]}, {"b": {"suffix": ["x"]}}]}, 'body["$or"][1].b.suffix', "suffix"),
    ],
    ids=str,
)
def test_what_is_seldom_meant_is_warned_of(document, path, said):
    ((at, reason),) = Pattern(document).warnings

    assert at == path
    assert said in reason


def test_what_is_meant_as_it_stands_is_not_warned_of():
    assert (
        warned({"status": ["paused", {"prefix": "wrap"}], "queue": {"id": [{"exists": True}]}})
        == []
    )
    assert warned({"prefix": ["a"], "exists": [True]}) == []
    assert warned({"s": [{"wildcard": "a*"}, {"anything-but": ["a", "b"]}]}) == []


def test_an_explanation_has_the_hint_where_the_body_has_nothing():
    pattern = Pattern({"s": {"prefix": ["x"]}, "t": ["a*"]})

    one, other = pattern.explain({"s": "xyz", "t": "abc"})

    assert "the pattern asks for a field named 'prefix'" in str(one)
    assert "a star in it" in str(other)
    assert str(Pattern({"t": ["a"]}).explain({})[0]) == 'body.t: wanted ["a"], found nothing'


@given(patterns)
def test_any_pattern_can_be_asked_for_its_warnings(document):
    assert isinstance(Pattern(document).warnings, tuple)
