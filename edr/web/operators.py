"""The routes for operators: ``/clients`` lists the clients, ``/top`` the parts of the process."""

from __future__ import annotations

import asyncio
from typing import Any

from edr._util.log import RateLimitedLog
from edr.control.loop_lag import LoopLag
from edr.control.parts import PartList
from edr.control.plain import plain
from edr.control.snapshot import Snapshots, bindings_of
from edr.streams import Place
from edr.web.clients import Client
from edr.web.visit import Visit

MAX_SUBSCRIPTIONS = 200
"""Subscriptions of an answer of ``/top``. The others are counted."""

MEASURED = 0.1
"""Seconds for which ``/top`` measures the lag of the loop."""

_log = RateLimitedLog()


async def clients(visit: Visit) -> dict[str, Any]:
    """Return all clients, and their numbers by account and by address.

    Raises:
        RefusedError: the client is not an operator, 403.
    """
    visit.check_operator()
    context = visit.context
    by_account = context.counts.by_account
    listed = []
    for number, client in enumerate(context.clients):
        listed.append(_described(client))
        if number % 100 == 99:  # noqa: PLR2004 - about 5 ms
            await asyncio.sleep(0)
    return {
        "clients": listed,
        "by_account": {name: n for name, n in by_account.items() if name is not None},
        "everything": by_account.get(None, 0),
        "by_address": context.counts.by_address,
    }


async def top(visit: Visit) -> dict[str, Any]:
    """Return the state of the bus and of its parts, as ``edr top`` shows it.

    Raises:
        RefusedError: the client is not an operator, 403.
    """
    visit.check_operator()
    bus = visit.context.bus
    snapshots = Snapshots(bus, PartList(bus, None, _log), _log)
    with LoopLag() as lag:
        await asyncio.sleep(MEASURED)
        state = await snapshots.read(MAX_SUBSCRIPTIONS)
        return {**state, "loop_lag": round(lag.take(), 6)}


def _described(client: Client) -> dict[str, Any]:
    return {
        "id": client.id,
        "account": client.identity.grant.account,
        "address": client.peer.address,
        "origin": client.peer.origin,
        "transport": client.peer.transport,
        "since": client.since.isoformat(timespec="milliseconds"),
        "details": plain(client.details),
        "subscriptions": [_subscription(place) for place in client.places()],
    }


def _subscription(place: Place) -> dict[str, Any]:
    return {
        **bindings_of(place.bindings),
        "cursor": place.cursor,
        "behind": place.behind,
        "sent": place.sent,
        "missed": place.missed,
    }
