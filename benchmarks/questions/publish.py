"""What does it cost to bring a ready event to one subscriber?"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from itertools import repeat
from typing import Any

import edr
from benchmarks.harness.harness import Case, Settings, main, measure, run_async
from benchmarks.harness.samples import APP, event_of
from benchmarks.harness.table import Row, Table
from benchmarks.peers import (
    CAPACITY,
    AnyioStreams,
    Blinker,
    BlinkerOpen,
    Broadcaster,
    DequeFloor,
    EdrPublish,
    Litestar,
    Peer,
    Pyee,
    QueueLoop,
    case_of,
    is_installed,
    missing,
    ready,
    running,
)

LIMIT = 0.6
PEERS: tuple[type[Peer], ...] = (
    BlinkerOpen,
    EdrPublish,
    Blinker,
    DequeFloor,
    QueueLoop,
    AnyioStreams,
    Pyee,
    Litestar,
    Broadcaster,
)


async def _publish_and_take(n: int) -> None:
    event = event_of()
    async with edr.Bus() as bus:
        publish = bus.publish
        subscription = bus.subscribe(edr.Binding(app_name=APP), capacity=CAPACITY)
        for _ in repeat(None, n):
            await publish(event)
            await anext(subscription)
        subscription.shutdown()


async def _put_and_get(n: int) -> None:
    event = event_of()
    queue: asyncio.Queue[Any] = asyncio.Queue(CAPACITY)
    for _ in repeat(None, n):
        await queue.put(event)
        await queue.get()


async def _rows(settings: Settings) -> list[Row]:
    limit = LIMIT if is_installed(BlinkerOpen) else None  # it is the first, and so the baseline
    async with AsyncExitStack() as stack:
        cases = []
        for peer in filter(is_installed, PEERS):
            it = await stack.enter_async_context(running(peer, [APP]))
            cases.append(case_of(it, ready(it), limit=limit if it.ours else None))
        cases += [
            Case(
                "edr, publish and anext in one task",
                _publish_and_take,
                "no consumer to wake",
                limit=limit,
                ours=True,
            ),
            Case("asyncio.Queue, put and get in one task", _put_and_get, "no consumer to wake"),
        ]
        return await measure(cases, settings) + missing(PEERS)


NOTES = """\
Until the subscriber has it: blinker's receiver has returned, a consumer's task has taken it from
its queue. In bursts of 500."""


def run(settings: Settings) -> Table:
    return Table(
        "What does it cost to bring a ready event to one subscriber?",
        run_async(_rows, settings),
        per="event",
        notes=NOTES,
    )


if __name__ == "__main__":
    main(run)
