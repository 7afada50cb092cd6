"""How a document is refused: early, briefly, and with what was probably meant."""

import sys
import tracemalloc

import pytest
from support.pattern_samples import refusal

from edr.patterns import Limits, Pattern


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


def test_a_pattern_as_deep_as_allowed_matches_in_a_stack_that_is_half_full():
    document, body = ["x"], "x"
    for _ in range(Limits().max_depth):
        document, body = {"a": document}, {"a": body}

    def deep(frames):
        return Pattern(document).matches(body) if not frames else deep(frames - 1)

    assert deep(sys.getrecursionlimit() // 2)


# The cost of one value -----------------------------------------------------------------------
