"""What does it cost to stream events to web clients?

The clients are a process of their own. CPU time of this process is told, which has the server and
emits the events.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from importlib.util import find_spec
from statistics import median
from time import process_time
from typing import TypeAlias

import edr
from benchmarks.harness.harness import (
    Settings,
    in_subprocess,
    main,
    no_collection,
    noise_of,
    run_async,
)
from benchmarks.harness.samples import event_of
from benchmarks.harness.table import Row, Table, not_installed
from benchmarks.peers import web
from benchmarks.peers.web import Serving

CLIENTS = 100
RATE = 1_000
"""Events in a second."""

STUCK = 300
IDLE = 300

Form: TypeAlias = Callable[[], AbstractAsyncContextManager[Serving]]

SSE = "edr.web, SSE"
FORMS: dict[str, tuple[Form, str | None]] = {
    "sse-starlette, an asyncio.Queue each": (web.sse_starlette, "sse_starlette"),
    "litestar channels, WebSocket": (web.litestar_channels, "litestar"),
    "edr, a subscription each, by hand": (web.by_hand, None),
    "the same, in batches": (web.by_hand_in_batches, None),
    SSE: (web.gateway_sse, None),
    f"edr.web, SSE, {CLIENTS} different filters": (web.gateway_filters, None),
    "edr.web, WebSocket": (web.gateway_websocket, None),
    "edr.web, SSE, with a journal": (web.gateway_journal, None),
}
"""Name -> how it is served, and the package that it needs."""

RATIOS: list[tuple[str, str, float | None]] = [
    ("sse-starlette, an asyncio.Queue each", SSE, 0.12),
    ("litestar channels, WebSocket", SSE, 0.25),
    ("edr, a subscription each, by hand", SSE, 0.6),
    ("the same, in batches", SSE, None),
    (SSE, f"edr.web, SSE, {CLIENTS} different filters", 1.4),
    (SSE, "edr.web, WebSocket", 1.7),
    (SSE, "edr.web, SSE, with a journal", 1.1),
]
"""The baseline, what is compared with it, and the target."""


class Clients:
    """The process of the clients."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def line(self) -> str:
        assert self._process.stdout is not None
        return (await self._process.stdout.readline()).decode().strip()

    async def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()


@asynccontextmanager
async def clients(
    serving: Serving, count: int, events: int, *, reads: bool = True
) -> AsyncIterator[Clients]:
    """Connect clients that wait for ``events`` events each."""
    module = "benchmarks.harness.web_clients"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, str(serving.port), str(count), str(events),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    plan = {
        "requests": serving.requests,
        "frames": serving.frames,
        "ready": serving.ready,
        "marker": web.MARKER,
        "reads": reads,
    }
    process.stdin.write(json.dumps(plan).encode() + b"\n")
    running = Clients(process)
    assert await running.line() == "ready", "the clients could not connect"
    await asyncio.sleep(0.2)
    try:
        yield running
    finally:
        await running.close()


async def _cpu_per_delivery(form: Form, count: int) -> float:
    """Return the ns of CPU for each event that a client received."""
    events = [event_of() for _ in range(count)]
    async with form() as serving, clients(serving, CLIENTS, count) as running:
        with no_collection():
            began = process_time()
            await _publish(serving, events)
            received = int(await running.line())
            took = process_time() - began
        await running.close()
    if received < CLIENTS * count:
        print(f"{form}: {CLIENTS * count - received:,} events were lost", file=sys.stderr)
    return took * 1e9 / max(received, 1)


