"""What does it cost to emit one event, built and checked, to one subscription?"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from itertools import repeat
from typing import Any

import edr
from benchmarks.harness.harness import Case, Settings, main, measure, run_async
from benchmarks.harness.samples import APP, BODY, LARGE_BODY, SMALL_BODY, VERSION, built, plain_of
from benchmarks.harness.table import Row, Table
from benchmarks.peers import (
    CAPACITY,
    Abxbus,
    AnyioStreams,
    BlinkerOpen,
    Broadcaster,
    DequeFloor,
    EdrEmit,
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
    QueueLoop,
    EdrEmit,
    DequeFloor,
    AnyioStreams,
    BlinkerOpen,
    Pyee,
    Litestar,
    Broadcaster,
    Abxbus,
)


def _by_hand(name: str, body: dict[str, Any]) -> Case:
    async def run(n: int) -> None:
        queue: asyncio.Queue[Any] = asyncio.Queue(CAPACITY)
        for _ in repeat(None, n):
            await queue.put(plain_of(body))
            await queue.get()

    what = f"Pydantic model and asyncio.Queue, {name} body"
    return Case(what, run, "builds and checks a model; put, get")


def _by_edr(name: str, body: dict[str, Any]) -> Case:
    async def run(n: int) -> None:
        async with edr.Bus() as bus:
            emit = bus.emit
            subscription = bus.subscribe(edr.Binding(app_name=APP), capacity=CAPACITY)
            for _ in repeat(None, n):
                await emit(APP, VERSION, "ok", "info", body)
                await anext(subscription)
            subscription.shutdown()

    return Case(
        f"edr, {name} body", run, "builds, checks and stamps; emit, anext", limit=LIMIT, ours=True
    )


async def _rows(settings: Settings) -> list[Row]:
    rows: list[Row] = []
    for name, body in (("small", SMALL_BODY), ("call", BODY), ("2 KB", LARGE_BODY)):
        cases = [_by_hand(name, body), _by_edr(name, body)]
        rows += await measure(cases, settings)
    async with AsyncExitStack() as stack:
        cases = []
        for peer in filter(is_installed, PEERS):
            it = await stack.enter_async_context(running(peer, [APP]))
            own = isinstance(it, (EdrEmit, Abxbus))
            does = it.does if own else f"builds the plain Pydantic model; {it.does}"
            cases.append(
                case_of(
                    it,
                    ready(it) if own else built,
                    what=f"{it.name}; to a consumer",
                    does=does,
                    limit=LIMIT if it.ours else None,
                )
            )
        rows += await measure(cases, settings)
    return rows + missing(PEERS)


NOTES = """\
First, one task that puts and takes, so no wake-up is in it; the baseline is the row of the same
body. Then, *to a consumer*, bursts of 500 call bodies to another task."""


def run(settings: Settings) -> Table:
    return Table(
        "What does it cost to emit one event, built and checked, to one subscription?",
        run_async(_rows, settings),
        per="event",
        notes=NOTES,
    )


if __name__ == "__main__":
    main(run)
