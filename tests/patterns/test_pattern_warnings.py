"""Likely mistakes in a pattern are warned of: when bound, by the pattern, and in explanations."""

import pickle
import warnings

import pytest
from hypothesis import given
from support.pattern_strategies import patterns

import edr
from edr import PatternWarning
from edr.patterns import Pattern

LIKELY_MISTAKE = {"status": {"prefix": ["pau"]}}


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
def test_a_likely_mistake_is_in_the_warnings_of_its_pattern(document, path, said):
    (warning,) = Pattern(document).warnings

    assert warning.path == path
    assert said in warning.reason


def test_a_natural_pattern_has_no_warning():
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


@pytest.mark.parametrize(
    "make",
    [
        lambda: edr.Binding(body=LIKELY_MISTAKE),
        lambda: edr.Binding.model_validate({"body": LIKELY_MISTAKE}),
        lambda: edr.bindings_from_json([{"body": LIKELY_MISTAKE}]),
        lambda: edr.Bus().subscribe(body=LIKELY_MISTAKE),
        lambda: edr.on(body=LIKELY_MISTAKE),
    ],
    ids=["Binding", "model_validate", "bindings_from_json", "subscribe", "on"],
)
async def test_a_likely_mistake_warns_where_the_binding_is_made(make):
    with pytest.warns(PatternWarning, match=r"^body\.status\.prefix: asks for a field") as caught:
        make()

    assert [each.filename for each in caught] == [__file__]


@pytest.mark.parametrize(
    "make",
    [
        lambda: edr.Binding(body={"status": [{"prefix": "pau"}]}),
        lambda: edr.Binding(body=Pattern(LIKELY_MISTAKE)),
        lambda: edr.bindings_from_json({"body": LIKELY_MISTAKE}, limits=edr.Limits.untrusted()),
    ],
    ids=["natural", "Pattern", "limits"],
)
def test_a_binding_does_not_warn_otherwise(make):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make()


def test_a_warning_can_be_pickled():
    (warning,) = Pattern(LIKELY_MISTAKE).warnings

    copy = pickle.loads(pickle.dumps(warning))

    assert (copy.path, copy.reason) == (warning.path, warning.reason)
