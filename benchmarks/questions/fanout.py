"""What does a delivery cost when 100 subscriptions want each event?"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from benchmarks.harness.harness import Case, Settings, main, measure, run_async
from benchmarks.harness.samples import APP
from benchmarks.harness.table import Row, Table
from benchmarks.peers import (
    BURST,
    Abxbus,
    AnyioStreams,
    BlinkerOpen,
    Broadcaster,
    DequeFloor,
    EdrEmit,
    EdrPublish,
    Litestar,
    Peer,
    Pyee,
    QueueLoop,
    QueueLoopNowait,
    case_of,
    is_installed,
    missing,
    ready,
    running,
)

FAN = 100
PEERS: tuple[type[Peer], ...] = (
    QueueLoop,
    EdrEmit,
    EdrPublish,
    DequeFloor,
    QueueLoopNowait,
    AnyioStreams,
    BlinkerOpen,
    Pyee,
    Litestar,
    Broadcaster,
    Abxbus,
)
LIMITS = {EdrEmit: 0.35, EdrPublish: 0.35}
COLD_LIMITS = {EdrEmit: 0.42, EdrPublish: 0.42}


class _Cold:
    """A peer whose inboxes are made anew for each sample, and have held nothing yet."""

    def __init__(self, kind: type[Peer]) -> None:
        self._kind = kind
        self._messages = ready(kind())

    async def start(self, _n: int) -> None:
        self._it = self._kind()
        await self._it.start()
        await self._it.subscribe([APP] * FAN)
        await asyncio.sleep(0)  # the consumers come to wait

    async def run(self, n: int) -> None:
        await self._it.send(self._messages(n))
        await self._it.settle()

    async def aclose(self) -> None:
        await self._it.aclose()

    def case(self) -> Case:
        return Case(
            f"{self._kind.name}; cold",
            self.run,
            "one burst into new queues",
            before=self.start,
            after=self.aclose,
            per=FAN,
            step=BURST,
            most=BURST,
            limit=COLD_LIMITS.get(self._kind),
            ours=self._kind.ours,
        )


async def _rows(settings: Settings) -> list[Row]:
    peers = [peer for peer in PEERS if is_installed(peer)]
    async with AsyncExitStack() as stack:
        alive = [await stack.enter_async_context(running(peer, [APP] * FAN)) for peer in peers]
        bursts = [case_of(it, ready(it), per=FAN, limit=LIMITS.get(type(it))) for it in alive]
        rows = await measure(bursts, settings)
        single = [
            case_of(it, ready(it), per=FAN, burst=1, what=f"{it.name}; one by one")
            for it in alive
            if isinstance(it, (QueueLoop, EdrPublish, DequeFloor))
        ]
        rows += await measure(single, settings)
    cold = [_Cold(kind).case() for kind in (QueueLoop, EdrEmit, EdrPublish, DequeFloor)]
    rows += await measure(cold, settings)
    return rows + missing(PEERS)


NOTES = """\
From the call of the sender until every consumer has taken the event. In bursts of 500, which fit
every queue; *one by one*, each consumer waits and must be woken for each event, which is mostly
the loop's own cost; *cold*, each queue sees its first events. edr's emit builds and checks each
event; the others get one that exists."""


def run(settings: Settings) -> Table:
    return Table(
        "What does a delivery cost when 100 subscriptions want each event?",
        run_async(_rows, settings),
        per="delivery",
        notes=NOTES,
    )


if __name__ == "__main__":
    main(run)
