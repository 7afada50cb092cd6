"""Patterns that tests of several modules use."""

import math

import pytest

from edr.errors import InvalidBindingError
from edr.patterns import Pattern
from edr.patterns.index import PatternIndex


def matches(pattern, body):
    """Match, and check that explaining agrees."""
    compiled = Pattern(pattern)
    verdict = compiled.matches(body)
    assert (compiled.explain(body) == ()) is verdict
    return verdict


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


def nested(depth, leaf=("x",)):
    document = list(leaf)
    for _ in range(depth):
        document = {"a": document}
    return document


def refusal(document, **options):
    with pytest.raises(InvalidBindingError) as caught:
        Pattern(document, **options)
    return str(caught.value)


def index_of(*documents):
    """Return an index of patterns with their positions as values."""
    index = PatternIndex()
    for number, document in enumerate(documents):
        index.add(Pattern(document), number)
    return index
