"""``ConsumerRecord``: the state of a consumer in the metadata of its JetStream consumer.

The server stores the unacknowledged entries. The metadata adds the consumer's name and bindings,
the missed entries, and the state that a consumer writes when it is closed, or a checkpoint before.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple, Protocol

import orjson

from edr.journal import ConsumerStatus
from edr.journal.options import check_name
from edr.journal.selection import bindings_in
from edr.links.subject import token
from edr.records import Binding, bindings_to_json

_NAME, _BINDINGS = "edr-consumer", "edr-bindings"
_DELIVERED, _FLOOR, _MISSED = "edr-given", "edr-done", "edr-missed"
_POSITION, _UNACKED, _CHECKPOINT = "edr-at", "edr-out", "edr-mark"
_UNREPORTED = "edr-untold"
_LISTED = "edr-unacked"
_AT_CLOSE = (_POSITION, _UNACKED, _LISTED, _DELIVERED, _FLOOR)

MAX_LISTED = 4096
"""Positions in the metadata, at most: 60 KB, and a server takes 128 KB of metadata."""


class ClosedAt(NamedTuple):
    """The state of a consumer when it was closed."""

    position: int
    delivered_up_to: int
    ack_floor: int
    unacked: int
    """Number of unacknowledged entries up to the position."""
    positions: frozenset[int] | None
    """Their positions; None if they are too many to store, or not known."""


class ConsumerRecord(NamedTuple):
    """The metadata of a JetStream consumer."""

    name: str | None
    """None if no journal made it."""
    bindings: str
    missed: int
    unreported: int
    """Missed entries whose gap was not read."""
    checkpoint: int | None
    """The ack floor in the last checkpoint."""
    closed_at: ClosedAt | None
    """None if the consumer is open, or was not closed."""


def record_of(info: Mapping[str, Any]) -> ConsumerRecord:
    """Return the metadata in the server's answer about a JetStream consumer."""
    metadata = info["config"].get("metadata") or {}
    closed_at = None
    if metadata.get(_POSITION):
        closed_at = ClosedAt(
            position=int(metadata[_POSITION]),
            delivered_up_to=int(metadata[_DELIVERED]),
            ack_floor=int(metadata[_FLOOR]),
            unacked=int(metadata[_UNACKED]),
            positions=_positions_in(metadata.get(_LISTED)),
        )
    return ConsumerRecord(
        name=metadata.get(_NAME),
        bindings=metadata.get(_BINDINGS, ""),
        missed=int(metadata.get(_MISSED) or 0),
        unreported=int(metadata.get(_UNREPORTED) or 0),
        checkpoint=int(metadata[_CHECKPOINT]) if metadata.get(_CHECKPOINT) else None,
        closed_at=closed_at,
    )


def new_metadata(name: str | None, bindings: str, missed: int, floor: int) -> dict[str, str]:
    """Return the metadata of a new JetStream consumer, which starts after ``floor``."""
    metadata = {_BINDINGS: bindings, _MISSED: str(missed), _CHECKPOINT: str(floor)}
    return metadata if name is None else {_NAME: name, **metadata}


def opened_metadata(info: Mapping[str, Any]) -> dict[str, str]:
    """Return the metadata of a consumer while it is open: only the server knows its state then."""
    metadata: dict[str, str] = dict(info["config"].get("metadata") or {})
    if metadata.get(_FLOOR):
        metadata[_CHECKPOINT] = metadata[_FLOOR]
    return {**metadata, **dict.fromkeys(_AT_CLOSE, "")}


def closed_metadata(closed_at: ClosedAt, missed: int, unreported: int) -> dict[str, str]:
    """Return the changes when a consumer is closed."""
    return {
        _LISTED: _listed(closed_at.positions),
        _POSITION: str(closed_at.position),
        _DELIVERED: str(closed_at.delivered_up_to),
        _FLOOR: str(closed_at.ack_floor),
        _UNACKED: str(closed_at.unacked),
        _MISSED: str(missed),
        _UNREPORTED: str(unreported),
    }


def _listed(positions: frozenset[int] | None) -> str:
    if positions is None or len(positions) > MAX_LISTED:
        return ""
    return orjson.dumps(sorted(positions)).decode()


def _positions_in(text: str | None) -> frozenset[int] | None:
    return frozenset(orjson.loads(text)) if text else None


def checkpoint_metadata(floor: int, missed: int) -> dict[str, str]:
    """Return the changes at a checkpoint."""
    return {_CHECKPOINT: str(floor), _MISSED: str(missed), _UNREPORTED: "0"}


def consumer_of(name: str) -> str:
    """Return the server's name of the consumer ``name``.

    Raises:
        ValueError: no consumer can have that name.
    """
    check_name(name)
    return token(name)


def bookmark_of(name: str) -> str:
    """Return the server's name of the bookmark of the consumer ``name``.

    A rebind replaces the JetStream consumer. The bookmark is there while that happens, so that a
    crash does not lose the place. No token ends with a tilde.
    """
    return f"{consumer_of(name)}~"


def written(bindings: tuple[Binding, ...]) -> str:
    """Return text that is equal for equal sets of bindings, in any order."""
    return b",".join(sorted({orjson.dumps(bindings_to_json(each)) for each in bindings})).decode()


class OpenConsumer(Protocol):
    """A consumer that is open in this process."""

    @property
    def unacked(self) -> int:
        """Entries that were delivered and are not acknowledged."""
        ...

    @property
    def missed(self) -> int:
        """Entries that were lost."""
        ...


def consumer_status(
    info: Mapping[str, Any], last: int, consumers: Mapping[str, OpenConsumer]
) -> ConsumerStatus | None:
    """Return the state of a consumer; None if no journal made the JetStream consumer.

    Args:
        info: the server's answer about it.
        last: the newest position of the stream.
        consumers: the consumers that are open here, by name.
    """
    record = record_of(info)
    if record.name is None:
        return None
    consumer = consumers.get(record.name)
    floor = info["ack_floor"]
    at = floor.get("last_active")
    lag = info["num_pending"] + info["num_ack_pending"]
    # The server counts the entries that it has sent ahead too.
    out = info["num_ack_pending"] if record.closed_at is None else record.closed_at.unacked
    return ConsumerStatus(
        name=record.name,
        position=floor["stream_seq"] if lag else last,
        lag=lag,
        unacked=out if consumer is None else consumer.unacked,
        missed=record.missed if consumer is None else consumer.missed,
        last_ack=None if at is None else datetime.fromisoformat(at),
        open=consumer is not None,
        bindings=bindings_in(f"[{record.bindings}]"),
    )
