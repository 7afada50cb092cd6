"""Gaps among the events of one queue."""

from collections import deque

from edr import Gap
from edr.bus.gap_markers import GapMarkers


def test_adjacent_gaps_are_one():
    gaps, items = GapMarkers(), deque(["a"])
    gaps.append(items, 2)
    gaps.append(items, 3)

    assert list(items) == ["a", Gap(5)]
    assert gaps.count == 1


def test_gaps_with_an_event_between_them_are_two():
    gaps, items = GapMarkers(), deque()
    gaps.append(items, 1)
    items.append("a")
    gaps.append(items, 1)

    assert list(items) == [Gap(1), "a", Gap(1)]
    assert gaps.count == 2


def test_dropped_event_becomes_a_gap_in_its_place():
    gaps, items = GapMarkers(), deque(["a", "b"])
    gaps.drop_oldest(items)

    assert list(items) == [Gap(1), "b"]
    assert gaps.count == 1


def test_dropped_event_is_added_to_the_gaps_around_it():
    gaps, items = GapMarkers(), deque()
    gaps.append(items, 2)
    items.append("a")
    gaps.append(items, 4)
    items.append("b")
    gaps.drop_oldest(items)

    assert list(items) == [Gap(7), "b"]
    assert gaps.count == 1
