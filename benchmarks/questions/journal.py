"""What does it cost to store an event durably, when so many emitters wait for it at once?

Ratios are to the journal with sync=disk, for the same number of emitters: below 1 is faster. Who
does not sync loses up to a second, or more, with the power; for one emitter that decides it.
"""

from __future__ import annotations

import asyncio
import gc
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median
from time import perf_counter

import edr
from benchmarks.harness.harness import Settings, main, noise_of, run_async
from benchmarks.harness.table import Row, Table, not_installed
from benchmarks.peers.stores import STORES, EdrDisk, EdrProcess, Store

EVENTS = {1: 100, 10: 500, 100: 2000, 1000: 4000}
"""Emitters -> events in a sample."""

LEAST = {
    ("Redis Streams, appendfsync always", 1): 0.8,
    ("Redis Streams, appendfsync always", 10): 4,
    ("Redis Streams, appendfsync always", 100): 4,
    ("Redis Streams, appendfsync always", 1000): 5,
    ("persist-queue, SQLiteQueue", 10): 4,
    ("persist-queue, SQLiteQueue", 100): 4,
    ("persist-queue, SQLiteQueue", 1000): 5,
    ("Redis Streams, appendfsync everysec", 1000): 5,
    ("JetStream, file storage", 1000): 5,
    ("litequeue", 1000): 5,
}
"""What the cost of others shall be at least, as a multiple of the journal's; told in the notes."""


def _event(n: int) -> edr.Event:
    return edr.Event(
        app_name="callflow",
        app_version="5.1",
        severity="ok",
        verbosity="info",
        account_id=f"account-{n % 20}",
        body={"call_id": f"{n:08x}", "status": "answered", "agent": f"agent-{n % 50}", "wait": n},
    )


async def _sample(store: Store, emitters: int, events: list[edr.Event]) -> float:
    async def emit(mine: list[edr.Event]) -> None:
        for event in mine:
            await store.store(event)

    parts = [events[start::emitters] for start in range(emitters)]
    start = perf_counter()
    await asyncio.gather(*[emit(part) for part in parts])
    return (perf_counter() - start) / len(events) * 1e9


async def _rows(settings: Settings) -> list[Row]:
    stores = [each for each in STORES if each.is_there()]
    rounds = 3 if settings.quick else 7
    costs: dict[tuple[str, int], list[float]] = {}
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        running = []
        for number, kind in enumerate(stores):
            own = folder / str(number)
            own.mkdir()
            store = kind(own)
            await store.start()
            stack.push_async_callback(store.stop)
            running.append(store)
        events = {emitters: [_event(n) for n in range(count)] for emitters, count in EVENTS.items()}
        gc.collect()
        for number in range(-1, rounds):
            for emitters, some in events.items():
                for store in running:
                    cost = await _sample(store, emitters, some if number >= 0 else some[:emitters])
                    if number >= 0:
                        costs.setdefault((store.name, emitters), []).append(cost)
    rows = []
    for emitters in EVENTS:
        base = costs[EdrDisk.name, emitters]
        for kind in stores:
            samples = costs[kind.name, emitters]
            ratios = [cost / ours for cost, ours in zip(samples, base, strict=True)]
            rows.append(
                Row(
                    f"{kind.name}; {emitters:,} emitter{'s' * (emitters > 1)}",
                    median(samples),
                    does=kind.does,
                    ratio=None if kind is EdrDisk else median(ratios),
                    noise=noise_of(samples if kind is EdrDisk else ratios),
                    ours=kind in {EdrDisk, EdrProcess},
                )
            )
    return rows + [not_installed(kind.name) for kind in STORES if not kind.is_there()]


def run(settings: Settings) -> Table:
    rows = run_async(_rows, settings)
    known = {row.what: row.ratio for row in rows}
    verdicts = []
    for (name, emitters), least in LEAST.items():
        ratio = known.get(f"{name}; {emitters:,} emitter{'s' * (emitters > 1)}")
        if ratio is not None:
            met = "met" if ratio >= least else "NOT MET"
            verdicts.append(f"{name}, {emitters:,}: at least {least}, is {ratio:.2f}: {met}.")
    return Table(
        "What does it cost to store an event durably, when so many emitters wait at once?",
        rows,
        per="event",
        notes="Ratios: cost as a multiple of the journal's with sync=disk. " + " ".join(verdicts),
    )


if __name__ == "__main__":
    main(run)
