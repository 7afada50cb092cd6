"""What body patterns mean, what is refused, and what a mismatch says."""

import copy
import enum
import json
import math
import pickle

import jsonschema
import pytest
from hypothesis import given, settings
from support.pattern_elements import ELEMENTS
from support.pattern_strategies import patterns

import edr.patterns.language
from edr.errors import InvalidBindingError
from edr.patterns.index import PatternIndex
from edr.patterns.language import ABSENT, Mismatch, Pattern
from edr.patterns.limits import DEFAULT_LIMITS, Limits
from edr.patterns.schema import pattern_json_schema


def matches(pattern, body):
    """Match, and check that explaining agrees."""
    compiled = Pattern(pattern)
    verdict = compiled.matches(body)
    assert (compiled.explain(body) == ()) is verdict
    return verdict


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


@pytest.mark.parametrize("element", [each[0] for each in ELEMENTS], ids=json.dumps)
def test_only_exists_false_accepts_that_nothing_is_there(element):
    assert matches({"f": [element]}, {"other": 1}) is (element == {"exists": False})


def test_case_is_ignored_by_full_unicode_folding():
    def ignoring(text):
        return {"f": [{"equals-ignore-case": text}]}

    assert matches(ignoring("straße"), {"f": "STRASSE"})
    assert matches(ignoring("STRASSE"), {"f": "straße"})
    assert matches(ignoring("Straße"), {"f": "STRAẞE"})
    assert matches(ignoring("ΟΔΟΣ"), {"f": "οδος"})
    assert matches(ignoring("K"), {"f": "\N{KELVIN SIGN}"})
    assert not matches(ignoring("ı"), {"f": "I"})
    assert not matches(ignoring("é"), {"f": "E\N{COMBINING ACUTE ACCENT}"})


def test_a_prefix_regardless_of_case_is_one_of_the_folding():
    def prefix(text):
        return {"f": [{"prefix": {"equals-ignore-case": text}}]}

    assert matches(prefix("strass"), {"f": "Straße"})
    assert matches(prefix("stras"), {"f": "Straße"})
    assert not matches(prefix("straße"), {"f": "Stras"})


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


@pytest.mark.parametrize("body", [{}, {"a": None}, {"a": 5}, {"a": []}, {"a": [1, "b"]}, {"a": {}}])
def test_below_what_is_no_object_all_fields_are_absent(body):
    assert matches({"a": {"b": {"c": [{"exists": False}]}}}, body)
    assert not matches({"a": {"b": {"c": [{"exists": True}]}}}, body)


def test_subclasses_of_dict_and_list_are_objects_and_arrays():
    class FrozenDict(dict):
        pass

    class FrozenList(list):
        pass

    body = FrozenDict(calls=FrozenList([FrozenDict(id=FrozenList(["x"]))]))

    assert matches({"calls": {"id": ["x"]}}, body)
    assert not matches({"calls": {"id": ["y"]}}, body)


# Arrays ---------------------------------------------------------------------------------------


def test_one_element_of_an_array_is_enough():
    assert matches({"tags": ["b"]}, {"tags": ["a", "b"]})
    assert matches({"tags": ["b", {"numeric": [">", 1]}]}, {"tags": ["a", 2]})
    assert not matches({"tags": ["c"]}, {"tags": ["a", "b"]})
    assert not matches({"tags": ["a"]}, {"tags": []})


def test_arrays_in_arrays_are_flattened():
    assert matches({"tags": ["b"]}, {"tags": [["a"], [["b"]]]})
    assert matches({"calls": {"a": [1], "b": [2]}}, {"calls": [[{"a": 1, "b": 2}]]})
    assert not matches({"calls": {"a": [1], "b": [2]}}, {"calls": [[{"a": 1}], [{"b": 2}]]})


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


def test_the_order_of_fields_and_members_changes_nothing():
    body = {"a": 1, "c": 3}

    for pattern in (
        {"$or": [{"b": [2]}, {"c": [3]}], "a": [1]},
        {"a": [1], "$or": [{"c": [3]}, {"b": [2]}]},
    ):
        assert matches(pattern, body)


# What is refused ------------------------------------------------------------------------------

