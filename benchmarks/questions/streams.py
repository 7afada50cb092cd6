"""What do observers of a stream cost those who emit?"""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from itertools import repeat
from typing import TYPE_CHECKING

import edr
from benchmarks.harness.harness import Case, Settings, main, measure, run_async
from benchmarks.harness.samples import APP, BODY, VERSION
from benchmarks.harness.table import Row, Table
from benchmarks.peers import EdrEmit, case_of, ready, running
from edr.streams import Grant, Streams

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

STUCK = 1.3
OTHER = 1.1
WITHOUT_MATCH = 1.2
HISTORY = 7.0
LAGGING = 1.1
TAILS = 20
GROUPS = 3_000
CROWD = 1_000

OTHER_APP = edr.Binding(app_name="other")
SAME = edr.Binding(app_name=APP)
DIFFERENT = [edr.Binding(app_name=[APP, f"other-{n}"]) for n in range(TAILS)]


def _nothing() -> None:
    pass


def _joined(bus: edr.Bus, bindings: list[edr.Binding], **options: bool) -> Streams:
    """Join a client that never takes for each binding."""
    streams = Streams(bus, **options)
    for binding in bindings:
        streams.join(binding, on_ready=_nothing)
    return streams


@asynccontextmanager
async def _to_one(
    what: str, bindings: list[edr.Binding], limit: float | None
) -> AsyncIterator[Case]:
    """Emit to one live subscriber, next to clients that do not read."""
    async with running(EdrEmit, [APP]) as it:
        assert isinstance(it, EdrEmit)
        streams = _joined(it.bus, bindings)
        yield case_of(it, ready(it), what=f"to one subscriber, {what}", does="", limit=limit)
        streams.close()


async def _next_to_clients(settings: Settings) -> list[Row]:
    async with AsyncExitStack() as stack:
        cases = [
            await stack.enter_async_context(_to_one(*each))
            for each in (
                ("alone", [], None),
                ("1 stuck client", [SAME], STUCK),
                (f"{TAILS} stuck clients with the same bindings", [SAME] * TAILS, STUCK),
                (f"{TAILS} stuck clients, all bindings differ and match", DIFFERENT, STUCK),
                (f"{TAILS} clients of other events", [OTHER_APP] * TAILS, OTHER),
            )
        ]
        return await measure(cases, settings)


def _emits(bus: edr.Bus, what: str, limit: float | None, account_id: str | None = None) -> Case:
    async def run(n: int) -> None:
        emit = bus.emit
        for _ in repeat(None, n):
            await emit(APP, VERSION, "ok", "info", BODY, account_id)

    return Case(what, run, limit=limit, ours=True)


async def _to_nobody(settings: Settings) -> list[Row]:
    async with AsyncExitStack() as stack:
        buses = [await stack.enter_async_context(edr.Bus()) for _ in range(2)]
        _joined(buses[1], [OTHER_APP] * TAILS)
        return await measure(
            [
                _emits(buses[0], "without a subscriber, alone", None),
                _emits(buses[1], f"without a subscriber, {TAILS} clients of other events", OTHER),
            ],
            settings,
        )


def _tenants(bus: edr.Bus, count: int, **options: bool) -> None:
    """Join two clients for each of ``count`` accounts: each is a group."""
    streams = Streams(bus, **options)
    for n in range(count):
        grant = Grant(f"account-{n}")
        streams.join(edr.Binding(severity="warning"), on_ready=_nothing, grant=grant)
        streams.join(edr.Binding(), on_ready=_nothing, grant=grant)


async def _without_match(settings: Settings) -> list[Row]:
    async with AsyncExitStack() as stack:
        buses = [await stack.enter_async_context(edr.Bus()) for _ in range(3)]
        _tenants(buses[0], 1)
        _tenants(buses[1], GROUPS // 2)
        _tenants(buses[2], GROUPS // 2, history=True)
        return await measure(
            [
                _emits(buses[0], "of an account without a client, 2 groups", None, "nobody"),
                _emits(buses[1], f"the same, {GROUPS:,} groups", WITHOUT_MATCH, "nobody"),
                _emits(buses[2], "the same, with history", HISTORY, "nobody"),
            ],
            settings,
        )


async def _lagging(settings: Settings) -> list[Row]:
    async with AsyncExitStack() as stack:
        cases = []
        for count, limit in ((1, None), (CROWD, LAGGING)):
            bus = await stack.enter_async_context(edr.Bus())
            _joined(bus, [SAME] * count)
            cases.append(_emits(bus, f"to {count:,} lagging clients of a group", limit))
        return await measure(cases, settings)


async def _rows(settings: Settings) -> list[Row]:
    return [
        *await _next_to_clients(settings),
        *await _to_nobody(settings),
        *await _without_match(settings),
        *await _lagging(settings),
    ]


NOTES = f"""\
To one subscriber: in bursts of 500, until it has them. Stuck clients never take, and the window of
4,096 events is full. Each row is compared with the nearest row without a ratio above it. The
{GROUPS:,} groups are those of two clients for each account, under a grant for it."""


def run(settings: Settings) -> Table:
    return Table(
        "What do observers of a stream cost those who emit?",
        run_async(_rows, settings),
        per="event",
        notes=NOTES,
    )


if __name__ == "__main__":
    main(run)
