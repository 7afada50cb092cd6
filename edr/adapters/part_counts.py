"""The counts of a sink, a source or a gateway, from the status that it shows.

A status is read in place of the statistics of each class: a link that only sends is a sink too, and
so is a sink of the program with the attributes of a part.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edr.adapters.definitions import Reading
from edr.sinks import SinkState

CLOSE_REASONS = ("left", "slow", "grant", "gap", "stopping", "failed")
"""Why streams of a gateway end. Each one is measured from 0."""


def read_part(part: Any) -> Reading:
    """Yield the counts of a sink, a source or a gateway; nothing for another object."""
    kind = getattr(part, "kind", None)
    if kind == "sink":
        yield from _of_sink(part.name, part.status())
    elif kind == "source":
        yield from _of_source(part.name, part.status())
    elif kind == "gateway":
        yield from _of_gateway(part.name, part.status())


def _of_sink(name: str, status: Mapping[str, Any]) -> Reading:
    rejected = status.get("rejected") or 0
    lost = sum((status.get("lost") or {}).values())
    yield "sink_delivered", (name,), status.get("delivered") or 0
    yield "sink_retried", (name,), status.get("retried") or 0
    yield "sink_rejected", (name,), rejected
    # A NATS server does not say which events it refused, so more may be dead letters than lost.
    yield "sink_missed", (name,), max(0, lost - rejected)
    yield "sink_backlog", (name,), status.get("backlog") or 0
    yield "sink_oldest", (name,), status.get("oldest_age") or 0
    state = str(status.get("state"))
    for each in dict.fromkeys([*map(str, SinkState), state]):
        yield "sink_state", (name, each), float(each == state)


def _of_source(name: str, status: Mapping[str, Any]) -> Reading:
    lost = status.get("lost") or {}
    yield "source_accepted", (name,), status.get("delivered") or 0
    yield "source_refused", (name,), lost.get("refused", 0)
    yield "source_missed", (name,), lost.get("missed", 0)
    yield "source_failed", (name,), status.get("failed") or 0
    yield "source_connections", (name,), status.get("connections") or 0


def _of_gateway(name: str, status: Mapping[str, Any]) -> Reading:
    yield "gateway_clients", (name,), status.get("clients") or 0
    yield "gateway_groups", (name,), status.get("groups") or 0
    yield "gateway_sent", (name,), status.get("delivered") or 0
    lost = (status.get("lost") or {}).values()
    yield "gateway_missed", (name,), status.get("missed") or sum(lost)
    yield "gateway_withheld", (name,), status.get("withheld") or 0
    for reason in dict.fromkeys([*CLOSE_REASONS, *(status.get("closed") or {})]):
        yield "gateway_closed", (name, reason), (status.get("closed") or {}).get(reason, 0)