INVALID = [
    (None, "body", "object"),
    ([], "body", "object"),
    ({}, "body", "empty"),
    ({"a": {}}, "body.a", "empty"),
    ({"a": {"b": []}}, "body.a.b", "empty"),
    ({"a": "x"}, "body.a", "array"),
    ({"a": 1}, "body.a", "array"),
    ({"a": None}, "body.a", "array"),
    ({1: ["a"]}, "body", "field names"),
    ({"a": [[1]]}, "body.a[0]", "an array"),
    ({"a": ["x", {}]}, "body.a[1]", "one operator"),
    ({"a": [{"prefix": "a", "suffix": "b"}]}, "body.a[0]", "one operator"),
    ({"a": [{"regex": "a"}]}, "body.a[0]", "unknown operator 'regex'"),
    ({"a.b": {"c": [{"x": 1}]}}, 'body["a.b"].c[0]', "unknown operator"),
    ({"agent-id": [{"x": 1}]}, 'body["agent-id"][0]', "unknown operator"),
    ({"a": [b"x"]}, "body.a[0]", "bytes"),
    ({"a": [{1, 2}]}, "body.a[0]", "set"),
    ({"a": [math.nan]}, "body.a[0]", "finite"),
    ({"a": [math.inf]}, "body.a[0]", "finite"),
    ({"a": ["\ud800"]}, "body.a[0]", "surrogate"),
    ({"\ud800": ["x"]}, "body", "surrogate"),
    ({"a": [{"exactly": 1}]}, "body.a[0].exactly", "string"),
    ({"a": [{"prefix": 1}]}, "body.a[0].prefix", "string"),
    ({"a": [{"prefix": ["a"]}]}, "body.a[0].prefix", "string"),
    ({"a": [{"prefix": {"wildcard": "a"}}]}, "body.a[0].prefix", "equals-ignore-case"),
    ({"a": [{"prefix": {}}]}, "body.a[0].prefix", "one operator"),
    ({"a": [{"suffix": {"equals-ignore-case": 1}}]},
     'body.a[0].suffix["equals-ignore-case"]', "string"),
    ({"a": [{"equals-ignore-case": ["a"]}]}, 'body.a[0]["equals-ignore-case"]', "string"),
    ({"a": [{"wildcard": "a**b"}]}, "body.a[0].wildcard", "**"),
    ({"a": [{"wildcard": r"a\b"}]}, "body.a[0].wildcard", "escape"),
    ({"a": [{"wildcard": "a\\"}]}, "body.a[0].wildcard", "escape"),
    ({"a": [{"wildcard": 1}]}, "body.a[0].wildcard", "string"),
    ({"a": [{"numeric": 5}]}, "body.a[0].numeric", "array"),
    ({"a": [{"numeric": []}]}, "body.a[0].numeric", "once or twice"),
    ({"a": [{"numeric": [">"]}]}, "body.a[0].numeric", "once or twice"),
    ({"a": [{"numeric": [">", 1, "<"]}]}, "body.a[0].numeric", "once or twice"),
    ({"a": [{"numeric": ["!", 1]}]}, "body.a[0].numeric[0]", "one of"),
    ({"a": [{"numeric": [[], 1]}]}, "body.a[0].numeric[0]", "one of"),
    ({"queue": {"id": [{"numeric": [">", "1"]}]}}, "body.queue.id[0].numeric[1]", "number"),
    ({"a": [{"numeric": [">", True]}]}, "body.a[0].numeric[1]", "number"),
    ({"a": [{"numeric": [">", math.nan]}]}, "body.a[0].numeric[1]", "finite"),
    ({"a": [{"numeric": ["<", 1, ">", 0]}]}, "body.a[0].numeric[0]", "> or >="),
    ({"a": [{"numeric": ["=", 1, "<", 2]}]}, "body.a[0].numeric[0]", "> or >="),
    ({"a": [{"numeric": [">", 1, "=", 2]}]}, "body.a[0].numeric[2]", "< or <="),
    ({"a": [{"numeric": [">", 1, ">", 2]}]}, "body.a[0].numeric[2]", "< or <="),
    ({"a": [{"numeric": [">", 2, "<", 1]}]}, "body.a[0].numeric", "less than"),
    ({"a": [{"numeric": [">=", 1, "<=", 1]}]}, "body.a[0].numeric", "less than"),
    ({"a": [{"cidr": "10.0.0.1"}]}, "body.a[0].cidr", "block"),
    ({"a": [{"cidr": "10.0.0.0/33"}]}, "body.a[0].cidr", "block"),
    ({"a": [{"cidr": "::/129"}]}, "body.a[0].cidr", "block"),
    ({"a": [{"cidr": "10.0.0.0/255.0.0.0"}]}, "body.a[0].cidr", "block"),
    ({"a": [{"cidr": "10.0.0.0/-1"}]}, "body.a[0].cidr", "block"),
    ({"a": [{"cidr": "fe80::1%eth0/64"}]}, "body.a[0].cidr", "block"),
    ({"a": [{"cidr": 10}]}, "body.a[0].cidr", "string"),
    ({"a": [{"exists": 1}]}, "body.a[0].exists", "true or false"),
    ({"a": [{"exists": "true"}]}, "body.a[0].exists", "true or false"),
    ({"a": [{"anything-but": []}]}, 'body.a[0]["anything-but"]', "empty"),
    ({"a": [{"anything-but": None}]}, 'body.a[0]["anything-but"]', "string or a number"),
    ({"a": [{"anything-but": True}]}, 'body.a[0]["anything-but"]', "string or a number"),
    ({"a": [{"anything-but": [1, None]}]}, 'body.a[0]["anything-but"][1]', "string or a number"),
    ({"a": [{"anything-but": [[1]]}]}, 'body.a[0]["anything-but"][0]', "string or a number"),
    ({"a": [{"anything-but": [{"prefix": "a"}]}]},
     'body.a[0]["anything-but"][0]', "string or a number"),
    ({"a": [{"anything-but": [1, "a"]}]}, 'body.a[0]["anything-but"]', "all strings"),
    ({"a": [{"anything-but": {"numeric": ["=", 1]}}]},
     'body.a[0]["anything-but"]', "unknown operator"),
    ({"a": [{"anything-but": {}}]}, 'body.a[0]["anything-but"]', "one operator"),
    ({"a": [{"anything-but": {"prefix": ""}}]}, 'body.a[0]["anything-but"].prefix', "empty"),
    ({"a": [{"anything-but": {"suffix": ["a", ""]}}]},
     'body.a[0]["anything-but"].suffix[1]', "empty"),
    ({"a": [{"anything-but": {"prefix": []}}]}, 'body.a[0]["anything-but"].prefix', "empty"),
    ({"a": [{"anything-but": {"wildcard": [1]}}]},
     'body.a[0]["anything-but"].wildcard[0]', "string"),
    ({"a": [{"anything-but": math.inf}]}, 'body.a[0]["anything-but"]', "finite"),
    ({"$or": {"a": [1]}}, 'body["$or"]', "array"),
    ({"$or": []}, 'body["$or"]', "two or more"),
    ({"$or": [{"a": [1]}]}, 'body["$or"]', "two or more"),
    ({"$or": ["a", "b"]}, 'body["$or"][0]', "object"),
    ({"$or": [{"a": [1]}, {}]}, 'body["$or"][1]', "empty"),
    ({"$or": [{"a": [1]}, {"status": "x"}]}, 'body["$or"][1].status', "array"),
    ({"a": [1], "$or": [{"b": [1]}, {"a": [2]}]}, 'body["$or"][1].a', "outside"),
    ({"$or": [{"b": [1]}, {"a": [2]}], "a": [1]}, 'body["$or"][1].a', "outside"),
    ({"a": {"x": [1]}, "$or": [{"b": [1]}, {"a": {"x": [2]}}]}, 'body["$or"][1].a.x', "outside"),
    ({"a": {"$or": [{"x": [1]}, {"y": [1]}]}, "$or": [{"b": [1]}, {"a": {"y": [2]}}]},
     'body["$or"][1].a.y', "outside"),
    ({"a": [2**64]}, "body.a[0]", "no body can hold"),
    ({"a": [{"numeric": ["<", -(2**63) - 1]}]}, "body.a[0].numeric[1]", "no body can hold"),
    ({"a": [{"cidr": "10.0.0.0/0008"}]}, "body.a[0].cidr", "block"),
    ({"a": [{"cidr": "10.0.0.0/08"}]}, "body.a[0].cidr", "block"),
    ({"a": [1], "$or": [{"b": [1]}, {"$or": [{"c": [1]}, {"a": [1]}]}]},
     'body["$or"][1]["$or"][1].a', "outside"),
    ({"d": {"a": [1], "$or": [{"a": [1]}, {"b": [1]}]}}, 'body.d["$or"][0].a', "outside"),
]  # fmt: skip


