"""The routes ``/recent``, ``/explain`` and ``/ticket``: answers that are complete at once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import orjson

from edr.streams import Place, Record
from edr.web.explaining import Explaining
from edr.web.gaps import gap_document, gap_refusal
from edr.web.joining import first_take, join
from edr.web.refusals import RefusedError
from edr.web.requests import json_body, stream_request
from edr.web.tickets import LIFETIME
from edr.web.visit import Visit

DEFAULT_LAST = 50
"""Events of an answer, if the request does not say it."""

MAX_BYTES = 2**20
"""Bytes of the events of one answer. A client continues after its cursor."""


async def recent(visit: Visit) -> dict[str, Any]:
    """Return the last events that match, or those after a cursor. Without waiting for new ones.

    Raises:
        RefusedError: the request is not valid, or with ``on_gap=fail`` events are missing.
    """
    context = visit.context
    wanted = await stream_request(visit.request, max_body=context.limits.frame)
    if wanted.after is None and wanted.last is None:
        wanted = replace(wanted, last=DEFAULT_LAST)
    ready = asyncio.Event()
    place = join(context.streams, wanted, visit.grant, ready.set, is_interest=False)
    try:
        return await _read(place, ready, fails_on_gap=wanted.fails_on_gap)
    finally:
        context.streams.leave(place)


async def _read(place: Place, ready: asyncio.Event, *, fails_on_gap: bool) -> dict[str, Any]:
    async def wait() -> None:
        await ready.wait()
        ready.clear()

    taken = await first_take(place, wait, MAX_BYTES)
    if fails_on_gap and taken.missed is not None:
        raise gap_refusal(taken.missed)
    records: list[Record] = taken.records
    size = sum(len(record.json) for record in records)
    cursor, more = None, taken
    while more.records and size < MAX_BYTES:
        more = place.take(max_bytes=MAX_BYTES - size)
        if more.missed is not None:  # the next answer reports it
            cursor = records[-1].cursor
            break
        records += more.records
        size += sum(len(record.json) for record in more.records)
    document: dict[str, Any] = {
        "events": [
            {"cursor": each.cursor, "event": orjson.Fragment(each.json)} for each in records
        ],
        "cursor": cursor or place.cursor,
        "more": cursor is not None or place.behind > 0,
    }
    if taken.missed is not None:
        document["gap"] = gap_document(taken.missed)
    return document


async def explain(visit: Visit) -> dict[str, Any]:
    """Return which receivers the event of a cursor matches, and why not the others.

    Operators see all receivers of the process. Other clients see whether their own bindings match.

    Raises:
        RefusedError: the window does not have the event, or the grant does not show it, 404.
    """
    context = visit.context
    wanted = await stream_request(visit.request, max_body=context.limits.frame, more=("cursor",))
    cursor = wanted.more.get("cursor")
    event = context.streams.find(cursor, grant=visit.grant) if isinstance(cursor, str) else None
    if event is None:
        raise RefusedError("not_found", "the window has no event at this cursor", "cursor")
    own = [("bindings", wanted.bindings)] if wanted.bindings else []
    results = await Explaining(context.bus).results(event, visit.grant, own)
    return {"cursor": cursor, "event": orjson.Fragment(event.to_json()), "results": results}


async def ticket(visit: Visit) -> dict[str, Any]:
    """Return a ticket for one connection with the grant of the client.

    Raises:
        RefusedError: too many are not used yet, the body has fields, or the request itself has a
            ticket. With tickets for tickets, a revoked token would never end.
    """
    if "ticket" in visit.request.query_params:
        raise RefusedError("invalid_request", "a ticket must be requested with a token", "ticket")
    if await json_body(visit.request, visit.context.limits.frame):
        raise RefusedError("invalid_request", "the body must be empty or {}")
    text = visit.context.access.tickets.issue(visit.identity)
    return {"ticket": text, "expires_in": int(LIFETIME)}
