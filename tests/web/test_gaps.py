"""The report of a gap, and the refusal of a client that must not miss an event."""

import pytest

from edr.streams import Missed
from edr.web.gaps import gap_document, gap_refusal


@pytest.mark.parametrize(("missed", "document"), [
    (Missed(312, "slow", "w-9"), {"reason": "slow", "missed": 312}),
    (Missed(7, "expired", "w-9"), {"reason": "expired", "missed_at_most": 7}),
    (Missed(None, "expired", "w-9"), {"reason": "expired", "missed": None}),
])  # fmt: skip
def test_only_an_exact_count_is_named_missed(missed, document):
    assert gap_document(missed) == document


def test_a_refusal_has_the_cursor_to_continue_after():
    refusal = gap_refusal(Missed(7, "expired", "w-9"))
    error = refusal.error

    assert (error["code"], error["path"], error["cursor"]) == ("gap", "after", "w-9")
    assert error["missed_at_most"] == 7