@pytest.mark.parametrize(("document", "path", "reason"), INVALID, ids=lambda each: str(each)[:60])
def test_what_is_no_pattern_is_refused_with_its_path(document, path, reason):
    with pytest.raises(InvalidBindingError) as caught:
        Pattern(document)

    assert caught.value.path == path
    assert reason in caught.value.reason


def nested(depth, leaf=("x",)):
    document = list(leaf)
    for _ in range(depth):
        document = {"a": document}
    return document


def either(first, second):
    return {"$or": [{first: [1]}, {second: [1]}]}


TIGHT = Limits(
    max_depth=3, max_fields=3, max_objects=4, max_elements=15, max_characters=20,
    max_affix_length=5, max_cost=2, max_combinations=4,
)  # fmt: skip

LIMITS = [
    (nested(3), nested(4), "depth"),
    ({"a": [1] * 15}, {"a": [1] * 16}, "elements"),
    ({"a": [{"anything-but": ["x"] * 15}]}, {"a": [{"anything-but": ["x"] * 16}]}, "elements"),
    ({"a": [1] * 7, "b": [1] * 8}, {"a": [1] * 8, "b": [1] * 8}, "elements"),
    ({"a": [{"numeric": ["<", n]} for n in range(3)]},
     {"a": [1, *({"numeric": ["<", n]} for n in range(3))]}, "elements"),
    ({"a": [{"cidr": "::/9"}, *[1] * 13]}, {"a": [{"cidr": "::/9"}, *[1] * 14]}, "elements"),
    ({"a": {"b": {"c": [1]}}, "d": {"e": [1]}}, {n: {"e": {"f": [1]}} for n in "abc"}, "objects"),
    ({f"f{n}": [1] for n in range(3)}, {f"f{n}": [1] for n in range(4)}, "fields"),
    ({"$or": [{"a": [n]} for n in range(3)]}, {"$or": [{"a": [n]} for n in range(4)]}, "fields"),
    ({"a" * 10: ["b" * 10]}, {"a" * 10: ["b" * 11]}, "characters"),
    ({"a" * 20: [1]}, {"a" * 21: [1]}, "characters"),
    ({"a": [{"prefix": "x" * 5}]}, {"a": [{"prefix": "x" * 6}]}, "affix_length"),
    ({"a": [{"wildcard": "x*xxx"}]}, {"a": [{"wildcard": "x*xxxx"}]}, "affix_length"),
    ({"a": [{"wildcard": "*0*"}, {"wildcard": "*1*"}]},
     {"a": [{"wildcard": f"*{n}*"} for n in range(5)]}, "cost"),
    ({"a": [{"prefix": "x"}]}, {"a": [{"prefix": "x"}, {"wildcard": "*y*"}]}, "cost"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("within", "beyond", "name"), LIMITS, ids=[f"{at}-{each[2]}" for at, each in enumerate(LIMITS)]
)
def test_a_limit_is_reached_and_its_error_names_it(within, beyond, name):
    assert Pattern(within, limits=TIGHT).document == within
    assert Pattern(beyond).document == beyond

    with pytest.raises(InvalidBindingError, match=f"Limits.max_{name}"):
        Pattern(beyond, limits=TIGHT)


def test_the_combinations_of_ors_are_limited_as_by_event_bridge():
    within = {f"f{n}": either("a", "b") for n in range(9)}
    beyond = {f"f{n}": {"$or": [{"a": [1], "c": [1]}, {"b": [1], "c": [1]}]} for n in range(10)}

    assert DEFAULT_LIMITS.max_combinations == 1_000
    assert Pattern(within)
    with pytest.raises(InvalidBindingError, match=r"Limits.max_combinations"):
        Pattern(beyond)


def test_endless_documents_are_refused():
    endless = {}
    endless["a"] = endless
    endless_or = {}
    endless_or["$or"] = [endless_or, endless_or]

    for document in (endless, endless_or):
        with pytest.raises(InvalidBindingError, match="Limits.max_depth"):
            Pattern(document)


# Wildcards and bounds -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wildcard", "text", "matches"),
    [
        ("ab*ba", "aba", False),
        ("ab*ba", "abba", True),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("ab*b*ba", "abba", False),
        ("a*b*b", "axb", False),
        ("ab*b*ba", "abbba", True),
        ("*ab*ab*", "ab", False),
        ("*aba*ba", "ababa", True),
        ("*aba*aba", "ababa", False),
    ],
)
def test_the_literals_of_a_wildcard_do_not_overlap(wildcard, text, matches):
    pattern = Pattern({"a": [{"wildcard": wildcard}]})
    alone, among = PatternIndex(), PatternIndex()
    alone.add(pattern, "it")
    for number in range(10):  # enough that each is found by a literal
        among.add(Pattern({"a": [{"wildcard": f"{number}*{number}*x"}]}), number)
    among.add(pattern, "it")

    assert pattern.matches({"a": text}) is matches
    assert alone.match({"a": text}) == among.match({"a": text}) == ["it"] * matches


