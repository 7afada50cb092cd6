"""How a document is refused: early, briefly, and with what was probably meant."""

import ipaddress
import json
import sys
import tracemalloc
from time import thread_time

import pytest

from edr.errors import InvalidBindingError
from edr.patterns import Limits, Pattern
from edr.patterns.cost import merged, work
from edr.patterns.operands import block_of
from edr.patterns.parser import parse


def refusal(document, **options):
    with pytest.raises(InvalidBindingError) as caught:
        Pattern(document, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"s": [{"contains": "x"}]}, 'write {"wildcard": "*text*"}'),
        ({"s": [{"regex": "x.*"}]}, "there are no regular expressions"),
        ({"s": [{"anything_but": "x"}]}, "did you mean 'anything-but'?"),
        ({"s": [{"prefx": "x"}]}, "did you mean 'prefix'?"),
        ({"s": [{"starts-with": "x"}]}, 'write {"prefix": "text"}'),
        ({"n": [{">": 5}]}, "there are anything-but, cidr"),
        ({"n": [{"gte": 5}]}, 'write {"numeric": [">=", 5]}'),
        ({"n": [{"numeric": ["==", 5]}]}, "must be one of =, <, <=, > and >=, not '=='"),
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


@pytest.mark.parametrize(
    "document",
    [
        {"a": [{"x" * 10**6: 1}]},
        {"x" * 10**6: []},
        {"x" * 10**6: "y" * 10**6},
        {"a": [{"numeric": ["=" * 10**6, 1]}]},
        {"a": [{"prefix": {"y" * 10**6: "x"}}]},
        {"a": [{"wildcard": "\\" + "y" * 10**6}]},
        {"a": "y" * 10**6},
        {"a": [{"numeric": ["=", 10**4000]}]},
    ],
    ids=range(8),
)
def test_a_message_has_a_longest_length(document):
    assert len(refusal(document)) < 1_000


def test_the_path_of_a_deep_fault_is_cut_in_the_middle():
    document = ["x", {}]
    for number in range(60):
        document = {f"a_rather_long_name_{number}": document}

    message = refusal(document)

    assert len(message) < 1_000
    assert message.startswith("body.a_rather_long_name_59")
    assert "…" in message
    assert ".a_rather_long_name_0[1]" in message


def test_what_is_too_large_is_refused_before_it_is_read():
    documents = [
        {f"f{number}": [1] for number in range(10**5)},
        {"$or": [{"a": [number]} for number in range(10**5)]},
        {"a": ["x"] * 10**6},
        {"a": [{"anything-but": ["x"] * 10**6}]},
    ]
    tracemalloc.start()
    try:
        for document in documents:
            before, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            refusal(document)
            _, peak = tracemalloc.get_traced_memory()
            assert peak - before < 200_000
    finally:
        tracemalloc.stop()


def test_a_wildcard_is_read_in_linear_time():
    limits = Limits(max_affix_length=10**7, max_characters=10**7)

    def seconds(size):
        start = thread_time()
        Pattern({"a": [{"wildcard": "x*" + "y" * size}]}, limits=limits)
        return thread_time() - start

    assert min(seconds(1_000_000) for _ in range(3)) < 30 * min(seconds(100_000) for _ in range(3))


def test_integers_that_all_have_one_hash_are_refused():
    colliding = [number * (2**61 - 1) for number in range(1, 100)]

    assert "no body can hold" in refusal({"x": colliding})
    assert "no body can hold" in refusal({"x": [{"anything-but": colliding}]})
    assert "no body can hold" in refusal({"x": [{"numeric": [">", 2**64]}]})


def test_blocks_of_addresses_that_are_one_hash_as_integers_have_hashes_of_their_own():
    addresses = [ipaddress.IPv6Address(number * (2**61 - 1)) for number in range(1, 200)]
    blocks = {block_of(f"{each}/128", ()) for each in addresses}

    assert len(set(map(hash, map(int, addresses)))) == 1
    assert len(set(map(hash, blocks))) == len(addresses)


def test_a_pattern_as_deep_as_allowed_matches_in_a_stack_that_is_half_full():
    document, body = ["x"], "x"
    for _ in range(Limits().max_depth):
        document, body = {"a": document}, {"a": body}

    def deep(frames):
        return Pattern(document).matches(body) if not frames else deep(frames - 1)

    assert deep(sys.getrecursionlimit() // 2)


# The cost of one value -----------------------------------------------------------------------


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


def test_the_limits_for_the_unknown_are_stricter_in_all():
    default, untrusted = Limits(), Limits.untrusted()

    assert all(getattr(untrusted, each) < getattr(default, each) for each in Limits.__slots__)
