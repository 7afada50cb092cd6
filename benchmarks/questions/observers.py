"""What does an observer that reads nothing any more cost those who emit?"""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import edr
from benchmarks.harness.harness import Case, Settings, main, measure, run_async
from benchmarks.harness.samples import APP
from benchmarks.harness.table import Row, Table
from benchmarks.peers import EdrEmit, EdrPublish, case_of, ready, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LIMIT = 1.3
CAPACITY = 64
LONG_AGO = 1_000
"""Events that the observer has lost when it is measured."""


@asynccontextmanager
async def _beside_dead(
    kind: type[EdrPublish], overflow: edr.Overflow | None
) -> AsyncIterator[Case]:
    """Send to one live consumer, beside a subscription that nobody reads, full for long."""
    async with running(kind, [APP]) as it:
        assert isinstance(it, EdrPublish)
        what = f"{it.name}, to a live one alone"
        if overflow is not None:
            what = f"{it.name}, beside a dead one, {overflow.name}"
            dead = it.bus.subscribe(
                edr.Binding(app_name=APP), capacity=CAPACITY, overflow=overflow, name="dead"
            )
            await it.send(ready(it, APP)(CAPACITY + LONG_AGO))
            await it.settle()
            assert sum(dead.statistics().dropped.values()) >= (
                1 if overflow is edr.Overflow.CLOSE else LONG_AGO
            )
        # The target is one of emit; a ready event is cheaper, and so a refusal a larger share.
        limit = LIMIT if overflow is not None and kind is EdrEmit else None
        yield case_of(it, ready(it), what=what, does=it.does, limit=limit)


async def _rows(settings: Settings) -> list[Row]:
    rows = []
    for kind in (EdrEmit, EdrPublish):
        async with AsyncExitStack() as stack:
            cases = [
                await stack.enter_async_context(_beside_dead(kind, overflow))
                for overflow in (None, *edr.Overflow)
            ]
            rows += await measure(cases, settings)
    return rows


NOTES = f"""\
In bursts of 500, until the live one has them. The dead one holds {CAPACITY} events and has lost
{LONG_AGO:,} or more; under BLOCK it is stalled, under CLOSE it has ended."""


def run(settings: Settings) -> Table:
    return Table(
        "What does an observer that reads nothing any more cost those who emit?",
        run_async(_rows, settings),
        per="event",
        notes=NOTES,
    )


if __name__ == "__main__":
    main(run)
