"""What does it cost to subscribe and close, and what does it cost those who emit meanwhile?"""

from __future__ import annotations

import asyncio
from itertools import repeat

import edr
from benchmarks.harness import Case, Settings, in_subprocess, main, measure
from benchmarks.population import SHAPES, Population
from benchmarks.samples import APP, SMALL_BODY, VERSION
from benchmarks.table import Row, Table

LIMIT = 1.5
HOT_KEYS = 5_000
"""Keys of a busy service; fewer than a bus remembers."""


def _come_and_go(what: str, does: str, bus: edr.Bus, binding: edr.Binding, at: int) -> Case:
    def run(n: int) -> None:
        subscribe = bus.subscribe
        for _ in repeat(None, n):
            subscribe(binding).close()

    limit = LIMIT if at > 10 else None
    return Case(what, run, does, limit=limit, at=at, ours=True)


async def _distinct(settings: Settings) -> list[Row]:
    populations = [Population(SHAPES[0], size, bare=False) for size in settings.sizes]
    binding = edr.Binding(app_name="one more")
    cases = [
        _come_and_go("edr, others of other apps", "", people.bus, binding, people.size)
        for people in populations
    ]
    return await measure(cases, settings)


async def _same(settings: Settings) -> list[Row]:
    binding = edr.Binding(app_name=APP)
    buses = [edr.Bus() for _ in settings.sizes]
    held = []
    for bus, size in zip(buses, settings.sizes, strict=True):
        held.append([bus.subscribe(binding) for _ in range(size)])
    cases = [
        _come_and_go("edr, others with the same binding", "", bus, binding, size)
        for bus, size in zip(buses, settings.sizes, strict=True)
    ]
    return await measure(cases, settings)


def _emitting(every: int | None) -> Case:
    """Emit over many keys, while a subscription comes and goes before every so many emits."""
    accounts = [f"account-{i}" for i in range(HOT_KEYS)]
    passing = edr.Binding(app_name="one more")
    bus = edr.Bus()

    async def run(n: int) -> None:
        emit = bus.emit
        for _ in repeat(None, n):
            for i, account in enumerate(accounts):
                if every and i % every == 0:
                    bus.subscribe(passing).close()
                await emit(APP, VERSION, "ok", "info", SMALL_BODY, account)

    when = f"one comes and goes every {every:,}" if every else "none comes or goes"
    does = f"{HOT_KEYS:,} keys in turn"
    return Case(f"edr, emit to nobody, {when}", run, does, per=HOT_KEYS, ours=True)


async def _meanwhile(settings: Settings) -> list[Row]:
    cases = [_emitting(every) for every in (None, 1_000, 100, 10)]
    return await measure(cases, settings)


def _in_process(number: int, settings: Settings) -> list[Row]:
    return asyncio.run((_distinct, _same, _meanwhile)[number](settings))


NOTES = """\
The binding exists already. The ratio is to the first row of the same kind."""


def run(settings: Settings) -> Table:
    return Table(
        "What does it cost to subscribe and close, and what does it cost those who emit meanwhile?",
        [row for number in range(3) for row in in_subprocess(_in_process, number, settings)],
        notes=NOTES,
    )


if __name__ == "__main__":
    main(run)
