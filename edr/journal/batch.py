"""``rows_of``: which events of a batch go into one commit, as their rows. Pure.

The bus bounds its events, but a journal takes any: a batch of 4,096 may have gigabytes. So a commit
takes as many as fit, and an event that no commit should have is refused by itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from edr import Event
from edr.journal.codec import Row, row_of

MAX_EVENT = 64 << 20
"""Bytes of the JSON of an event. A larger one is refused: SQLite stores up to 1 GB in one piece,
and a commit has several copies of it in memory."""

COMMIT_BYTES = 16 << 20
"""Bytes of JSON at which a commit takes no further events, unless it has only one. It bounds the
memory of a commit, and how long others wait for it."""


class RejectedError(Exception):
    """One of the events can never be stored. It never leaves this package."""


def rows_of(events: Sequence[Event]) -> list[Row]:
    """Return the rows of the first events, as many as fit into a commit, at least one.

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
            break  # it is the first one of the next commit
        size += len(row.data)
        if rows and size > COMMIT_BYTES:
            break
        rows.append(row)
    return rows


def _checked(event: Event) -> Row:
    try:
        row = row_of(event)
    except Exception as exc:  # an event that was made past pydantic's checks can raise anything
        raise RejectedError(repr(exc)) from exc
    if len(row.data) > MAX_EVENT:
        raise RejectedError(
            f"an event must have at most {MAX_EVENT} bytes of JSON, got {len(row.data)}"
        )
    return row
