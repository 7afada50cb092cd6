"""The routes for operators: ``/clients`` lists the clients, ``/top`` the parts of the process."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable

from edr._util.log import RateLimitedLog
from edr.bus import Bus
from edr.control.loop_lag import LoopLag
from edr.control.parts import PartList
from edr.control.plain import plain
from edr.control.snapshot import Snapshots, bindings_of
from edr.streams import Place
from edr.web.clients import Client
from edr.web.limits import ClientCounts
from edr.web.visit import Visit

MAX_SUBSCRIPTIONS = 200
"""Subscriptions of an answer of ``/top``. The others are counted."""

MEASURED = 0.1
"""Seconds for which ``/top`` measures the lag of the loop."""

_log = RateLimitedLog()


class _OtherClient(Protocol):
    def to_json(self) -> dict[str, Any]: ...


@runtime_checkable
class _OtherGateway(Protocol):
    """A service of the bus with clients of its own, such as ``Blackhole``."""

    counts: ClientCounts

    def clients(self) -> Iterable[_OtherClient]: ...


def _other_gateways(bus: Bus) -> list[_OtherGateway]:
    return [each for each in bus.services if isinstance(each, _OtherGateway)]


async def clients(visit: Visit) -> dict[str, Any]:
    """Return all clients, and their numbers by account and by address.

    Raises:
        RefusedError: the client is not an operator, 403.
    """
    visit.check_operator()
    context = visit.context
    listed = []
    for number, client in enumerate(context.clients):
        listed.append(_described(client))
        if number % 100 == 99:  # noqa: PLR2004 - about 5 ms
            await asyncio.sleep(0)
    by_account, by_address = Counter(context.counts.by_account), Counter(context.counts.by_address)
    for other in _other_gateways(context.bus):
        listed += [client.to_json() for client in other.clients()]
        by_account.update(other.counts.by_account)
        by_address.update(other.counts.by_address)
    return {
        "clients": listed,
        "by_account": {name: n for name, n in by_account.items() if name is not None},
        "everything": by_account.get(None, 0),
        "by_address": by_address,
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
