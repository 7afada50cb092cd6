"""Errors suggest the operator that was probably meant."""

import pytest
from support.pattern_samples import refusal


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"s": [{"contains": "x"}]}, 'write {"wildcard": "*text*"}'),
        ({"s": [{"regex": "x.*"}]}, "regular expressions are not supported"),
        ({"s": [{"anything_but": "x"}]}, "did you mean 'anything-but'?"),
        ({"s": [{"prefx": "x"}]}, "did you mean 'prefix'?"),
        ({"s": [{"starts-with": "x"}]}, 'write {"prefix": "text"}'),
        ({"n": [{">": 5}]}, "there are anything-but, cidr"),
        ({"n": [{"gte": 5}]}, 'write {"numeric": [">=", 5]}'),
        ({"n": [{"numeric": ["==", 5]}]}, "must be one of =, <, <=, > and >=, got '=='"),
        ({"$and": [{"a": [1]}]}, "$or is the only operator next to fields"),
        ({"s": "paused"}, 'write ["paused"]'),
        ({"s": 5}, "write [5]"),
        ({"s": True}, "write [true]"),
        ({"s": None}, "write [null]"),
        ({"s": {"prefix": "x"}}, 'write [{"prefix": "x"}]'),
        ({"s": {"prefix": "x"}}, "body.s.prefix"),
        ({"s": [{"anything-but": {"contains": "x"}}]}, 'write {"wildcard": "*text*"}'),
    ],
    ids=str,
)
def test_an_error_says_what_was_probably_meant(document, said):
    assert said in refusal(document)
