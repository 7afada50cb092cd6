"""Measuring: interleaved rounds, medians, ratios round by round.

A machine is never quiet, and what disturbs it lasts longer than a sample. So the cases of a
table take turns, A B C A B C …, and what is told is the median over the rounds; a ratio is
taken within each round, where both sides met the same weather, and then its median. The noise
is half the distance between the quartiles, as a share of the median.

Garbage is collected between samples, not in them, and what was there before is frozen: a
collection that happens to fall into one case's turn would be charged to it.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import inspect
import json
import multiprocessing
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from statistics import median, quantiles
from time import perf_counter
from typing import Any

from benchmarks.harness.table import Row, Table


@dataclass(frozen=True)
class Settings:
    """How thoroughly to measure."""

    quick: bool = False
    files: tuple[str, ...] = ()
    """What the user gave to measure on; only some benches take any."""

    @property
    def rounds(self) -> int:
        return 7 if self.quick else 15

    @property
    def seconds(self) -> float:
        """About how long a sample lasts: long against a loop's turn, short against the weather."""
        return 0.005 if self.quick else 0.02

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers of subscriptions at which growth is looked at."""
        return (10, 1_000, 10_000) if self.quick else (10, 1_000, 100_000, 1_000_000)


def _nothing(*_args: Any) -> None: ...


@dataclass(frozen=True)
class Case:
    """One way to do the work of a table.

    Args:
        what: who does it.
        does: what it does, where that differs from what the others do.
        run: does it ``n`` times; a plain or an async function.
        before: called with ``n`` before each sample, untimed.
        after: called after each sample, untimed.
        per: operations in each of the ``n``, such as deliveries in an emit.
        step: ``n`` is a multiple of it, unless that would take far too long.
        most: the largest ``n`` that ``run`` can bear.
        limit: the most that its cost may be, as a multiple of the baseline's.
        at: the number of subscriptions.
        ours: whether a slowdown of it is a slowdown of edr.
    """

    what: str
    run: Callable[[int], Any]
    does: str = ""
    before: Callable[[int], Any] = _nothing
    after: Callable[[], Any] = _nothing
    per: int = 1
    step: int = 1
    most: int = 1_000_000
    limit: float | None = None
    at: int | None = None
    ours: bool = False


async def measure(cases: Sequence[Case], settings: Settings) -> list[Row]:
    """Return a row for each case. The first is the baseline: ratios are to its cost."""
    gc.collect()
    gc.freeze()  # for good: the process ends with its bench
    counts = [await _calibrate(case, settings.seconds) for case in cases]
    costs: list[list[float]] = [[] for _ in cases]
    fixed: list[float] = []
    for _ in range(settings.rounds):
        fixed.append(_fixed_work())
        for case, n, samples in zip(cases, counts, costs, strict=True):
            samples.append(await _sample(case, n) / (n * case.per) * 1e9)
    rows = [_row(case, costs[0], samples) for case, samples in zip(cases, costs, strict=True)]
    paces = [cost / work for cost, work in zip(costs[0], fixed, strict=True)]
    baseline = replace(rows[0], ratio=None, limit=None, pace=median(paces), noise=noise_of(paces))
    return [baseline, *rows[1:]]


def _fixed_work() -> float:
    """Return the ns that an iteration of a fixed loop takes now: what this machine is worth."""
    count = 20_000
    box: dict[int, tuple[int, str]] = {}
    start = perf_counter()
    for i in range(count):
        box[i & 255] = (i, str(i))
    return (perf_counter() - start) / count * 1e9


def measure_plain(cases: Sequence[Case], settings: Settings) -> list[Row]:
    """Do as ``measure``, outside of any loop, for cases whose functions are all plain."""
    measuring = measure(cases, settings)
    try:
        measuring.send(None)
    except StopIteration as done:
        rows: list[Row] = done.value
        return rows
    raise TypeError("a case of measure_plain must not wait")


def _row(case: Case, base: list[float], costs: list[float]) -> Row:
    ratios = [cost / other for cost, other in zip(costs, base, strict=True)]
    return Row(
        case.what,
        value=median(costs),
        does=case.does,
        ratio=median(ratios),
        noise=noise_of(ratios),
        limit=case.limit,
        at=case.at,
        ours=case.ours,
    )


def noise_of(samples: Sequence[float]) -> float:
    """Return half the distance between the quartiles, as a share of the median."""
    if len(samples) < 2:
        return 0.0
    low, middle, high = quantiles(samples, n=4)
    return (high - low) / 2 / middle if middle else 0.0


async def _calibrate(case: Case, seconds: float) -> int:
    """Find how often the case must be run to fill a sample; warms it up too."""
    n = 1
    while True:
        elapsed = await _sample(case, n)
        if elapsed >= seconds / 2:  # again: a stall of the machine must not pass for the work
            elapsed = min(elapsed, await _sample(case, n))
        if elapsed >= seconds / 2 or n >= case.most:
            is_near = n * 4 >= case.step
            return -(-n // case.step) * case.step if is_near else n
        n = min(case.most, n * 10, max(n * 2, int(n * seconds / max(elapsed, 1e-9))))


async def _sample(case: Case, n: int) -> float:
    await _finish(case.before(n))
    with no_collection():
        start = perf_counter()
        working = case.run(n)
        if working is not None:
            await working
        elapsed = perf_counter() - start
    await _finish(case.after())
    return elapsed


async def _finish(result: Any) -> None:
    if inspect.isawaitable(result):
        await result


@contextmanager
def no_collection() -> Iterator[None]:
    """Collect garbage now, and not until the end."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def in_subprocess(function: Callable[..., Any], *args: Any) -> Any:
    """Call ``function`` in a process of its own, where no earlier bench has left anything."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(function, args)


def main(bench: Callable[[Settings], Table], *, takes_files: bool = False) -> None:
    """Ask one bench its question and print its table."""
    parser = argparse.ArgumentParser(
        description=inspect.getdoc(sys.modules["__main__"]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if takes_files:
        parser.add_argument("files", nargs="*", metavar="FILE", help="events, a line of JSON each")
    parser.add_argument("--quick", action="store_true", help="smaller sizes, fewer rounds")
    parser.add_argument("--json", action="store_true", help="print the table as JSON")
    arguments = parser.parse_args()
    table = bench(Settings(arguments.quick, tuple(getattr(arguments, "files", ()))))
    print(json.dumps(table.to_json()) if arguments.json else table.as_text())


def run_async(rows: Callable[[Settings], Any], settings: Settings) -> list[Row]:
    """Run an async bench in a fresh event loop."""
    return asyncio.run(rows(settings))
