"""What the index promises beyond agreeing with each pattern alone."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.pattern_elements import ELEMENTS
from support.pattern_remains import assert_nothing_remains

import edr.patterns.index
import edr.patterns.nodes
from edr.patterns.addresses import address_of
from edr.patterns.index import PatternIndex
from edr.patterns.language import Pattern
from edr.patterns.scalar_set import Wildcard


def index_of(*documents):
    """Return an index of patterns with their positions as values."""
    index = PatternIndex()
    for number, document in enumerate(documents):
        index.add(Pattern(document), number)
    return index


@pytest.fixture
def tested(monkeypatch):
    """Count the candidates' other conditions that are tested."""
    counts = []
    of_condition = edr.patterns.nodes.Condition.__init__

    def counting(self, text, fields):
        of_condition(self, text, fields)
        test = self.test
        self.test = lambda body: (counts.append(text), test(body))[1]

    monkeypatch.setattr(edr.patterns.nodes.Condition, "__init__", counting)
    return counts


def test_an_empty_index_matches_nothing():
    index = PatternIndex()

    assert index.match({"a": 1}) == []
    assert not index
    assert len(index) == 0


@pytest.mark.parametrize("number", range(len(ELEMENTS)), ids=lambda at: repr(ELEMENTS[at][0]))
def test_an_element_accepts_in_an_index_of_all_what_it_accepts_alone(number):
    index = index_of(*({"f": [each]} for each, _, _ in ELEMENTS))
    _, accepted, refused = ELEMENTS[number]

    for value in accepted:
        assert number in index.match({"f": value})
    for value in refused:
        assert number not in index.match({"f": value})


def test_the_values_of_all_patterns_that_match_are_found():
    index = index_of({"a": [1]}, {"a": [2]}, {"b": [1]}, {"a": [1], "b": [2]})

    assert sorted(index.match({"a": 1, "b": 1})) == [0, 2]
    assert sorted(index.match({"a": 1, "b": 2})) == [0, 3]


def test_a_value_under_several_patterns_is_found_once():
    index = PatternIndex()
    index.add(Pattern({"a": [1]}), "it")
    index.add(Pattern({"b": [1]}), "it")
    index.add(Pattern({"$or": [{"a": [1, {"numeric": ["<", 2]}]}, {"b": [1]}]}), "it")

    assert index.match({"a": [1, 1, 0], "b": 1}) == ["it"]
    assert len(index) == 3


def test_a_pattern_may_have_several_values():
    index = PatternIndex()
    index.add(Pattern({"a": [1]}), "x")
    index.add(Pattern({"a": [1.0]}), "y")
    index.remove(Pattern({"a": [1]}), "x")

    assert index.match({"a": 1}) == ["y"]


def test_a_pair_is_there_once_however_often_it_is_added():
    index = PatternIndex()
    index.add(Pattern({"a": [1]}), "x")
    index.add(Pattern({"a": [1]}), "x")
    assert len(index) == 1
    index.remove(Pattern({"a": [1]}), "x")

    assert_nothing_remains(index)


def test_removing_what_is_not_there_changes_nothing():
    index = PatternIndex()
    index.add(Pattern({"a": [1]}), "x")

    with pytest.raises(KeyError):
        index.remove(Pattern({"a": [1]}), "y")
    with pytest.raises(KeyError):
        index.remove(Pattern({"a": [2]}), "x")

    assert index.match({"a": 1}) == ["x"]
    assert len(index) == 1


def test_after_removing_all_nothing_remains():
    documents = [{"f": {"g": [element]}, "h": [1]} for element, _, _ in ELEMENTS]
    documents += [
        {"$or": [{"f": [element]}, {"h": {"i": [element]}}]} for element, _, _ in ELEMENTS
    ]
    index = index_of(*documents)

    for number, document in enumerate(documents):
        index.remove(Pattern(document), number)

    assert_nothing_remains(index)


def test_objects_in_arrays_satisfy_all_or_none():
    index = index_of(
        {"calls": {"a": [1], "b": [2]}},
        {"calls": {"a": [1], "legs": {"to": ["x"], "from": ["y"]}}, "c": [1]},
        {"calls": {"a": [1], "b": [{"exists": False}]}},
    )

    assert index.match({"calls": [{"a": 1, "b": 2}]}) == [0]
    assert index.match({"calls": [{"a": 1, "b": 3}, {"b": 2}]}) == []
    assert index.match({"calls": [{"a": 1}, {"b": 2}]}) == [2]
    split = {"c": 1, "calls": [{"a": 1, "b": 0, "legs": [{"to": "x"}, {"from": "y"}]}]}
    joint = {"c": 1, "calls": [{"a": 1, "b": 0, "legs": [{"to": "x", "from": "y"}]}]}
    assert index.match(split) == []
    assert index.match(joint) == [1]


