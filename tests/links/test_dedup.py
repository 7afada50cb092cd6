import gc

import pytest

import edr
from edr.links.dedup import WINDOW, DedupWindow, window_of


def event(id, node="a"):
    return edr.Event(
        id=id, node=node, app_name="x", app_version="1", severity="ok", verbosity="info", body={}
    )


def test_an_event_is_new_once():
    seen = DedupWindow()

    assert seen.is_new(event("1"), 1)
    assert not seen.is_new(event("1"), 1)
    assert seen.is_new(event("2"), 1)


def test_one_id_from_two_nodes_is_two_events():
    seen = DedupWindow()

    assert seen.is_new(event("1", node="a"), 1)
    assert seen.is_new(event("1", node="b"), 1)
    assert seen.hops(event("1", node="c")) == 0


@pytest.mark.parametrize(
    ("one", "other"),
    [(("bc", "a"), ("c", "ab")), (("b\0c", "a"), ("c", "a\0b")), (("1:a", "1"), ("a", "11:1"))],
)
def test_node_and_id_are_told_apart(one, other):
    seen = DedupWindow()

    assert seen.is_new(event(*one), 1)
    assert seen.is_new(event(*other), 1)


def test_what_went_out_is_not_new_when_it_comes_back():
    seen = DedupWindow()

    assert seen.hops(event("1")) == 0
    assert not seen.is_new(event("1"), 2)


def test_what_came_in_keeps_its_hops():
    seen = DedupWindow()
    seen.is_new(event("1"), 3)

    assert seen.hops(event("1")) == 3


@pytest.mark.slow
def test_the_window_holds_the_last_65536_events():
    seen = DedupWindow()
    for n in range(WINDOW + 1):
        seen.is_new(event(str(n)), 1)

    assert WINDOW == len(seen) == 65_536
    assert not seen.is_new(event("1"), 1)
    assert seen.is_new(event("0"), 1)


@pytest.mark.parametrize("where", ["id", "node"])
def test_a_long_identity_is_kept_as_a_digest(where):
    def long(end=""):
        return event(**{"id": "1", where: "x" * 1_000_000 + end})

    seen = DedupWindow()

    assert seen.is_new(long(), 2)
    assert not seen.is_new(long(), 2)
    assert seen.is_new(long("y"), 2)
    assert max(map(len, seen._hops)) <= 128


async def test_all_links_of_a_bus_share_one_window_which_goes_with_it(bus):
    other = edr.Bus()
    window = window_of(other)

    assert window_of(bus) is window_of(bus) is not window
    del other
    gc.collect()
    assert window_of(edr.Bus()) is not window


def test_a_forgotten_event_is_new_again_and_keeps_the_window_whole():
    seen = DedupWindow(window=2)
    assert seen.is_new(event("a"), 1)
    seen.forget(event("a"))
    seen.forget(event("b"))
    assert seen.is_new(event("a"), 1)
    assert seen.is_new(event("b"), 1)
    assert seen.is_new(event("c"), 1)
    assert not seen.is_new(event("c"), 1)
