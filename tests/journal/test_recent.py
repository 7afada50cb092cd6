import pytest
from contracts.journal import events
from hypothesis import given
from hypothesis import strategies as st

import edr
from edr.journal.recent import (
    MAX_RECENT_BYTES,
    MAX_RECENT_ENTRIES,
    RECENT_ENTRIES,
    RecentEntries,
)
from edr.journal.selection import Selection

EVERYTHING = Selection(())


def positions(tail, after, selection=EVERYTHING, limit=1):
    """The positions of the wanted entries after ``after``."""
    found = []
    while True:
        entries, after = tail.find(selection, after, limit)
        assert len(entries) <= limit
        if not entries:
            return found
        assert [entry.position for entry in entries] == [e.event.body["n"] for e in entries]
        assert entries[-1].position <= after
        found += [entry.position for entry in entries]


def filled(*counts, bytes=10):
    tail, first = RecentEntries(), 1
    for count in counts:
        tail.add(first, first, events(*range(first, first + count)), bytes)
        first += count
    return tail


@given(st.lists(st.integers(1, 5), min_size=1, max_size=10), st.data())
def test_tail_finds_all_entries_after_a_position(counts, data):
    tail, last = filled(*counts), sum(counts)
    after = data.draw(st.integers(0, last))

    assert tail.covers(after)
    limit = data.draw(st.integers(1, 7))
    assert positions(tail, after, limit=limit) == list(range(after + 1, last + 1))


def test_tail_passes_over_what_is_not_wanted():
    tail = filled(3, 3)
    tail.add(7, 7, events(7, app_name="rare"), 10)
    tail.add(8, 8, events(8), 10)

    assert positions(tail, 0, Selection((edr.Binding(app_name="rare"),))) == [7]
    assert tail.find(Selection((edr.Binding(app_name="none"),)), 2, 5) == ([], 8)


def test_entries_of_a_commit_have_its_time():
    tail = filled(2, 2)

    assert [e.recorded_at.microsecond for e in tail.find(EVERYTHING, 0, 9)[0]] == [1, 1, 3, 3]


def test_tail_is_empty_at_first():
    assert not RecentEntries().covers(0)


@pytest.mark.parametrize(
    "counts",
    [[1] * 3 * RECENT_ENTRIES, [256] * 20, [RECENT_ENTRIES - 1, 2, 5], [3 * RECENT_ENTRIES]],
)
def test_tail_keeps_the_newest_entries(counts):
    tail, last = filled(*counts, bytes=0), sum(counts)

    assert tail.covers(last - min(RECENT_ENTRIES, last))
    assert not tail.covers(last - RECENT_ENTRIES - max(counts) - 1)


def behind(last, *readers):
    """Return a tail with ``last`` entries, for readers at these positions."""
    tail = RecentEntries()
    for first in range(1, last, 256):
        tail.add(first, 1, events(*range(first, first + 256)), 0, readers)
    return tail


def test_tail_keeps_the_entries_that_a_reader_has_not_read():
    last = MAX_RECENT_ENTRIES // 2
    tail = behind(last, 700, last)

    assert tail.covers(700)
    assert not tail.covers(500)


@pytest.mark.parametrize("position", [0, 2 * MAX_RECENT_ENTRIES])
def test_tail_keeps_no_more_for_a_reader_far_away(position):
    last = 2 * MAX_RECENT_ENTRIES
    tail = behind(last, position)

    assert tail.covers(last - RECENT_ENTRIES)
    assert not tail.covers(last - RECENT_ENTRIES - 512)


def test_tail_keeps_a_limited_number_for_a_slow_reader():
    assert behind(MAX_RECENT_ENTRIES, 0).covers(0)
    assert not behind(MAX_RECENT_ENTRIES + 512, 0).covers(0)


def test_tail_keeps_no_more_than_so_many_bytes():
    tail = filled(1, 1, 1, bytes=MAX_RECENT_BYTES // 2)

    assert [tail.covers(after) for after in range(4)] == [False, True, True, True]
    tail.add(4, 4, events(4), MAX_RECENT_BYTES + 1)
    assert not any(tail.covers(after) for after in range(5))
    tail.add(5, 5, events(5), 1)
    assert positions(tail, 4) == [5]


def test_tail_drops_what_retention_removed():
    tail = filled(3, 3, 3)
    tail.forget_before(5)

    assert [tail.covers(after) for after in range(6)] == [False] * 4 + [True] * 2
    assert positions(tail, 4) == [5, 6, 7, 8, 9]


def test_tail_starts_again_after_a_hole():
    tail = filled(3)
    tail.add(1_000, 5, events(1_000), 10)

    assert not tail.covers(3)
    assert positions(tail, 999) == [1_000]
