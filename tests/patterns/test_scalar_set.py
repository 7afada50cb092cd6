"""Strings and numbers that a set of elements accepts."""

import pytest
from support.pattern_samples import matches

from edr.patterns.index import PatternIndex
from edr.patterns.language import Pattern


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

    for number, expected in BOUNDS[bounds].items():
        for value in (number, float(number), [[number]]):
            assert pattern.matches({"a": value}) is expected
            assert bool(index.match({"a": value})) is expected
