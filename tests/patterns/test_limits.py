"""Limits: each is reached, exceeded, and named in its error."""

import pytest
from support.pattern_samples import nested

from edr.errors import InvalidBindingError
from edr.patterns import Limits, Pattern
from edr.patterns.limits import DEFAULT_LIMITS


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


def test_the_limits_for_the_unknown_are_stricter_in_all():
    default, untrusted = Limits(), Limits.untrusted()

    assert all(getattr(untrusted, each) < getattr(default, each) for each in Limits.__slots__)
