import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.strategies import some_bindings, some_events

from edr import Binding
from edr.records.trie import SubscriptionTrie, bindings_from_keys, trie_keys


def add(trie, spots, value):
    for spot in spots:
        trie.add(spot, value)


def remove(trie, spots, value):
    for spot in spots:
        trie.remove(spot, value)


def match(trie, event):
    return trie.match(
        event.app_name, event.severity, event.verbosity, event.account_id, event.account_tree
    )


@given(
    st.lists(
        st.tuples(st.lists(some_bindings(), min_size=1, max_size=3), st.booleans()), max_size=30
    ),
    st.lists(some_events(), min_size=1, max_size=8),
)
def test_agrees_with_binding_matches_with_removal_interleaved(subscriptions, events):
    trie, stored = SubscriptionTrie(), {}
    for value, (bindings, removed) in enumerate(subscriptions):
        spots = [spot for binding in bindings for spot in trie_keys(binding)]
        add(trie, spots, value)
        stored[value] = (bindings, spots)
        if removed:
            _, spots = stored.pop(value // 2, (None, ()))
            remove(trie, spots, value // 2)

    for event in events:
        wanted = {v for v, (bs, _) in stored.items() if any(b.matches(event) for b in bs)}
        found = match(trie, event)
        assert set(found) == wanted
        assert len(found) == len(wanted), "a value is found once"


def test_random_bindings_match_often_enough_to_test_anything():
    hits = []

    @settings(max_examples=200, derandomize=True)
    @given(some_bindings(), some_events())
    def count(binding, event):
        hits.append(binding.matches(event))

    count()
    assert 0.05 < sum(hits) / len(hits) < 0.6


@given(st.lists(some_bindings(), max_size=20), st.randoms())
def test_removing_leaves_nothing_behind(bindings, random):
    trie = SubscriptionTrie()
    stored = [(trie_keys(binding), value) for value, binding in enumerate(bindings)]
    for spots, value in stored:
        add(trie, spots, value)
    random.shuffle(stored)
    for spots, value in stored:
        remove(trie, spots, value)

    assert not trie
    assert trie._apps == {}
    assert trie._any_app.is_empty()


@pytest.mark.parametrize("count", [1, 8, 9, 100])
def test_many_values_at_one_spot(make_event, count):
    trie, spots = SubscriptionTrie(), trie_keys(Binding())
    for value in range(count):
        add(trie, spots, value)
        add(trie, spots, value)
    assert match(trie, make_event()) == list(range(count))

    for value in range(1, count):
        remove(trie, spots, value)
        remove(trie, spots, value)
    assert match(trie, make_event()) == [0]


def test_a_binding_is_stored_once_per_app_and_account():
    binding = Binding(app_name=["a", "b"], account_id=["x", "y", "z"], severity="ok")

    assert len(trie_keys(binding)) == 6
    assert len(trie_keys(Binding(severity=["ok", "critical"], verbosity=["info", "fatal"]))) == 1


def test_adding_and_removing_touch_only_the_bindings_own_spots():
    trie = SubscriptionTrie()
    for value in range(1000):
        add(trie, trie_keys(Binding(app_name=f"app{value}")), value)
    before = dict(trie._apps)
    own = trie_keys(Binding(app_name="app5", severity="critical"))
    add(trie, own, "own")
    remove(trie, own, "own")

    assert trie._apps == before


def test_a_match_visits_only_its_own_app_and_account(make_event):
    trie = SubscriptionTrie()
    for value in range(1000):
        binding = Binding(app_name=f"app{value % 10}", account_id=f"account{value}")
        add(trie, trie_keys(binding), value)
    asked = []
    for app in trie._apps.values():
        for nodes in app.own.values():
            nodes[0].level_mask = Watched(nodes[0].level_mask)
            nodes[0].level_mask.asked = asked

    assert match(trie, make_event("app7", account_id="account7")) == [7]
    assert len(asked) == 1


class Watched(int):
    def __and__(self, other):
        self.asked.append(other)
        return int(self) & other


@given(
    st.lists(some_bindings(), min_size=1, max_size=3),
    st.lists(some_events(), min_size=1, max_size=5),
)
def test_bindings_at_their_spots_mean_what_was_taken_apart(bindings, events):
    again = bindings_from_keys((spot, each.body) for each in bindings for spot in trie_keys(each))

    for event in events:
        assert any(b.matches(event) for b in again) == any(b.matches(event) for b in bindings)