BOUNDS = {
    (">", 1): {0: False, 1: False, 2: True, 9: True},
    (">=", 1): {0: False, 1: True, 2: True, 9: True},
    ("<", 2): {0: True, 1: True, 2: False, 9: False},
    ("<=", 2): {0: True, 1: True, 2: True, 9: False},
    (">", 1, "<", 3): {1: False, 2: True, 3: False},
    (">=", 1, "<", 3): {1: True, 2: True, 3: False},
    (">", 1, "<=", 3): {1: False, 2: True, 3: True},
    (">=", 1, "<=", 3): {1: True, 2: True, 3: True, 4: False},
}


@pytest.mark.parametrize("others", [0, 3, 10])
@pytest.mark.parametrize("bounds", BOUNDS, ids=str)
def test_a_bound_is_within_its_range_only_with_equality(bounds, others):
    ranges = [{"numeric": list(bounds)}, *({"numeric": ["=", -n]} for n in range(1, others))]
    ranges += [{"numeric": [">", 100 + n]} for n in range(others)]
    pattern = Pattern({"a": ranges})
    index = PatternIndex()
    index.add(pattern, "it")

    for number, matches in BOUNDS[bounds].items():
        for value in (number, float(number), [[number]]):
            assert pattern.matches({"a": value}) is matches
            assert bool(index.match({"a": value})) is matches


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


