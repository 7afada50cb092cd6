"""What body patterns mean, what is refused, and what a mismatch says."""

import copy
import enum
import json
import pickle

import pytest
from hypothesis import given, settings
from support.pattern_elements import ELEMENTS
from support.pattern_samples import INVALID, matches, nested
from support.pattern_strategies import patterns

import edr.patterns.language
from edr.errors import InvalidBindingError
from edr.patterns.language import ABSENT, Mismatch, Pattern

# Each element, with values that it accepts and values that it does not ------------------------


@pytest.mark.parametrize(
    ("element", "accepted", "refused"), ELEMENTS, ids=[json.dumps(each[0]) for each in ELEMENTS]
)
def test_an_element_accepts_just_its_values(element, accepted, refused):
    for value in accepted:
        assert matches({"f": [element]}, {"f": value}), value
        assert matches({"f": ["no such value", element]}, {"f": value}), value
    for value in refused:
        assert not matches({"f": [element]}, {"f": value}), value


# ObjectPattern
# ---------------------------------------------------------------------------------------


def test_fields_are_anded_and_elements_ored():
    pattern = {"a": [1, 2], "b": ["x", {"prefix": "y"}]}

    assert matches(pattern, {"a": 2, "b": "yes", "c": 0})
    assert not matches(pattern, {"a": 3, "b": "x"})
    assert not matches(pattern, {"a": 1})


def test_a_dotted_name_is_not_a_nested_path():
    assert matches({"a.b": [1]}, {"a.b": 1})
    assert not matches({"a.b": [1]}, {"a": {"b": 1}})
    assert matches({"a": {"b": [1]}}, {"a": {"b": 1}})
    assert not matches({"a": {"b": [1]}}, {"a.b": 1})


def test_field_names_match_exactly():
    assert not matches({"Status": [1]}, {"status": 1})
    assert matches({"": [1], "é": [2], "😀": [3]}, {"": 1, "é": 2, "😀": 3})


def test_the_operators_are_plain_names_as_fields():
    assert matches(
        {"prefix": ["a"], "exists": {"numeric": [1]}}, {"prefix": "a", "exists": {"numeric": 1}}
    )


def test_subclasses_of_dict_and_list_are_objects_and_arrays():
    class FrozenDict(dict):
        pass

    class FrozenList(list):
        pass

    body = FrozenDict(calls=FrozenList([FrozenDict(id=FrozenList(["x"]))]))

    assert matches({"calls": {"id": ["x"]}}, body)
    assert not matches({"calls": {"id": ["y"]}}, body)


# Arrays ---------------------------------------------------------------------------------------


def test_arrays_in_arrays_are_flattened():
    assert matches({"tags": ["b"]}, {"tags": [["a"], [["b"]]]})
    assert matches({"calls": {"a": [1], "b": [2]}}, {"calls": [[{"a": 1, "b": 2}]]})
    assert not matches({"calls": {"a": [1], "b": [2]}}, {"calls": [[{"a": 1}], [{"b": 2}]]})


def test_exists_false_is_met_by_any_object_without_the_field_or_by_no_object():
    pattern = {"calls": {"b": [{"exists": False}]}}

    assert matches(pattern, {"calls": [{"b": 1}, {}]})
    assert matches(pattern, {"calls": []})
    assert matches(pattern, {"calls": [1, 2]})
    assert not matches(pattern, {"calls": [{"b": 1}, {"b": 2}]})
    assert not matches(pattern, {"calls": [1, {"b": 1}]})


# $or ------------------------------------------------------------------------------------------


def test_one_member_of_an_or_is_enough():
    pattern = {"a": [1], "$or": [{"b": [2]}, {"c": [3], "d": [4]}]}

    assert matches(pattern, {"a": 1, "b": 2})
    assert matches(pattern, {"a": 1, "c": 3, "d": 4})
    assert not matches(pattern, {"a": 1, "c": 3})
    assert not matches(pattern, {"b": 2})


def test_an_or_may_be_in_an_or_and_the_members_may_share_fields():
    pattern = {"$or": [{"a": [1]}, {"a": [2], "$or": [{"b": [1]}, {"c": {"d": [1]}}]}]}

    assert matches(pattern, {"a": 1})
    assert matches(pattern, {"a": 2, "c": {"d": 1}})
    assert not matches(pattern, {"a": 2})


# What is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(("document", "path", "reason"), INVALID, ids=lambda each: str(each)[:60])
def test_what_is_no_pattern_is_refused_with_its_path(document, path, reason):
    with pytest.raises(InvalidBindingError) as caught:
        Pattern(document)

    assert caught.value.path == path
    assert reason in caught.value.reason


