"""Does an event cost more the more subscriptions there are that do not want it?"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import AsyncExitStack
from typing import Any

import edr
from benchmarks.harness.harness import Case, Settings, in_subprocess, main, measure, no_collection
from benchmarks.harness.population import HOT, SHAPES, Emit, Population, cycled, spread
from benchmarks.harness.samples import event_of
from benchmarks.harness.table import Row, Table
from benchmarks.peers import (
    Abxbus,
    Blinker,
    BlinkerTesting,
    Broadcaster,
    DequeFloor,
    EdrPublish,
    Litestar,
    Peer,
    Pyee,
    case_of,
    is_installed,
    missing,
    ready,
    running,
)

HOT_LIMIT = 1.2
FRESH_LIMIT = 2.0

LARGEST: dict[type[Peer], int] = {
    EdrPublish: 1_000_000,
    DequeFloor: 1_000_000,
    Blinker: 100_000,
    Pyee: 100_000,
    Broadcaster: 100_000,
    Litestar: 100_000,
    BlinkerTesting: 100_000,
    Abxbus: 100_000,
}
"""What each can bear in the time there is: to set up, or to test each subscriber in turn."""

LOOP = "plain loop over Binding.matches"
LARGEST_LOOP = 100_000


def _emit_case(what: str, does: str, people: Population, *, fresh: bool) -> Case:
    emits: list[Emit] = []

    def before(n: int) -> None:
        emits[:] = people.fresh_emits(n) if fresh else people.hot_emits(n)

    async def run(_n: int) -> None:
        emit = people.bus.emit
        for it in emits:
            await emit(*it)

    limit = FRESH_LIMIT if fresh else HOT_LIMIT
    return Case(
        what,
        run,
        does,
        before=before,
        after=people.take,
        most=people.most,
        at=people.size,
        limit=limit if people.size > HOT else None,
        ours=True,
    )


def _match_case(what: str, does: str, people: Population) -> Case:
    asked: list[Any] = []

    def before(n: int) -> None:
        asked[:] = people.questions(n)

    def run(_n: int) -> None:
        match = people.trie.match
        for it in asked:
            match(*it)

    # Not one of ours to compare runs by: it moves with what others leave of the caches.
    return Case(what, run, does, before=before, most=people.most, at=people.size)


async def _shape_rows(number: int, settings: Settings) -> list[Row]:
    shape = SHAPES[number]
    populations = [Population(shape, size) for size in settings.sizes]
    for people in populations:  # a queue allocates at its first event: that is not growth
        for emit in people.fresh_emits(len(people.used)):
            await people.bus.emit(*emit)
        await people.take()
    hot = [
        _emit_case(f"edr, {shape.name}, hot keys", "emit: 10 keys in turn", people, fresh=False)
        for people in populations
    ]
    does = "emit: no key seen twice"
    fresh = [_emit_case(f"edr, {shape.name}", does, people, fresh=True) for people in populations]
    does = "the match alone, no memo, all over the trie"
    match = [_match_case(f"edr trie, {shape.name}", does, people) for people in populations]
    rows = []
    for cases in (hot, fresh, match):
        rows += await measure(cases, settings)
    return rows


def _shape_in_process(number: int, settings: Settings) -> list[Row]:
    return asyncio.run(_shape_rows(number, settings))


async def _peer_rows(settings: Settings) -> list[Row]:
    rows = []
    for peer, largest in LARGEST.items():
        if not is_installed(peer):
            continue
        async with AsyncExitStack() as stack:
            cases = []
            for size in (size for size in settings.sizes if size <= largest):
                hot = [f"app_{i}" for i in spread(size, HOT)]
                idle = {f"app_{i}" for i in range(size)}.difference(hot)
                with no_collection():  # a million objects that stay: it would visit them in vain
                    it = await stack.enter_async_context(running(peer, hot, idle=idle))
                what = f"{peer.name}, by name"
                cases.append(case_of(it, ready(it, *hot), what=what, at=size))
            rows += await measure(cases, settings)
    return rows


async def _loop_rows(settings: Settings) -> list[Row]:
    cases = []
    for size in (size for size in settings.sizes if size <= LARGEST_LOOP):
        bindings = [edr.Binding(app_name=f"app-{i}") for i in range(size)]
        subscribers = [(binding, deque[Any](maxlen=8)) for binding in bindings]
        events = [event_of(f"app-{i}") for i in spread(size, HOT)]

        def run(n: int, subscribers: Any = subscribers, events: Any = events) -> None:
            for event in cycled(events, n):
                for binding, box in subscribers:
                    if binding.matches(event):
                        box.append(event)

        cases.append(Case(LOOP, run, "asks each binding; any kind of binding", at=size))
    return await measure(cases, settings)


NOTES = """\
Exactly one subscription wants each event. The ratio is to the cost at the smallest number, with
the same keys and work. edr builds and checks each event; taking it is not in the figure. The peers
get a ready event on a topic, and are measured until its subscriber has it: they can route by one
exact name. Where that is not enough (levels, accounts with their descendants), each subscriber
must test, as in the rows that test. *No key seen twice* goes over 20,000 subscriptions all over
the memory, so it has the cache misses that a large population brings."""


def run(settings: Settings) -> Table:
    rows: list[Row] = []
    for number in range(len(SHAPES)):
        rows += in_subprocess(_shape_in_process, number, settings)
    rows += asyncio.run(_peer_rows(settings))
    rows += asyncio.run(_loop_rows(settings))
    return Table(
        "Does an event cost more the more subscriptions there are that do not want it?",
        rows + missing(LARGEST),
        per="event",
        notes=NOTES,
    )


if __name__ == "__main__":
    main(run)
