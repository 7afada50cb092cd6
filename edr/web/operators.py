"""The routes for operators: ``/clients`` lists the clients, ``/top`` the parts of the process."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable

from edr._util.log import RateLimitedLog
from edr.control.loop_lag import LoopLag
from edr.control.parts import PartList
from edr.control.snapshot import Snapshots
from edr.control.steps import Steps
from edr.web.limits import ClientCounts
from edr.web.visit import Visit

MAX_SUBSCRIPTIONS = 200
"""Subscriptions of an answer of ``/top``. The others are counted."""

MEASURED = 0.1
"""Seconds for which ``/top`` measures the lag of the loop."""

_log = RateLimitedLog()


class _Listed(Protocol):
    def to_json(self) -> dict[str, Any]: ...


@runtime_checkable
class _WithClients(Protocol):
    """A service of the bus with clients: ``Gateway`` or ``Blackhole``."""

    @property
    def counts(self) -> ClientCounts: ...

    def clients(self) -> Iterable[_Listed]: ...


async def clients(visit: Visit) -> dict[str, Any]:
    """Return the clients of all gateways of the bus, and their numbers by account and by address.

    Raises:
        RefusedError: the client is not an operator, 403.
    """
    visit.check_operator()
    listed: list[dict[str, Any]] = []
    by_account: Counter[str | None] = Counter()
    by_address: Counter[str] = Counter()
    steps = Steps()
    for service in visit.context.bus.services:
        if isinstance(service, _WithClients):
            by_account.update(service.counts.by_account)
            by_address.update(service.counts.by_address)
            for client in service.clients():
                listed.append(client.to_json())
                await steps.next()
    return {
        "clients": listed,
        "by_account": {name: n for name, n in by_account.items() if name is not None},
        "everything": by_account[None],
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