# Wildcards and bounds -------------------------------------------------------------------------


# The pattern as a value -----------------------------------------------------------------------

DOCUMENT = {
    "status": ["paused", {"prefix": "wrap"}],
    "wait_time": [{"numeric": [">", 30.0, "<=", 600]}, 2**63, 1e300],
    "$or": [{"queue": {"id": [{"exists": True}]}}, {"a.b": [None, True, "é😀"]}],
}


def test_the_document_comes_out_as_it_went_in():
    assert json.dumps(Pattern(DOCUMENT).document) == json.dumps(DOCUMENT)


@settings(deadline=None)
@given(patterns)
def test_any_document_comes_out_as_it_went_in(document):
    assert json.dumps(Pattern(document).document) == json.dumps(document)


def test_later_changes_reach_no_pattern():
    document = copy.deepcopy(DOCUMENT)
    pattern = Pattern(document)
    document["status"].append("x")
    pattern.document["status"].append("x")

    assert pattern.document == DOCUMENT
    with pytest.raises(AttributeError, match="immutable"):
        pattern.root = None
    with pytest.raises(AttributeError, match="immutable"):
        del pattern.root


def test_a_pattern_is_copied_and_pickled():
    pattern = Pattern(DOCUMENT)
    pattern.matches({})

    assert copy.deepcopy(pattern) is copy.copy(pattern) is pattern
    assert pickle.loads(pickle.dumps(pattern)) == pattern
    assert eval(repr(pattern)) == pattern


def test_tuples_and_enums_count_as_what_they_hold():
    class Status(enum.StrEnum):
        PAUSED = "paused"

    class Field(str, enum.Enum):  # noqa: UP042, to be told from its text
        STATUS = "status"

    pattern = Pattern({Field.STATUS: (Status.PAUSED, {"prefix": Field.STATUS})})

    assert pattern.document == {"status": ["paused", {"prefix": "status"}]}
    assert pattern.matches({"status": "paused"})
    assert pattern.matches({"status": "status 1"})


# Explaining -----------------------------------------------------------------------------------


def test_an_explanation_says_where_what_was_asked_and_what_was_there():
    pattern = Pattern({"status": ["paused"], "queue": {"id": [{"exists": True}], "n": [1]}})

    mismatches = pattern.explain({"status": "ready", "queue": {"n": 1}})

    assert mismatches == (
        Mismatch("body.status", ["paused"], "ready"),
        Mismatch("body.queue.id", [{"exists": True}], ABSENT),
    )
    assert str(mismatches[0]) == 'body.status: wanted ["paused"], found "ready"'
    assert str(mismatches[1]) == 'body.queue.id: wanted [{"exists": true}], found nothing'


def test_of_an_array_the_object_that_misses_least_is_explained():
    pattern = Pattern({"calls": {"a": [1], "b": [2], "c": [3]}})

    assert pattern.explain({"calls": [{"a": 1}, [{"a": 1, "b": 2, "c": 4}], {}]}) == (
        Mismatch("body.calls[1][0].c", [3], 4),
    )


def test_to_explain_deep_objects_compiles_no_test_of_what_is_in_them(monkeypatch):
    compiled = []
    test_below = edr.patterns.language.test_below
    monkeypatch.setattr(
        "edr.patterns.language.test_below",
        lambda part: (compiled.append(part), test_below(part))[1],
    )
    for body in ({}, {"a": {"a": {"a": 1}}}):
        compiled.clear()
        (mismatch,) = Pattern(nested(60)).explain(body)
        assert mismatch.path == "body" + ".a" * 60
        assert len(compiled) == 1, "the leaf"


def test_an_or_is_explained_with_what_its_members_ask_for():
    pattern = Pattern({"a": {"$or": [{"b": [1]}, {"c": [2], "$or": [{"d": [1]}, {"e": [1]}]}]}})

    (mismatch,) = pattern.explain({"a": {"c": 3, "d": 4, "x": 5}})

    assert mismatch.path == "body.a"
    assert mismatch.wanted == pattern.document["a"]
    assert mismatch.found == {"c": 3, "d": 4}


def test_a_long_explanation_is_shortened_for_people():
    (mismatch,) = Pattern({"a": list(range(10_000))}).explain({"a": "x" * 10_000})

    assert len(str(mismatch)) < 500
    assert len(mismatch.wanted) == 10_000


# The schema -----------------------------------------------------------------------------------
