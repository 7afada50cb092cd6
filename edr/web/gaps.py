"""The report of events that a client missed, the same for each transport."""

from __future__ import annotations

from typing import Any

from edr.streams import Missed
from edr.web.refusals import RefusedError


def gap_document(missed: Missed) -> dict[str, Any]:
    """Return the JSON object of a gap.

    The count of a gap ``expired`` is the most that it can be, since it comes from positions.
    """
    if missed.reason == "expired" and missed.count is not None:
        return {"reason": missed.reason, "missed_at_most": missed.count}
    return {"reason": missed.reason, "missed": missed.count}


def gap_refusal(missed: Missed) -> RefusedError:
    """Return the refusal of a client that must not miss any event."""
    return RefusedError(
        "gap",
        "events after this cursor are missing; continue after the cursor of this error, or without "
        "on_gap=fail",
        "after",
        more={**gap_document(missed), "cursor": missed.cursor},
    )
