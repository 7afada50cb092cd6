"""The cost of a pattern for one value of a body, and how merging lowers it."""

import json

import pytest

from edr.errors import InvalidBindingError
from edr.patterns import Limits, Pattern
from edr.patterns.cost import merged, work
from edr.patterns.parser import parse


def test_members_of_an_or_with_one_field_cost_one_look_up():
    limits = Limits(max_cost=2)
    for element in (
        {"equals-ignore-case": "x{}"},
        {"cidr": "{}.0.0.0/8"},
        {"prefix": "x{:3}"},
        "{}",
    ):
        text = json.dumps(element).replace("{}", "{0}")
        elements = [
            json.loads(text.replace("{0}", str(n)).replace("{:3}", f"{n:03}")) for n in range(100)
        ]
        flat = {"$or": [{"x": [each]} for each in elements]}
        below = {"$or": [{"y": {"x": [each]}} for each in elements]}
        assert Pattern(flat, limits=limits)
        assert Pattern(below, limits=limits)


def test_a_merged_pattern_asks_once_for_what_its_members_ask():
    root, simple = parse(
        {"a": [1], "$or": [{"b": [1]}, {"b": [2]}, {"$or": [{"b": [3]}, {"b": [4]}]}]}, Limits()
    )

    assert merged(root) == simple
    assert not simple.alternatives
    (_, leaf) = simple.fields[1]
    assert leaf.values.numbers == {1, 2, 3, 4}


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        (["a", 1, None, {"exists": True}], 1),
        ([{"equals-ignore-case": "a"}, {"equals-ignore-case": "b"}], 1),
        ([{"prefix": "a"}], 2),
        ([{"prefix": f"{n:03}"} for n in range(100)], 2),
        ([{"prefix": "a" * n} for n in range(8)], 2),
        ([{"suffix": "a" * n} for n in range(9)], 3),
        ([{"wildcard": f"*{n}*x"} for n in range(3)], 2),
        ([{"wildcard": f"*{n}*x"} for n in range(4)], 3),
        ([{"cidr": f"{n}.0.0.0/8"} for n in range(100)], 2),
        ([{"cidr": f"10.0.0.0/{8 * n}"} for n in range(3)] + [{"cidr": "::/1"}], 2),
        ([{"cidr": f"10.0.0.0/{n}"} for n in range(4)], 3),
        ([{"numeric": ["<", n]} for n in range(3)], 2),
        ([{"anything-but": ["a", "b"]}], 1),
        ([{"anything-but": {"prefix": ["a", "bc"]}}], 2),
        ([{"anything-but": "a"}, {"anything-but": "b"}], 3),
    ],
)
def test_the_cost_of_a_leaf_is_that_of_its_operands(elements, expected):
    assert work(parse({"x": elements}, Limits())[1]) == {("x",): expected}


def test_conditions_of_all_members_of_an_or_count_for_a_field():
    members = [{"a": [n], "b": [{"wildcard": f"*{n}*"}]} for n in range(5)]

    assert work(parse({"$or": members}, Limits())[1]) == {("a",): 2, ("b",): 4}
    assert work(parse({"q": {"$or": members}}, Limits())[1]) == {
        ("q",): 2, ("q", "a"): 2, ("q", "b"): 4,
    }  # fmt: skip


def test_a_cost_above_the_limit_is_refused_with_its_field():
    document = {"a": {"b": [{"wildcard": f"*{n}*"} for n in range(9)]}}

    assert Pattern(document, limits=Limits(max_cost=4))
    with pytest.raises(InvalidBindingError, match=r"body\.a\.b: costs 4 .* Limits\.max_cost = 3"):
        Pattern(document, limits=Limits(max_cost=3))