def test_absence_is_found_at_any_depth():
    index = index_of({"a": {"b": {"c": [{"exists": False}]}}})

    for body in ({}, {"a": 1}, {"a": []}, {"a": [{}]}, {"a": {"b": [{"c": 1}, {}]}}):
        assert index.match(body) == [0], body
    assert index.match({"a": {"b": [{"c": 1}]}}) == []


def test_what_an_object_without_anything_is_asked_changes_with_the_patterns():
    index = PatternIndex()
    deep = Pattern({"a": {"b": {"c": {"d": [{"exists": False}]}}, "z": [{"exists": False}]}})
    near = Pattern({"a": {"b": [{"exists": False}]}})
    empty = {"a": [{}, {"x": 1}]}
    expected = set()
    for change, pattern in [
        (index.add, deep), (index.add, near), (index.remove, deep), (index.add, deep),
        (index.remove, near), (index.remove, deep),
    ]:  # fmt: skip
        change(pattern, pattern)
        expected ^= {pattern}
        assert set(index.match(empty)) == expected


def test_the_way_to_what_is_absent_is_not_gone_for_each_object(monkeypatch):
    def nested(depth, leaf):
        return {"a": nested(depth - 1, leaf)} if depth else leaf

    calls = []
    visit = edr.patterns.index._visit
    monkeypatch.setattr(
        "edr.patterns.index._visit", lambda *given: (calls.append(1), visit(*given))
    )
    index = index_of({"x": nested(60, [{"exists": False}]), "y": [{"exists": False}]})

    assert index.match({"x": [{"a": [{"z": 0}] * 6}] * 30, "y": 1}) == []
    assert len(calls) == 1 + 30 + 180
    assert index.match({"x": [{"a": [{"z": 0}] * 6}] * 30}) == [0]


def test_true_is_not_one_in_any_table():
    index = index_of({"a": [True]}, {"a": [1]}, {"a": [False]}, {"a": [0.0]}, {"a": [None]})

    assert [index.match({"a": each}) for each in (True, 1, 1.0, False, 0, None)] == [
        [0], [1], [1], [2], [3], [4],
    ]  # fmt: skip


def test_numbers_at_the_edge_of_floats_are_told_apart():
    index = index_of(
        {"n": [{"numeric": [">", 2**53, "<", 2**53 + 2]}]},
        {"n": [{"numeric": [">=", 2**53 + 1]}]},
        {"n": [{"numeric": ["<", -(2.0**1023)]}]},
        {"n": [{"numeric": ["<", 1.79e308]}]},
        {"n": [{"numeric": [">", -5e-324, "<", 5e-324]}]},
    )

    assert sorted(index.match({"n": 2**53})) == [3]
    assert sorted(index.match({"n": 2**53 + 1})) == [0, 1, 3]
    assert sorted(index.match({"n": float(2**53)})) == [3]
    assert sorted(index.match({"n": -1.7e308})) == [2, 3]
    assert sorted(index.match({"n": -0.0})) == [3, 4]


@pytest.mark.parametrize("count", [3, 100])
def test_wildcards_are_found_by_few_and_by_many_literals(count):
    index = index_of(*({"a": [{"wildcard": f"*-{number}-*x*"}]} for number in range(count)))

    assert index.match({"a": "order-2-x"}) == [2]
    assert index.match({"a": "a long text that names -1-, and only then an x"}) == [1]
    assert index.match({"a": "x-2"}) == []


@pytest.mark.slow
def test_thousands_of_ranges_are_found_and_removed_in_any_order():
    documents = [{"n": [{"numeric": [">=", 2 * k, "<", 2 * k + 3]}]} for k in range(3_000)]
    index = index_of(*documents)

    assert sorted(index.match({"n": 3_000})) == [1_499, 1_500]
    assert sorted(index.match({"n": 3_001})) == [1_500]
    for number in sorted(range(3_000), key=lambda k: (k * 7919) % 3_000):
        if number != 1_500:
            index.remove(Pattern(documents[number]), number)
    assert index.match({"n": 3_000}) == [1_500]
    index.remove(Pattern(documents[1_500]), 1_500)
    assert_nothing_remains(index)


# What is not done -----------------------------------------------------------------------------


def test_patterns_that_share_a_field_are_not_candidates_for_it(tested):
    index = index_of(*({"type": ["order"], "id": [number]} for number in range(1_000)))

    assert index.match({"type": "order", "id": 7}) == [7]

    # The first of all had no shorter list than that of its type, so it is a candidate, too.
    assert tested == ['{"id":[0]}', '{"type":["order"]}']


