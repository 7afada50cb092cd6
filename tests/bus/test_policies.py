"""The decision about an event that finds a queue full."""

import pytest

from edr import Overflow
from edr.bus.policies import CLOSE, DROP_NEWEST, DROP_OLDEST, WAIT, decide


@pytest.mark.parametrize(
    ("overflow", "decision"),
    [
        (Overflow.BLOCK, (WAIT, "")),
        (Overflow.DROP_OLDEST, (DROP_OLDEST, "overflow")),
        (Overflow.DROP_NEWEST, (DROP_NEWEST, "overflow")),
        (Overflow.CLOSE, (CLOSE, "overflow")),
    ],
)
def test_each_policy_has_its_action(overflow, decision):
    assert decide(overflow, stalled=False) == decision


def test_block_drops_when_stalled():
    assert decide(Overflow.BLOCK, stalled=True) == (DROP_NEWEST, "stalled")
    assert decide(Overflow.BLOCK, stalled=True, cannot_wait="x") == (DROP_NEWEST, "stalled")


def test_block_drops_for_an_emit_that_cannot_wait():
    assert decide(Overflow.BLOCK, stalled=False, cannot_wait="x") == (DROP_NEWEST, "x")


@pytest.mark.parametrize("overflow", [Overflow.DROP_OLDEST, Overflow.DROP_NEWEST, Overflow.CLOSE])
def test_only_block_depends_on_whether_the_emit_can_wait(overflow):
    assert decide(overflow, stalled=False, cannot_wait="x") == decide(overflow, stalled=False)


@pytest.mark.parametrize("unknown", ["newest", "block", None])
def test_unknown_policy_is_an_error(unknown):
    with pytest.raises(ValueError, match=r"overflow must be one of block, .*, got"):
        decide(unknown, stalled=False)
