"""Statistics of subscriptions and buses."""

from dataclasses import replace

import pytest

from edr import Binding
from edr.bus.statistics import MatchResult, Totals


async def test_counts_are_equal_at_different_ages(bus, emit):
    subscription = bus.subscribe(name="a")
    await emit(1)
    counts = subscription.statistics()

    assert replace(counts, oldest_age=99.0) == counts
    assert replace(counts, pending=99) != counts


async def test_statistics_are_a_snapshot(bus, emit):
    subscription = bus.subscribe()
    before = subscription.statistics()
    await emit(1)

    assert (before.offered, subscription.statistics().offered) == (0, 1)
    with pytest.raises(AttributeError):
        before.offered = 1


async def test_unmatched_counts_events_that_nothing_matched(bus, make_event):
    subscription = bus.subscribe(app_name="acdc", capacity=8)
    await bus.emit("acdc", "1", "ok", "info", {})
    await bus.emit("billing", "1", "ok", "info", {})
    bus.emit_nowait("billing", "1", "ok", "info", {})
    await bus.publish(make_event(app_name="billing"))
    bus.publish_nowait(make_event(app_name="billing"))
    await bus.emit("billing", "1", "ok", "info", {"n": 1}, account_id="acme")
    counts = bus.statistics()

    assert (counts.emits, counts.unmatched, subscription.statistics().offered) == (6, 5, 1)


async def test_match_result_is_one_readable_line(make_event):
    mismatches = Binding(app_name="b").explain(make_event(app_name="a"))

    assert str(MatchResult(1, "audit", matches=True, mismatches=())) == "✓ audit"
    assert str(MatchResult(1, "audit", matches=False, mismatches=mismatches)).startswith(
        "✗ audit: "
    )


def test_totals_begin_at_zero_and_are_not_shared():
    totals = Totals()
    totals.dropped["overflow"] += 1

    assert (totals.offered, totals.pending) == (0, 0)
    assert not Totals().dropped
