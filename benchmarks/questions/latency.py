"""How long from emit to receive, at a given rate, and what does a slow subscriber add?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from statistics import median, quantiles
from time import perf_counter
from typing import Any

import edr
from benchmarks.harness.harness import Settings, main, no_collection, noise_of, run_async
from benchmarks.harness.samples import APP, VERSION, plain_of
from benchmarks.harness.table import Row, Table

RATES = (1_000, 10_000, 50_000)
SUBSCRIBERS = 10
SLOW_RATE = 10_000
SLOW_CAPACITY = 64
SLOW_PAUSE = 0.01
"""Seconds for which the slow subscriber sleeps over each event: it manages a hundredth."""

PERCENTILES = ((50, "p50"), (99, "p99"), (99.9, "p99.9"))

Emit = Callable[[dict[str, Any]], Awaitable[Any]]


async def _paced(
    emit: Emit, rate: int, seconds: float, *, from_due: bool
) -> tuple[list[float], float]:
    """Emit at ``rate``; return when each event started, and the rate that was reached.

    It spins, because a loop's timer is a millisecond coarse. With ``from_due`` an event starts
    when its turn had come, so an emitter that is held up shows as latency.
    """
    starts: list[float] = []
    total = int(rate * seconds)
    began = perf_counter()
    for i in range(total):
        due = began + i / rate
        while (now := perf_counter()) < due:  # noqa: ASYNC110 - no timer is as fine
            await asyncio.sleep(0)
        if now > began + 3 * seconds:
            break  # held up for good, as by a slow subscriber under BLOCK
        starts.append(due if from_due else now)
        await emit({"n": i})
    return starts, len(starts) / (perf_counter() - began)


class _Receiver:
    """Notes when each event came."""

    def __init__(self) -> None:
        self.came: list[tuple[int, float]] = []

    async def edr(self, events: edr.Subscription) -> None:
        came = self.came
        async for event in events:
            came.append((event.body["n"], perf_counter()))

    async def queue(self, queue: asyncio.Queue[Any]) -> None:
        came = self.came
        while True:
            event = await queue.get()
            came.append((event.body["n"], perf_counter()))


async def _slow(events: edr.Subscription) -> None:
    try:
        async for _ in events:
            await asyncio.sleep(SLOW_PAUSE)
    except edr.SubscriptionOverflowError:
        pass


async def _latencies(
    emit: Emit,
    receivers: list[_Receiver],
    consumers: list[Coroutine[Any, Any, None]],
    rate: int,
    seconds: float,
    *,
    from_due: bool,
) -> tuple[list[float], float]:
    tasks = [asyncio.create_task(consumer) for consumer in consumers]
    await asyncio.sleep(0)
    with no_collection():
        starts, reached = await _paced(emit, rate, seconds, from_due=from_due)
        await asyncio.sleep(0.01)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return [at - starts[n] for receiver in receivers for n, at in receiver.came], reached


def _emit_of(bus: edr.Bus) -> Emit:
    return lambda body: bus.emit(APP, VERSION, "ok", "info", body)


async def _by_edr(rate: int, seconds: float) -> tuple[list[float], float]:
    bus = edr.Bus()
    receivers = [_Receiver() for _ in range(SUBSCRIBERS)]
    consumers = [receiver.edr(bus.subscribe(edr.Binding(app_name=APP))) for receiver in receivers]
    try:
        return await _latencies(_emit_of(bus), receivers, consumers, rate, seconds, from_due=True)
    finally:
        await bus.aclose()


async def _by_hand(rate: int, seconds: float) -> tuple[list[float], float]:
    queues: list[asyncio.Queue[Any]] = [asyncio.Queue(1024) for _ in range(SUBSCRIBERS)]

    async def emit(body: dict[str, Any]) -> None:
        event = plain_of(body)
        for queue in queues:
            await queue.put(event)

    receivers = [_Receiver() for _ in queues]
    consumers = [receiver.queue(queue) for receiver, queue in zip(receivers, queues, strict=True)]
    return await _latencies(emit, receivers, consumers, rate, seconds, from_due=True)


async def _beside_slow(overflow: edr.Overflow | None, seconds: float) -> tuple[list[float], float]:
    """Measure one fast subscriber, beside a slow one with this policy."""
    bus = edr.Bus()
    receiver = _Receiver()
    consumers = [receiver.edr(bus.subscribe(edr.Binding(app_name=APP), name="fast"))]
    if overflow is not None:
        slow = bus.subscribe(
            edr.Binding(app_name=APP), capacity=SLOW_CAPACITY, overflow=overflow, name="slow"
        )
        consumers.append(_slow(slow))
    try:
        return await _latencies(
            _emit_of(bus), [receiver], consumers, SLOW_RATE, seconds, from_due=False
        )
    finally:
        await bus.aclose()


async def _interleaved(
    measures: dict[str, Callable[[], Awaitable[tuple[list[float], float]]]], rounds: int
) -> list[Row]:
    """Return rows of percentiles; the ratio is to the first of ``measures``."""
    found: dict[str, list[list[float]]] = {name: [] for name in measures}
    reached: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(rounds):
        for name, take in measures.items():
            latencies, rate = await take()
            cuts = quantiles(latencies, n=1000)
            found[name].append([cuts[int(p * 10) - 1] * 1e9 for p, _ in PERCENTILES])
            reached[name].append(rate)
    first = next(iter(measures))
    rows = []
    for which, (_, percentile) in enumerate(PERCENTILES):
        for name in measures:
            values = [round_[which] for round_ in found[name]]
            base = [round_[which] for round_ in found[first]]
            ratios = [value / other for value, other in zip(values, base, strict=True)]
            rows.append(
                Row(
                    f"{name}, {percentile}",
                    median(values),
                    does=f"{median(reached[name]):,.0f} events/s reached",
                    ratio=None if name == first else median(ratios),
                    noise=noise_of(values if name == first else ratios),
                    ours=name.startswith("edr"),
                )
            )
    return rows


async def _rows(settings: Settings) -> list[Row]:
    seconds = 0.1 if settings.quick else 0.5
    rounds = 3 if settings.quick else 7
    rows = []
    for rate in RATES:
        measures = {
            f"asyncio.Queue at {rate:,}/s": lambda rate=rate: _by_hand(rate, seconds),
            f"edr at {rate:,}/s": lambda rate=rate: _by_edr(rate, seconds),
        }
        rows += await _interleaved(measures, rounds)
    beside: dict[str, Callable[[], Awaitable[Any]]] = {
        "edr, a fast one alone": lambda: _beside_slow(None, seconds)
    }
    for overflow in edr.Overflow:
        name = f"edr, a fast one beside a slow one, {overflow.name}"
        beside[name] = lambda overflow=overflow: _beside_slow(overflow, seconds)
    return rows + await _interleaved(beside, rounds)


NOTES = f"""\
At a rate: {SUBSCRIBERS} subscribers, from when the event was due, so an emitter that cannot keep
up shows. The queue loop builds the plain Pydantic model. Beside a slow one, which sleeps
{SLOW_PAUSE * 1e3:g} ms over each event and holds {SLOW_CAPACITY}: at {SLOW_RATE:,} events/s, from
the call of emit. Under BLOCK the emitter is paced, as asked, and so is what the fast one gets."""


def run(settings: Settings) -> Table:
    return Table(
        "How long from emit to receive, at a given rate, and what does a slow subscriber add?",
        run_async(_rows, settings),
        per="event",
        notes=NOTES,
    )


if __name__ == "__main__":
    main(run)