def test_patterns_are_equal_when_their_documents_are_equal_json():
    assert Pattern({"a": [5], "b": ["x"]}) == Pattern({"b": ["x"], "a": [5.0]})
    assert hash(Pattern({"a": [5]})) == hash(Pattern({"a": [5.0]}))
    assert Pattern({"a": [1]}) != Pattern({"a": [True]})
    assert Pattern({"a": ["1"]}) != Pattern({"a": [1]})
    assert Pattern({"a": [1, 2]}) != Pattern({"a": [2, 1]})
    assert Pattern({"a": [2**53 + 1]}) != Pattern({"a": [float(2**53)]})
    assert Pattern({"a": [1]}) != {"a": [1]}


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

SCHEMA = jsonschema.Draft202012Validator(pattern_json_schema())
# What a schema cannot say: the relation of two bounds, of fields to each other, what an address
# is, and sums over a whole pattern. NaN and surrogates are beyond JSON.
UNSAID = {
    "less than", "outside", "block", "surrogate", "finite", "field names", "no body can hold"
}  # fmt: skip


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(pattern_json_schema())


@given(patterns)
def test_what_is_a_pattern_is_valid_by_the_schema(document):
    SCHEMA.validate(document)


@pytest.mark.parametrize("element", [each[0] for each in ELEMENTS], ids=json.dumps)
def test_each_element_is_valid_by_the_schema(element):
    SCHEMA.validate({"f": [element]})


@pytest.mark.parametrize(
    "document",
    [document for document, _, reason in INVALID if reason not in UNSAID],
    ids=lambda each: str(each)[:60],
)
def test_what_is_no_pattern_is_invalid_by_the_schema(document):
    assert not SCHEMA.is_valid(document)
