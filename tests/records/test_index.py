import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.pattern_strategies import bodies, patterns
from support.strategies import few, some_bindings, some_events

from edr import Binding, BindingIndex, InvalidBindingError, Pattern
from edr.patterns import PatternIndex
from edr.records import KeyIndex, index_keys

LONG = Binding(body={"wait": [{"numeric": [">", 30]}]})
PAUSED = Binding(app_name="agents", body={"status": ["paused"]})

# Few of all bindings match an event, and few of those with a pattern would: these are wide else.
any_bindings = some_bindings() | st.builds(
    Binding, app_name=st.just("*") | few, verbosity=st.just("trace"), body=patterns.map(Pattern)
)


@given(
    st.lists(st.tuples(st.integers(0, 7), st.lists(any_bindings, max_size=3)), max_size=20),
    st.lists(some_events(bodies), min_size=1, max_size=4),
)
def test_agrees_with_binding_matches_under_add_and_remove(steps, events):
    index, stored = BindingIndex(), {}
    for value, bindings in steps:
        if bindings:
            index.add(value, *bindings)
            stored.setdefault(value, []).extend(bindings)
        elif value in stored:
            index.remove(value)
            del stored[value]
        assert list(index) == list(stored)
        for event in events:
            found = index.match(event)
            assert len(found) == len(set(found)), "a value is found once"
            assert set(found) == {
                value for value, own in stored.items() if any(b.matches(event) for b in own)
            }


@given(st.lists(any_bindings, max_size=12), st.randoms())
def test_removing_leaves_nothing_behind(bindings, random):
    index = BindingIndex()
    for value, binding in enumerate(bindings):
        index.add(value, binding, *bindings[: value % 3])
    values = list(index)
    random.shuffle(values)
    for value in values:
        index.remove(value)

    assert len(index) == 0
    assert not index._index
    assert not index._index._patterns


def test_a_value_is_what_a_dict_takes_for_a_key(make_event):
    index, inner, pair = BindingIndex(), PatternIndex(), ("gateway", 7)
    for value in (None, pair, inner, make_event):
        index.add(value, Binding(), PAUSED)
    index.add(("gateway", 7), LONG)

    assert len(index) == 4
    assert inner in index
    assert index.match(make_event(body={"status": "paused"})) == [None, pair, inner, make_event]


def test_what_is_added_later_stands_beside_what_was_there(make_event):
    index = BindingIndex()
    index.add("it", LONG)
    index.add("it", PAUSED, LONG)

    assert index.match(make_event(body={"wait": 31})) == ["it"]
    assert index.match(make_event("agents", body={"status": "paused"})) == ["it"]
    index.remove("it")
    assert index.match(make_event("agents", body={"status": "paused", "wait": 31})) == []


def test_a_wrong_addition_changes_nothing(make_event):
    index = BindingIndex()
    with pytest.raises(InvalidBindingError, match="at least one binding"):
        index.add("it")
    with pytest.raises(InvalidBindingError, match=r"\[1\]: must be an edr.Binding"):
        index.add("it", Binding(), {"severity": "ok"})
    with pytest.raises(TypeError, match="unhashable"):
        index.add([], Binding(), LONG)
    with pytest.raises(KeyError):
        index.remove("it")

    assert len(index) == 0
    assert index.match(make_event(body={"wait": 31})) == []


def test_what_was_found_for_some_fields_holds_for_all_their_events(make_event):
    """One more pattern at a spot that has some makes nothing stale that was found before."""
    spots, event = KeyIndex(), make_event()
    ((first,), (second,)) = index_keys(LONG), index_keys(Binding(body={"n": [1]}))
    assert spots.add(first, "long")
    found = spots.find(event.app_name, event.severity, event.verbosity, None, ())

    assert not spots.add(second, "one")
    assert sorted(found.wanting({"wait": 31, "n": 1})) == ["long", "one"]
    assert not spots.remove(first, "long")
    assert found.wanting({"wait": 31, "n": 1}) == ["one"]
    assert spots.remove(second, "one")
    assert not spots
