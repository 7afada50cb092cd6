"""Which states need an operator; ``status`` and ``top`` use the same rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FAULTY_STATES = {"failed", "stopped", "unknown", "closed"}
"""States of a part that are faults without an error text too."""

BEHIND = 5.0
"""Seconds. If the oldest queued event of a subscription is older, its consumer is too slow, or it
waits. As the default of ``Bus(stall_timeout=)``."""


def emits_waiting(subscription: Mapping[str, Any]) -> int:
    """Return the number of emits that wait for space in the queue of a subscription."""
    if subscription["overflow"] != "block":
        return 0
    # Under BLOCK, the events of waiting emits are pending too, beyond the capacity.
    return max(0, int(subscription["pending"]) - int(subscription["capacity"]))
