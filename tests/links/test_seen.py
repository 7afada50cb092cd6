import gc

import edr
from edr.links.seen import WINDOW, Seen, seen_of


def test_an_id_is_new_once():
    seen = Seen()

    assert seen.is_new("a", 1)
    assert not seen.is_new("a", 1)
    assert seen.is_new("b", 1)


def test_what_went_out_is_not_new_when_it_comes_back():
    seen = Seen()

    assert seen.hops("a") == 0
    assert not seen.is_new("a", 2)


def test_what_came_in_keeps_its_hops():
    seen = Seen()
    seen.is_new("a", 3)

    assert seen.hops("a") == 3


def test_the_window_holds_the_last_65536_ids():
    seen = Seen()
    for n in range(WINDOW + 1):
        seen.is_new(str(n), 1)

    assert WINDOW == len(seen) == 65_536
    assert not seen.is_new("1", 1)
    assert seen.is_new("0", 1)


def test_a_long_id_is_kept_as_a_digest():
    seen = Seen()
    long = "x" * 1_000_000

    assert seen.is_new(long, 2)
    assert not seen.is_new(long, 2)
    assert seen.is_new(long + "y", 2)
    assert max(map(len, seen._hops)) < 100


async def test_all_links_of_a_bus_share_one_window_which_goes_with_it(bus):
    other = edr.Bus()
    window = seen_of(other)

    assert seen_of(bus) is seen_of(bus) is not window
    del other
    gc.collect()
    assert seen_of(edr.Bus()) is not window
