"""How much memory does an idle subscription take, and does the memory come back?"""

from __future__ import annotations

import asyncio
import gc
import importlib.util
from collections.abc import Callable
from contextlib import suppress
from itertools import repeat
from typing import Any

import edr
from benchmarks.harness.harness import Settings, in_subprocess, main
from benchmarks.harness.population import cycled
from benchmarks.harness.samples import APP, SMALL_BODY, VERSION, event_of
from benchmarks.harness.table import Row, Table, not_installed
from benchmarks.peers import (
    AnyioStreams,
    Blinker,
    DequeFloor,
    EdrPublish,
    Litestar,
    Peer,
    Pyee,
    QueueLoop,
    is_installed,
    missing,
)

LIMIT = 1024
USED_LIMIT = 1280
REMEMBERED = 20_000
"""Keys: more than a bus remembers."""

LEFT_SHARE = 0.05
"""The share of its greatest growth that a process may keep: an allocator cannot give back a page
of which a corner is in use."""

LEFT_LEAST = 8 * 2**20
"""Bytes that it may keep in any case: a leak of one pointer for each of a million."""

IDLE: dict[type[Peer], int] = {
    EdrPublish: 1_000_000,
    DequeFloor: 1_000_000,
    QueueLoop: 100_000,
    Blinker: 100_000,
    Pyee: 100_000,
    AnyioStreams: 100_000,
    Litestar: 100_000,
}


def resident() -> int:
    """Return the resident size of this process, after a collection."""
    import psutil

    gc.collect()
    return psutil.Process().memory_info().rss


async def _idle_bytes(peer: type[Peer], size: int) -> float:
    it = peer()
    await it.start()
    await it.subscribe(["warm up"], consume=False)
    before = resident()
    await it.subscribe((f"app-{i}" for i in range(size)), consume=False)
    return (resident() - before) / size


async def _used_bytes(size: int) -> float:
    """Let each subscription have one event, and its consumer wait for the next, and give up."""
    bus = edr.Bus()
    bus.enter()
    event = event_of()
    await _use(bus.subscribe(edr.Binding(app_name=APP)), bus, event)
    for i in range(REMEMBERED):  # what the bus remembers of keys is no subscription's
        await bus.publish(event.model_copy(update={"app_name": f"other-{i}"}))
    before = resident()
    held = []
    for i in range(size):
        held.append(bus.subscribe(edr.Binding(app_name=f"app-{i}")))
        await _use(held[-1], bus, event.model_copy(update={"app_name": f"app-{i}"}))
    return (resident() - before) / size


async def _use(subscription: edr.Subscription, bus: edr.Bus, event: edr.Event) -> None:
    await bus.publish(event)
    await anext(subscription)
    waiting = subscription.__anext__()
    waiting.send(None)  # as a task does, whose memory would be in the figure
    with suppress(asyncio.CancelledError):
        waiting.throw(asyncio.CancelledError)


async def _come_and_go(count: int) -> tuple[int, int, int]:
    bus = edr.Bus()
    bindings = [edr.Binding(app_name=f"app-{i}") for i in range(1_000)]

    def turn(n: int) -> None:
        for binding in cycled(bindings, n):
            bus.subscribe(binding).shutdown()

    turn(10_000)
    before = resident()
    turn(count)
    after = resident()
    return before, after, after


async def _all_at_once(count: int) -> tuple[int, int, int]:
    bus = edr.Bus()
    before = resident()
    held = [bus.subscribe(edr.Binding(app_name=f"app-{i}")) for i in range(count)]
    peak = resident()
    for subscription in held:
        subscription.shutdown()
    del held, subscription
    return before, peak, resident()


async def _dropped(count: int) -> tuple[int, int, int]:
    bus = edr.Bus()
    bus.enter()
    before = resident()
    held = [bus.subscribe(edr.Binding(app_name=f"app-{i}")) for i in range(count)]
    peak = resident()
    del held
    while " 0 subscription" not in repr(bus):  # noqa: ASYNC110 - it lets go of them in slices
        await asyncio.sleep(0)
    return before, peak, resident()


async def _events_through(count: int) -> tuple[int, int, int]:
    bus = edr.Bus()
    subscription = bus.subscribe(edr.Binding(app_name=APP))

    async def turn(n: int) -> None:
        for _ in repeat(None, n // 500):
            for i in range(500):
                await bus.emit(APP, VERSION, "ok", "info", SMALL_BODY, f"account-{i}")
            for _ in range(500):
                await anext(subscription)

    await turn(10_000)
    before = resident()
    await turn(count)
    after = resident()
    return before, after, after


async def _events_queued(count: int) -> tuple[int, int, int]:
    bus = edr.Bus()
    subscription = bus.subscribe(edr.Binding(app_name=APP), capacity=count)
    before = resident()
    for _ in repeat(None, count):
        await bus.emit(APP, VERSION, "ok", "info", SMALL_BODY)
    peak = resident()
    for _ in repeat(None, count):
        await anext(subscription)
    return before, peak, resident()


LEAKS: dict[str, Callable[[int], Any]] = {
    "subscriptions that come and go, one by one": _come_and_go,
    "subscriptions at once, then closed": _all_at_once,
    "subscriptions at once, then forgotten": _dropped,
    "events, emitted and taken in bursts of 500": _events_through,
    "events queued at once, then taken": _events_queued,
}


def _idle_in_process(peer: type[Peer], size: int) -> float:
    gc.disable()  # it would visit what stays, again and again; ``resident`` collects
    return asyncio.run(_idle_bytes(peer, size))


def _used_in_process(size: int) -> float:
    gc.disable()
    return asyncio.run(_used_bytes(size))


def _leak_in_process(name: str, count: int) -> tuple[int, int, int]:
    gc.disable()
    return asyncio.run(LEAKS[name](count))


def _idle_row(peer: type[Peer], size: int) -> Row:
    return Row(
        peer.name.removesuffix(", publish"),
        value=in_subprocess(_idle_in_process, peer, size),
        unit="B",
        does="an idle subscription, with its name and all that leads to it",
        limit=LIMIT if peer.ours else None,
        at=size,
        ours=peer.ours,
    )


def _used_row(size: int) -> Row:
    return Row(
        "edr, used and empty",
        value=in_subprocess(_used_in_process, size),
        unit="B",
        does="it had an event, and its consumer waited for the next",
        limit=USED_LIMIT,
        at=size,
        ours=True,
    )


def _leak_row(name: str, count: int) -> Row:
    before, peak, after = in_subprocess(_leak_in_process, name, count)
    mebi = [f"{size / 2**20:,.0f}" for size in (before, peak, after)]
    return Row(
        f"left of {count:,} {name}",
        value=float(max(0, after - before)),
        unit="B",
        does=f"resident: {mebi[0]} MiB before, {mebi[1]} at its height, {mebi[2]} after",
        limit=max(LEFT_LEAST, LEFT_SHARE * (peak - before)),
        ours=True,
    )


def run(settings: Settings) -> Table:
    question = "How much memory does an idle subscription take, and does the memory come back?"
    if importlib.util.find_spec("psutil") is None:
        return Table(question, [not_installed("psutil")])
    share = 20 if settings.quick else 1
    rows = [_idle_row(peer, size // share) for peer, size in IDLE.items() if is_installed(peer)]
    rows.insert(1, _used_row(IDLE[EdrPublish] // share))
    rows += [_leak_row(name, 1_000_000 // share) for name in LEAKS]
    notes = "Resident size, each row in a process of its own."
    return Table(question, rows + missing(IDLE), per="subscription, or left", notes=notes)


if __name__ == "__main__":
    main(run)
