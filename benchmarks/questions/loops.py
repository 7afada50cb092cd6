"""What does the event loop change: asyncio's own, or uvloop?"""

from __future__ import annotations

import asyncio
import importlib.util
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from benchmarks.harness.harness import Case, Settings, main, measure_plain
from benchmarks.harness.samples import APP
from benchmarks.harness.table import Row, Table, not_installed
from benchmarks.peers import EdrEmit, EdrPublish, Peer, QueueLoop, case_of, ready

KINDS: tuple[tuple[type[Peer], int, int], ...] = (
    (QueueLoop, 100, 500),
    (EdrPublish, 100, 500),
    (QueueLoop, 100, 1),
    (EdrPublish, 100, 1),
    (EdrEmit, 1, 500),
    (EdrEmit, 1, 1),
)
"""Who, to how many subscriptions, in bursts of how many."""


def _factories() -> dict[str, Any]:
    factories: dict[str, Any] = {"asyncio": asyncio.new_event_loop}
    if importlib.util.find_spec("uvloop") is not None:
        import uvloop

        factories["uvloop"] = uvloop.new_event_loop
    return factories


def _case_in(runner: asyncio.Runner, loop: str, it: Peer, fan: int, burst: int) -> Case:
    """Make a plain case that runs the async one in its own loop."""
    case = case_of(it, ready(it), burst=burst, per=fan)
    what = f"{it.name}, to {fan}, bursts of {burst}; {loop}"
    return replace(case, what=what, run=lambda n: runner.run(case.run(n)))


def _measured(settings: Settings) -> list[Row]:
    rows: list[Row] = []
    for kind, fan, burst in KINDS:
        with ExitStack() as stack:
            cases = []
            for loop, factory in _factories().items():
                runner = stack.enter_context(asyncio.Runner(loop_factory=factory))
                it = runner.run(_start(kind, fan))
                stack.callback(lambda runner=runner, it=it: runner.run(it.aclose()))
                cases.append(_case_in(runner, loop, it, fan, burst))
            rows += measure_plain(cases, settings)
    return rows if len(_factories()) > 1 else [*rows, not_installed("uvloop")]


async def _start(kind: type[Peer], fan: int) -> Peer:
    it = kind()
    await it.start()
    await it.subscribe([APP] * fan)
    return it


NOTES = """\
The ratio is to asyncio's own loop, with the same work."""


def run(settings: Settings) -> Table:
    return Table(
        "What does the event loop change: asyncio's own, or uvloop?",
        _measured(settings),
        per="delivery",
        notes=NOTES,
    )


if __name__ == "__main__":
    main(run)
