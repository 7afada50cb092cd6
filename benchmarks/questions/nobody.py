"""What does an event cost that nobody wants?"""

from __future__ import annotations

from contextlib import AsyncExitStack
from itertools import repeat

import edr
from benchmarks.harness.harness import Case, Settings, main, measure, run_async
from benchmarks.harness.samples import APP, BODY, VERSION
from benchmarks.harness.table import Row, Table
from benchmarks.peers import (
    Abxbus,
    Blinker,
    Broadcaster,
    DequeFloor,
    Litestar,
    Peer,
    Pyee,
    case_of,
    is_installed,
    missing,
    ready,
    running,
)

LIMIT = 4.5
PEERS: tuple[type[Peer], ...] = (DequeFloor, Blinker, Pyee, Litestar, Broadcaster, Abxbus)


async def _nothing() -> None:
    pass


async def _await_nothing(n: int) -> None:
    for _ in repeat(None, n):
        await _nothing()


async def _rows(settings: Settings) -> list[Row]:
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(edr.Bus())
        bus.bind([edr.Binding(app_name="other")], print)

        async def emit_unwanted(n: int) -> None:
            emit = bus.emit
            for _ in repeat(None, n):
                await emit(APP, VERSION, "ok", "info", BODY)

        def emit_nowait_unwanted(n: int) -> None:
            emit = bus.emit_nowait
            for _ in repeat(None, n):
                emit(APP, VERSION, "ok", "info", BODY)

        does = "checks names, levels and that the body is an object; counts"
        baseline = Case("await of an empty coroutine", _await_nothing)
        cases = [
            baseline,
            Case("edr, emit", emit_unwanted, does, limit=LIMIT, ours=True),
            Case("edr, emit_nowait", emit_nowait_unwanted, does, ours=True),
        ]
        for peer in filter(is_installed, PEERS):
            it = await stack.enter_async_context(running(peer, ["other"]))
            cases.append(case_of(it, ready(it)))
        return await measure(cases, settings) + missing(PEERS)


NOTES = """\
The bus has one subscription, to another service. The peers get a ready event."""


def run(settings: Settings) -> Table:
    return Table(
        "What does an event cost that nobody wants?",
        run_async(_rows, settings),
        per="event",
        notes=NOTES,
    )


if __name__ == "__main__":
    main(run)
