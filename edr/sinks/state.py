"""``SinkState`` and ``SinkStatistics``: snapshots of a sink."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class SinkState(StrEnum):
    """The state of a sink."""

    STARTING = "starting"
    """It was not open yet."""
    RUNNING = "running"
    RETRYING = "retrying"
    """The last attempt failed; the next one follows."""
    PAUSED = "paused"
    """It was paused and delivers nothing; its events are kept."""
    REFUSED = "refused"
    """It cannot work with its configuration. It is tried again every 60 seconds."""
    STUCK = "stuck"
    """It is running and has events, but delivered none for 60 seconds."""
    STOPPING = "stopping"
    STOPPED = "stopped"
    """It was not started, or it was closed, or a fault of the sink ended it."""


@dataclass(frozen=True, slots=True)
class SinkStatistics:
    """The counts of a sink since its worker was made."""

    name: str
    state: SinkState
    offered: int
    """Events that it took from the journal or its subscription."""
    delivered: int
    """Events that the sink delivered."""
    retried: int
    """Attempts that failed and were made again."""
    rejected: int
    """Events that the receiver refused or that became too old: dead letters."""
    lost: Mapping[str, int]
    """Events that were not delivered: reason -> events. ``retention`` are entries that the journal
    removed before, matching or not; ``rejected`` and ``expired`` became dead letters."""
    held: int
    """Events that were taken and are not settled."""
    backlog: int
    """Events that are held or wait in the journal or the queue. Those in a journal are counted by
    position, matching or not."""
    oldest_age: float
    """Seconds since the oldest held event was stored; 0 if none is held."""
    attempt: int
    """Attempts that failed since the last success."""
    next_attempt: float | None
    """Seconds until the next attempt; ``None`` unless it is retrying or refused."""
    error: str | None
    """The last fault."""
