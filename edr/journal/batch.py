"""``rows_of``: the rows of the events that fit into one commit. Pure.

A bus limits the size of its events, but a journal does not: a batch of 4,096 may have gigabytes.
So a commit takes as many as fit, and an event that is too large for any commit is refused alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from edr import Event
from edr.journal.codec import Row, row_of

MAX_EVENT = 64 << 20
"""Bytes of JSON of an event, at most. SQLite stores values of up to 1 GB, and a commit has several
copies in memory."""

COMMIT_BYTES = 16 << 20
"""Bytes of JSON in a commit of several events, at most. It limits the memory of a commit, and how
long other jobs wait for it."""


class RejectedError(Exception):
    """One of the events can never be stored. Internal to this package."""


def rows_of(events: Sequence[Event]) -> list[Row]:
    """Return the rows of the first events, as many as fit into a commit, and at least one.

    Raises:
        RejectedError: the first one can never be stored.
    """
    rows: list[Row] = []
    size = 0
    for event in events:
        try:
            row = _checked(event)
        except RejectedError:
            if not rows:
                raise
            break  # the next commit starts with it
        size += len(row.data)
        if rows and size > COMMIT_BYTES:
            break
        rows.append(row)
    return rows


def _checked(event: Event) -> Row:
    try:
        row = row_of(event)
    except Exception as exc:  # an event that was not validated can raise anything
        raise RejectedError(repr(exc)) from exc
    if len(row.data) > MAX_EVENT:
        raise RejectedError(
            f"an event must have at most {MAX_EVENT} bytes of JSON, got {len(row.data)}"
        )
    return row