async def _publish(serving: Serving, events: list[edr.Event]) -> None:
    """Publish at the rate. Events that are due come at once: they do not wait for the server."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    for n, event in enumerate(events):
        ahead = n / RATE - (loop.time() - began)
        if ahead > 0:
            await asyncio.sleep(ahead)
        serving.publish(event)


async def _deliveries(settings: Settings) -> list[Row]:
    forms = {name: form for name, (form, needs) in FORMS.items() if not needs or find_spec(needs)}
    costs: dict[str, list[float]] = {name: [] for name in forms}
    count = 200 if settings.quick else 500
    for _ in range(3 if settings.quick else 7):
        for name, form in forms.items():
            costs[name].append(await _cpu_per_delivery(form, count))
    rows = []
    for base, name, limit in RATIOS:
        if base not in costs:
            rows.append(not_installed(base))
            continue
        rows.append(_row(base, costs[base]))
        ratios = [ours / other for ours, other in zip(costs[name], costs[base], strict=True)]
        rows.append(_row(name, costs[name], ratios, limit, f"against {base}"))
    return rows


def _row(
    what: str,
    costs: list[float],
    ratios: list[float] | None = None,
    limit: float | None = None,
    does: str = "",
) -> Row:
    return Row(
        what,
        median(costs),
        ratio=None if ratios is None else median(ratios),
        noise=noise_of(ratios or costs),
        limit=limit,
        does=does,
        ours=what.startswith("edr.web"),
    )


async def _next_to_stuck(settings: Settings) -> list[Row]:
    """Return what an emit costs next to clients that do not read."""
    event = event_of()
    samples: dict[int, list[float]] = {0: [], STUCK: []}
    async with AsyncExitStack() as stack:
        servings = {}
        for count in samples:
            serving = servings[count] = await stack.enter_async_context(web.gateway_sse())
            await stack.enter_async_context(clients(serving, 1, 0))
            if count:
                await stack.enter_async_context(clients(serving, count, 0, reads=False))
                for _ in range(2000):  # their sockets are full
                    serving.publish(event)
                await asyncio.sleep(0.5)
        for _ in range(settings.rounds):
            for count, serving in servings.items():
                with no_collection():
                    began = process_time()
                    for _ in range(300):
                        serving.publish(event)
                    samples[count].append((process_time() - began) * 1e9 / 300)
                await asyncio.sleep(0.01)
    alone, stuck = samples[0], samples[STUCK]
    ratios = [mine / other for mine, other in zip(stuck, alone, strict=True)]
    what = "edr.web, an emit next to"
    return [
        _row(f"{what} one client", alone),
        _row(f"{what} one client and {STUCK} stuck ones", stuck, ratios, 1.3),
    ]


def _idle_bytes(name: str) -> float:
    return asyncio.run(_measure_idle(FORMS[name][0]))


async def _measure_idle(form: Form) -> float:
    import psutil

    async with form() as serving, clients(serving, 20, 0):
        gc.collect()
        before = psutil.Process().memory_info().rss
        async with clients(serving, IDLE, 0):
            gc.collect()
            return (psutil.Process().memory_info().rss - before) / IDLE


def _memory() -> list[Row]:
    rows = []
    base = None
    for name, limit in (
        ("sse-starlette, an asyncio.Queue each", None),
        ("litestar channels, WebSocket", None),
        (SSE, 0.5),
        ("edr.web, WebSocket", None),
    ):
        needs = FORMS[name][1]
        what = f"{name}: an idle client"
        if needs and not find_spec(needs):
            rows.append(not_installed(what))
            continue
        size: float = in_subprocess(_idle_bytes, name)
        base = base or size
        ratio = None if base is size else size / base
        rows.append(Row(what, size, "B", ratio=ratio, limit=limit, ours=name.startswith("edr.web")))
    return rows


async def _rows(settings: Settings) -> list[Row]:
    return [*await _deliveries(settings), *await _next_to_stuck(settings)]


NOTES = f"""\
Deliveries: CPU of the server for each event that a client received, {CLIENTS} clients, {RATE:,}
events in a second. All servers are uvicorn with the same options. Memory: {IDLE} clients that are
connected and receive nothing, each server in a process of its own."""


def run(settings: Settings) -> Table:
    return Table(
        "What does it cost to stream events to web clients?",
        [*run_async(_rows, settings), *_memory()],
        per="delivered event",
        notes=NOTES,
    )


if __name__ == "__main__":
    main(run)
