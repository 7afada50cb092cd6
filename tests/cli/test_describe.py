import pytest

import edr
from edr.cli.describe import describe, describe_briefly
from edr.cli.filters import FilterFlags


def flags(**given):
    return FilterFlags(**given).documents()


@pytest.mark.parametrize(
    ("given", "phrase"),
    [
        ({}, "verbosity info+"),
        ({"severity": "warning", "app": ("acdc",)}, "severity warning+, verbosity info+, app acdc"),
        ({"severity": "=ok", "verbosity": "=debug"}, "severity ok, verbosity debug"),
        ({"severity": "ok,critical", "verbosity": "trace"}, "severity ok,critical"),
        ({"severity": "critical"}, "severity critical, verbosity info+"),
        ({"verbosity": "trace"}, "every event"),
        ({"verbosity": "trace", "account": ("a,b",), "below": True}, "account a,b and below"),
    ],
)
def test_flags_are_described(given, phrase):
    assert describe(flags(**given)) == phrase


@pytest.mark.parametrize(
    "condition",
    ["status=paused", "n=30", "n>30", "n<=3", "name~a*z", "call_id?", "queue.id=q7", "s!=a", "b="],
)
def test_condition_is_written_as_the_flag(condition):
    document = flags(verbosity="trace", body=(condition,))

    assert describe(document) == condition


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ({"a": ["x", "y"]}, "a=x|y"),
        ({"a": [{"prefix": "x*"}, {"suffix": "y"}]}, r"a~x\**|*y"),
        ({"a": [{"numeric": [">", 3, "<=", 5]}]}, "a>3 a<=5"),
        ({"a": [{"exists": False}]}, "no a"),
        ({"a": {"b": [{"cidr": "10.0.0.0/8"}]}}, '{"a":{"b":[{"cidr":"10.0.0.0/8"}]}}'),
        ({"a": ["x", {"prefix": "y"}]}, '{"a":["x",{"prefix":"y"}]}'),
        ({"a": [{"anything-but": {"prefix": "y"}}]}, '{"a":[{"anything-but":{"prefix":"y"}}]}'),
        (
            {"a": {"$or": [{"b": [1]}, {"c": [2]}]}},
            '{"a":{"$or":[{"b":[1]},{"c":[2]}]}}',
        ),
    ],
)
def test_pattern_is_described(pattern, text):
    document = edr.Binding(verbosity="trace", body=pattern).model_dump(mode="json")

    assert describe([document]) == text


def test_dot_in_a_name_is_escaped_as_in_the_flag():
    assert describe([{"verbosity": "trace", "body": {"a.b": [1]}}]) == r"a\.b=1"


@pytest.mark.parametrize(
    "document",
    [
        {"body": {"a": "x"}},
        {"body": {"a": [{}]}},
        {"body": {"a": []}},
        {"body": {"a": [{"numeric": 5}, {"numeric": [">"]}]}},
        {"body": {"a": [{"numeric": [">"]}]}},
        {"body": {"a": [[1], {"wildcard": 3}]}},
        {"body": 5},
        {"app_name": 5, "account_id": [None], "severity": [3], "verbosity": {"a": 1}},
    ],
)
def test_document_that_is_not_valid_is_described(document):
    assert describe([document])
    assert describe_briefly([document])


def test_complete_document_is_described_as_the_sparse_one():
    sparse = flags(severity="warning", app=("a",), body=("n>3",))
    complete = [each.model_dump(mode="json") for each in edr.bindings_from_json(sparse)]

    assert describe(complete) == describe(sparse)
    assert describe_briefly(complete) == describe_briefly(sparse) == "a warning+ n>3"


def test_several_bindings_are_alternatives():
    bindings = [{"app_name": "a"}, {"app_name": "b"}, {"app_name": "a"}]

    assert describe(bindings) == "verbosity info+, app a; or verbosity info+, app b"
    assert describe_briefly(bindings) == "a | b"


@pytest.mark.parametrize(
    ("given", "phrase"),
    [
        ({}, "info+"),
        ({"verbosity": "trace"}, "every event"),
        ({"severity": "critical"}, "critical"),
        ({"app": ("acdc",), "body": ("queue.id=q9",)}, "acdc queue.id=q9"),
        ({"account": ("r",), "below": True, "verbosity": "warn"}, "warn+ account=r/*"),
    ],
)
def test_brief_description_leaves_defaults_out(given, phrase):
    assert describe_briefly(flags(**given)) == phrase
