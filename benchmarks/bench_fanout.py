"""What does a delivery cost when 100 subscriptions want each event?"""

from __future__ import annotations

from contextlib import AsyncExitStack

from benchmarks.harness import Settings, main, measure, run_async
from benchmarks.peers import (
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
from benchmarks.samples import APP
from benchmarks.table import Row, Table

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
    return rows + missing(PEERS)


NOTES = """\
From the call of the sender until every consumer has taken the event. In bursts of 500, which fit
every queue; *one by one*, each consumer waits and must be woken for each event, which is mostly
the loop's own cost. edr's emit builds and checks each event; the others get one that exists."""


def run(settings: Settings) -> Table:
    return Table(
        "What does a delivery cost when 100 subscriptions want each event?",
        run_async(_rows, settings),
        per="delivery",
        notes=NOTES,
    )


if __name__ == "__main__":
    main(run)