def test_a_condition_of_many_candidates_is_tested_once(tested):
    index = index_of(*({"id": [number % 2], "n": {"x": [1]}, "m": [number]} for number in range(9)))
    tested.clear()

    index.match({"id": 1, "n": {"x": 1}, "m": [1, 2, 3, 4, 5, 6, 7, 8]})

    assert tested.count('{"n":{"x":[1]}}') == 1


def test_a_condition_outside_of_an_array_is_tested_once_for_all_its_objects(tested):
    index = index_of({"calls": {"id": [1]}, "tags": ["x"]})
    tested.clear()

    index.match({"calls": [{"id": 1}] * 1_000, "tags": ["y"] * 1_000})

    assert len(tested) == 1


def test_an_anything_but_is_no_access_predicate_where_a_value_is_asked_for(tested):
    documents = [
        {"a": [{"anything-but": number}], "b": [{"exists": False}], "type": ["order"]}
        for number in range(1_000)
    ]
    index = index_of(*documents)

    assert index.match({"a": 5_000, "type": "invoice"}) == []

    assert tested == []


def test_removing_makes_room_in_the_posting_lists():
    index = index_of({"type": ["order"]}, {"type": ["order"], "status": ["new"]})
    (place,) = (index._root.children[name] for name in ("status",))
    assert len(place.accesses) == 1

    index.remove(Pattern({"type": ["order"], "status": ["new"]}), 1)

    assert "status" not in index._root.children


# Hostile patterns and bodies: bounded by counts, not by the clock --------------------------------


def test_wildcards_never_backtrack():
    class Text(str):
        __slots__ = ()
        finds = 0

        def find(self, *args):
            Text.finds += 1
            return super().find(*args)

    pieces = ("", *"a" * 62, "b", "")

    assert not Wildcard(pieces).test()(Text("b" + "a" * 400))
    assert Text.finds == 63


def test_an_or_takes_as_many_access_predicates_as_it_has_leaves():
    alternatives = {"$or": [{"a": [1]}, {"b": [1]}]}
    index = index_of({f"f{number}": alternatives for number in range(9)})

    (entry,) = index._entries.values()
    assert len(entry.conjunctions) == 2
    assert index.match({f"f{number}": {"b": 1} for number in range(9)}) == [0]


@pytest.mark.slow
def test_ten_thousand_elements_are_stored_once_for_all_that_ask_for_them():
    ids = list(range(9_999))
    index = index_of(*({"id": ids, "n": [{"anything-but": number}]} for number in range(100)))

    place = index._root.children["id"]
    assert len(place.accesses) == 1
    assert len(index.match({"id": 9_998, "n": 5})) == 99


def test_the_empty_objects_of_an_array_are_looked_up_once(tested):
    index = index_of({"a": {"b": [{"exists": False}], "c": [{"exists": False}]}})

    assert index.match({"a": [{}] * 1_000}) == [0]

    assert len(tested) == 1


# The index never becomes a list: counted by steps, not by the clock -------------------------------


def candidates(index, body):
    """How many patterns a body meets by their access predicates alone."""
    tried = []
    of_try = edr.patterns.index._try

    def counting(accesses, match):
        accesses = list(accesses)
        tried.extend(each for access in accesses for each in access.conjunctions)
        of_try(accesses, match)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(edr.patterns.index, "_try", counting)
        index.match(body)
    return len(tried)


@pytest.mark.parametrize(
    ("make", "body"),
    [
        (lambda n: {"numeric": [">=", n + 10]}, 5),
        (lambda n: {"numeric": [">=", 0, "<", 5 - n / 1_000]}, 5),
        (lambda n: {"numeric": [">", n, "<=", n + 1]}, 700.5),
        (lambda n: {"numeric": ["<", -n]}, 5),
        (lambda n: {"wildcard": f"*order-created-{n:06}*"}, "an order-created-000700 here"),
        (lambda n: {"wildcard": f"*-{n:06}-order-created*"}, "an x-000700-order-created"),
        (lambda n: {"wildcard": f"or*{n:06}"}, "order-000700"),
        (lambda n: {"prefix": f"/tenants/{n:06}/"}, "/tenants/000700/x"),
        (lambda n: {"suffix": {"equals-ignore-case": f".{n:06}.DE"}}, "x.000700.de"),
        (lambda n: {"cidr": f"10.{n // 256}.{n % 256}.0/24"}, "10.1.7.3"),
    ],
    ids=range(10),
)
def test_a_common_type_beside_it_makes_no_list_of_a_rare_condition(make, body):
    index = index_of(*({"type": ["order"], "x": [make(n)]} for n in range(1_000)))

    # A few were added before anything was known of how many ask for the same.
    assert candidates(index, {"type": "order", "x": body}) <= 20


