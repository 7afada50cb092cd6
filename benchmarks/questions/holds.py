"""For how long does what a large bus does hold the event loop?"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from time import thread_time
from typing import Self

import edr
from benchmarks.harness.harness import Settings, in_subprocess, main
from benchmarks.harness.samples import SMALL_BODY, event_of
from benchmarks.harness.table import Row, Table

LIMIT = 50e6
"""Nanoseconds: what a service may miss of its other work, such as a heartbeat or a request."""

SIZE = 1_000_000
NEW_KEYS = 24_000
"""More than a bus remembers, so that it forgets some meanwhile."""


class _Heartbeat:
    """A task that wants its turn in each turn of the loop, and notes the longest wait for it.

    By the clock of the thread, which stands still while the machine runs another process.
    """

    def __init__(self) -> None:
        self.longest = 0.0
        self._beating = True

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._beat())
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._beating = False
        await self._task

    async def _beat(self) -> None:
        last = thread_time()
        while self._beating:
            await asyncio.sleep(0)
            now = thread_time()
            self.longest = max(self.longest, now - last)
            last = now


class _Large:
    """A bus with very many subscriptions, each to an app of its own."""

    def __init__(self, size: int) -> None:
        self.bus = edr.Bus()
        self.held = [self.bus.subscribe(edr.Binding(app_name=f"app-{i}")) for i in range(size)]

    # What comes before, and is not measured

    async def idle(self) -> None:
        pass

    async def fill(self) -> None:
        """Queue an event in each subscription."""
        event = event_of()
        for i in range(len(self.held)):
            await self.bus.publish(event.model_copy(update={"app_name": f"app-{i}"}))

    async def drop(self) -> None:
        """Refer to no subscription any more; what this statement takes is not the bus's."""
        self.held.clear()

    # What is measured

    async def statistics(self) -> None:
        self.bus.statistics()

    async def aclose(self) -> None:
        await self.bus.aclose()

    async def release(self) -> None:
        while " 0 subscription" not in repr(self.bus):  # noqa: ASYNC110 - turns are wanted
            await asyncio.sleep(0)

    async def emit_new(self) -> None:
        for i in range(NEW_KEYS):
            await self.bus.emit(f"new-{i}", f"5.{i}", "ok", "info", SMALL_BODY, f"account-{i}")
            await asyncio.sleep(0)

    async def come_and_go(self) -> None:
        """Make stale all that is remembered of the new keys."""
        self.bus.subscribe(edr.Binding()).shutdown()


Step = Callable[[_Large], Awaitable[None]]
LIVES: tuple[tuple[Step, dict[str, Step]], ...] = (
    (
        _Large.idle,
        {
            "statistics, all idle": _Large.statistics,
            f"{NEW_KEYS:,} emits, each of a new key": _Large.emit_new,
            "one to any app comes and goes": _Large.come_and_go,
            "aclose, all idle": _Large.aclose,
        },
    ),
    (
        _Large.fill,
        {
            "statistics, an event in each": _Large.statistics,
            "aclose, an event in each": _Large.aclose,
        },
    ),
    (_Large.drop, {"release of those that were dropped": _Large.release}),
)
"""What comes first, and then, by name, what is measured one after the other on the same bus."""


async def _holds(number: int, size: int) -> dict[str, float]:
    gc.disable()  # its holds are the interpreter's, and grow with all that a program keeps
    it = _Large(size)
    before, steps = LIVES[number]
    await before(it)
    longest = {}
    for name, do in steps.items():
        async with _Heartbeat() as heart:
            await do(it)
        longest[name] = heart.longest * 1e9
    return longest


def _in_process(number: int, size: int) -> dict[str, float]:
    return asyncio.run(_holds(number, size))


def run(settings: Settings) -> Table:
    size = SIZE // 20 if settings.quick else SIZE
    rows = [
        Row(f"edr, {name}", value=hold, limit=LIMIT, at=size, ours=True)
        for number in range(len(LIVES))
        for name, hold in in_subprocess(_in_process, number, size).items()
    ]
    return Table(
        "For how long does what a large bus does hold the event loop?",
        rows,
        per="longest hold",
        notes="The longest wait of a task that is always ready, in time of the processor; without\n"
        "garbage collection.",
    )


if __name__ == "__main__":
    main(run)
