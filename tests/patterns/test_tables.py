"""Tables of operands in an index."""

import pytest
from support.pattern_elements import ELEMENTS
from support.pattern_samples import index_of

from edr.patterns.language import Pattern


@pytest.mark.parametrize("number", range(len(ELEMENTS)), ids=lambda at: repr(ELEMENTS[at][0]))
def test_an_element_accepts_in_an_index_of_all_what_it_accepts_alone(number):
    index = index_of(*({"f": [each]} for each, _, _ in ELEMENTS))
    _, accepted, refused = ELEMENTS[number]

    for value in accepted:
        assert number in index.match({"f": value})
    for value in refused:
        assert number not in index.match({"f": value})


def test_true_is_not_one_in_any_table():
    index = index_of({"a": [True]}, {"a": [1]}, {"a": [False]}, {"a": [0.0]}, {"a": [None]})

    assert [index.match({"a": each}) for each in (True, 1, 1.0, False, 0, None)] == [
        [0], [1], [1], [2], [3], [4],
    ]  # fmt: skip


@pytest.mark.slow
def test_ten_thousand_elements_are_stored_once_for_all_that_ask_for_them():
    ids = list(range(9_999))
    index = index_of(*({"id": ids, "n": [{"anything-but": number}]} for number in range(100)))

    place = index._root.children["id"]
    assert len(place.accesses) == 1
    assert len(index.match({"id": 9_998, "n": 5})) == 99


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