@pytest.mark.parametrize(
    ("shared", "value"),
    [
        ({"wildcard": "*-created*in*"}, "order-created 7 in 5 ms"),
        ({"wildcard": "order*ms"}, "order 7 ms"),
        ({"prefix": "order"}, "order 7"),
        ({"numeric": [">", 1]}, 5),
        ({"numeric": [">", 1, "<", 90]}, 5),
        ({"cidr": "10.0.0.0/8"}, "10.1.2.3"),
    ],
    ids=str,
)
def test_a_condition_that_many_share_is_not_the_access_of_a_type(shared, value):
    index = index_of(*({"type": [f"t{n % 50}"], "x": [shared, f"own-{n}"]} for n in range(1_000)))

    assert len(index.match({"type": "t0", "x": value})) == 20
    assert candidates(index, {"type": "t0", "x": value}) < 100


def test_a_type_of_its_own_is_better_than_a_range_that_nearly_all_share():
    index = index_of(
        *({"type": [f"t{n}"], "x": [{"numeric": [">=", 0, "<", n + 1_000]}]} for n in range(1_000))
    )

    assert index.match({"type": "t7", "x": 5}) == [7]
    assert candidates(index, {"type": "t7", "x": 5}) <= 5


@pytest.mark.parametrize("operator", ["prefix", "suffix", "equals-ignore-case", "wildcard"])
def test_what_an_anything_but_excepts_is_looked_up_and_not_tried(operator, monkeypatch):
    text = {"prefix": "{}-", "suffix": "-{}", "equals-ignore-case": "{}", "wildcard": "x*{}*x"}[
        operator
    ]
    index = index_of(*({"s": [{"anything-but": {operator: text.format(n)}}]} for n in range(1_000)))
    monkeypatch.setattr("edr.patterns.field_matcher.FieldMatcher.test", None)  # none is compiled

    body = {"prefix": "7-x", "suffix": "x-7", "equals-ignore-case": "7", "wildcard": "xx7xx"}[
        operator
    ]
    found = index.match({"s": body})

    assert sorted(found) == [n for n in range(1_000) if n != 7]


@pytest.mark.slow
def test_a_dict_that_was_large_gives_its_room_back():
    count = 1_000
    documents = [{"f": [n], "g": [{"anything-but": n}], f"h{n}": [1]} for n in range(count)]
    documents += [{"s": [{"anything-but": n}]} for n in range(count)]
    documents += [{"t": [{"wildcard": f"*{n}*x*"}]} for n in range(count)]
    documents += [{"u": [{"numeric": [">", n]}]} for n in range(count)]
    documents += [{f"v{n}": [{"exists": False}]} for n in range(count)]
    index = index_of(*documents)
    for number, document in enumerate(documents):
        if number % count:
            index.remove(Pattern(document), number)

    for table in dicts_in(index):
        assert table.__sizeof__() < 10_000 + 1_000 * len(table)


def dicts_in(thing, seen=None):
    """All dicts that a structure of slots holds."""
    seen = {} if seen is None else seen
    if id(thing) in seen or isinstance(thing, str | int | float | Pattern | type(lambda: 0)):
        return
    seen[id(thing)] = thing
    if isinstance(thing, dict):
        yield thing
        parts = [*thing.values(), *thing]
    elif isinstance(thing, list | tuple):
        parts = thing
    else:
        slots = {slot for kind in type(thing).__mro__ for slot in getattr(kind, "__slots__", ())}
        parts = [getattr(thing, slot) for slot in slots if hasattr(thing, slot)]
    for part in parts:
        yield from dicts_in(part, seen)


def test_a_value_that_cannot_be_hashed_leaves_nothing_behind():
    index = PatternIndex()

    with pytest.raises(TypeError):
        index.add(Pattern({"a": [1]}), [])

    assert_nothing_remains(index)


def test_addresses_are_recognised_as_by_the_standard_library():
    for text in (
        "1.2.3.4", "1.2.3", "1.2.3.4.5", "01.2.3.4", "256.1.1", "1.2.3.-4", "1.2.3.\u0664", "1..2",
        "::", ":::", "::1", "1::2::3", "::1.2.3.4", "::1.2.3", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7::", "::ffff:1.2.3.4", "fe80::1%eth0", "12345::", "g::", "a:b", "", "::\0",
        "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:7:1.2.3.4", " ::1", "::01.2.3.4",
    ):  # fmt: skip
        try:
            expected = ipaddress.ip_address(text).packed if "%" not in text else None
        except ValueError:
            expected = None
        assert address_of(text) == expected, text


@given(st.text("0123456789abcdef:.", max_size=24) | st.ip_addresses().map(str))
def test_any_address_is_recognised_as_by_the_standard_library(text):
    try:
        expected = ipaddress.ip_address(text).packed
    except ValueError:
        expected = None

    assert address_of(text) == expected
