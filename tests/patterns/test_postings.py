"""A value costs the patterns that accept it, not those that except it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.pattern_remains import assert_nothing_remains

from edr.patterns.index import PatternIndex
from edr.patterns.language import Pattern
from edr.patterns.postings import PresentTable


class Looked:
    """An entry that counts how often any is looked at."""

    times = 0

    def __len__(self):
        return 1

    def __hash__(self):
        Looked.times += 1
        return id(self)


def looks(leaves, value):
    """How many are found for a value, and how often an entry is looked at for it."""
    table = PresentTable()
    for leaf in leaves:
        table.add(leaf, Looked())
    before = Looked.times
    found = table.probe(value)
    return len(found), Looked.times - before


def leaf_of(excepted):
    ((_, leaf),) = Pattern({"f": [{"anything-but": excepted}]}).merged.fields
    return leaf


@pytest.mark.parametrize(
    "excepted",
    [
        lambda n: ["paused", f"q{n}"],
        lambda n: [f"q{n}", *(f"status {each}" for each in range(10)), "paused"],
        lambda n: {"prefix": ["pau", f"q{n}"]},
        lambda n: {"suffix": ["sed", f"q{n}"]},
        lambda n: {"equals-ignore-case": ["PAUSED", f"q{n}"]},
    ],
)
def test_a_value_that_all_except_looks_at_none_of_them(excepted):
    leaves = [leaf_of(excepted(n)) for n in range(1_000)]

    found, looked = looks(leaves, "paused")

    assert found == 0
    assert looked < 10


def test_those_that_except_something_else_are_found():
    leaves = [leaf_of(["paused" if n % 2 else "wrapup", f"q{n}"]) for n in range(1_000)]

    assert looks(leaves, "paused")[0] == 500
    assert looks(leaves, "q7")[0] == 999
    assert looks(leaves, 5)[0] == 1_000


WORDS = st.sampled_from(["a", "ab", "b", "ba", "c"])
SEVERAL = st.lists(WORDS, min_size=1, max_size=4, unique=True)
EXCEPTED = st.one_of(
    SEVERAL,
    st.lists(st.sampled_from([0, 1, 2]), min_size=1, max_size=3, unique=True),
    st.builds(
        lambda kind, words: {kind: words},
        st.sampled_from(["prefix", "suffix", "equals-ignore-case", "wildcard"]),
        SEVERAL,
    ),
)
SCALARS = st.sampled_from(["a", "A", "ab", "b", "ba", "c", "d", 0, 1, 2, 3, True, None])
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=5), st.lists(SCALARS).map(lambda s: [s]))


@given(st.lists(EXCEPTED, max_size=12), st.lists(VALUES, min_size=1, max_size=5), st.randoms())
def test_anything_but_agrees_in_an_index_that_changes(excepted, values, random):
    patterns = [Pattern({"f": [{"anything-but": each}]}) for each in excepted]
    index = PatternIndex()
    for number, pattern in enumerate(patterns):
        index.add(pattern, number)
    held = dict(enumerate(patterns))
    while held:
        for value in values:
            body = {"f": value}
            alone = [number for number, each in held.items() if each.matches(body)]
            assert sorted(index.match(body)) == alone
        number = random.choice(list(held))
        index.remove(held.pop(number), number)
    assert_nothing_remains(index)


def test_a_table_is_empty_after_all_is_removed():
    table = PresentTable()
    leaves = [leaf_of(["paused", "wrapup", f"q{n}"]) for n in range(100)]
    entries = [Looked() for _ in leaves]
    for leaf, entry in zip(leaves, entries, strict=True):
        table.add(leaf, entry)

    for leaf, entry in zip(leaves, entries, strict=True):
        table.discard(leaf, entry)

    assert not table
    assert not table._refusing
