"""The index against its oracle: whatever is added and removed, both say the same."""

from collections import Counter

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import naive_pattern as naive
from support.pattern_remains import assert_nothing_remains
from support.pattern_strategies import bodies, patterns

from edr import InvalidBindingError
from edr.patterns.index import PatternIndex
from edr.patterns.language import Pattern

SETTINGS = settings(suppress_health_check=list(HealthCheck))
EXAMPLES = settings.default.max_examples


def is_within_limits(document):
    """Several small pieces may be more than a pattern may have: no fault of its language."""
    try:
        Pattern(document)
    except InvalidBindingError as refusal:
        if "MAX_" in str(refusal):
            return False
        raise
    return True


parsed = patterns.filter(is_within_limits).map(Pattern)


def test_an_index_of_many_says_what_each_pattern_says_alone():
    seen: Counter[bool] = Counter()

    @settings(SETTINGS, max_examples=EXAMPLES)
    @given(
        steps=st.lists(st.tuples(parsed, st.integers(0, 3)), min_size=1, max_size=12),
        removals=st.dictionaries(st.integers(0, 11), st.integers(0, 11), max_size=6),
        events=st.lists(bodies, min_size=1, max_size=4),
    )
    def agree(steps, removals, events):
        index: PatternIndex[int] = PatternIndex()
        stored: dict[tuple[Pattern, int], None] = {}
        for step, (pattern, value) in enumerate(steps):
            index.add(pattern, value)
            stored[pattern, value] = None
            if step in removals:
                gone = list(stored)[removals[step] % len(stored)]
                index.remove(*gone)
                del stored[gone]
            assert len(index) == len(stored)
            for body in events:
                found = index.match(body)
                assert set(found) == {each for (one, each) in stored if one.matches(body)}
                assert len(found) == len(set(found))
        for pattern, value in stored:
            seen.update(pattern.matches(body) for body in events)
            index.remove(pattern, value)
        assert_nothing_remains(index)

    agree()
    share = seen[True] / seen.total()
    print(f"\n{share:.0%} of {seen.total()} drawn pairs of a pattern and a body matched")  # noqa: T201
    assert 0.1 < share < 0.9


@settings(SETTINGS, max_examples=3 * EXAMPLES)
@given(pattern=parsed, body=bodies)
def test_an_index_of_one_and_explain_say_what_the_pattern_says(pattern, body):
    index: PatternIndex[str] = PatternIndex()
    index.add(pattern, "it")

    assert pattern.matches(body) == naive.matches(pattern.document, body)
    assert index.match(body) == (["it"] if pattern.matches(body) else [])
    assert (pattern.explain(body) == ()) == pattern.matches(body)
    assert Pattern(pattern.document) == pattern
