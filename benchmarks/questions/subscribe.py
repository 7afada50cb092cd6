"""What does it cost to subscribe and close, and what does it cost those who emit meanwhile?"""

from __future__ import annotations

import asyncio
from itertools import repeat

import edr
from benchmarks.harness.harness import Case, Settings, in_subprocess, main, measure, no_collection
from benchmarks.harness.population import SHAPES, Population
from benchmarks.harness.samples import APP, SMALL_BODY, VERSION
from benchmarks.harness.table import Row, Table
from benchmarks.peers import new_receiver

LIMIT = 1.5
HOT_KEYS = 5_000
"""Accounts of a busy service."""

SERVICES = 40
"""Apps of a platform, each of which emits at four levels."""

LEVELS = (("ok", "info"), ("ok", "warn"), ("warning", "warn"), ("critical", "error"))
EVERY = 100
"""Emits between two changes, in the row with a target."""


def _come_and_go(what: str, does: str, bus: edr.Bus, binding: edr.Binding, at: int) -> Case:
    def run(n: int) -> None:
        subscribe = bus.subscribe
        for _ in repeat(None, n):
            subscribe(binding).shutdown()

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
    with no_collection():
        sizes = zip(buses, settings.sizes, strict=True)
        held = [[bus.subscribe(binding) for _ in range(size)] for bus, size in sizes]
        assert all(held)
    cases = [
        _come_and_go("edr, others with the same binding", "", bus, binding, size)
        for bus, size in zip(buses, settings.sizes, strict=True)
    ]
    return await measure(cases, settings)


ONE_APP = edr.Binding(app_name="one more")
ANY_APP = edr.Binding(account_id="one more")
"""What a customer's dashboard asks for: all that its services tell."""
ALL_ACCOUNTS = edr.Binding(severity="critical")
"""What an operator's asks for: it bears upon all keys of its levels, and each is matched anew."""

WHICH = {
    ONE_APP: "one of another app",
    ANY_APP: "one for any app of an account",
    ALL_ACCOUNTS: "one for any app of all accounts",
}

Emits = list[tuple[str, str, str, str | None]]
TO_NOBODY: Emits = [(APP, "ok", "info", f"account-{i}") for i in range(HOT_KEYS)]
TO_ONE: Emits = [
    (f"service-{i}", severity, verbosity, None)
    for i in range(SERVICES)
    for severity, verbosity in LEVELS
]


def _emitting(
    emits: Emits, passing: edr.Binding | None, every: int = EVERY, *, wanted: bool = False
) -> Case:
    """Emit over many keys, while a subscription comes and goes before every so many emits."""
    bus = edr.Bus()
    taker = bus.subscribe(capacity=len(emits)) if wanted else None

    async def run(n: int) -> None:
        emit = bus.emit
        for _ in repeat(None, n):
            for i, (app, severity, verbosity, account) in enumerate(emits):
                if passing is not None and i % every == 0:
                    bus.subscribe(passing).shutdown()
                await emit(app, VERSION, severity, verbosity, SMALL_BODY, account)
            if taker is not None:
                for _ in emits:
                    await anext(taker)

    who = f"edr, emit {'and take' if wanted else 'to nobody'}"
    return Case(
        f"{who}, {WHICH[passing]} comes and goes every {every:,}"
        if passing
        else f"{who}, undisturbed",
        run,
        "40 apps, 4 levels each" if wanted else f"one app, {HOT_KEYS:,} accounts",
        per=len(emits),
        limit=LIMIT if passing in (ANY_APP, ALL_ACCOUNTS) and every == EVERY else None,
        ours=True,
    )


async def _meanwhile(settings: Settings) -> list[Row]:
    to_nobody = [_emitting(TO_NOBODY, None)]
    to_nobody += [_emitting(TO_NOBODY, ONE_APP, every) for every in (1_000, 100, 10)]
    to_nobody += [_emitting(TO_NOBODY, ANY_APP, every) for every in (1_000, 100, 10)]
    to_nobody += [_emitting(TO_NOBODY, ALL_ACCOUNTS, every) for every in (1_000, 100, 10)]
    to_one = [_emitting(TO_ONE, None, wanted=True)]
    to_one += [_emitting(TO_ONE, passing, wanted=True) for passing in WHICH]
    return await measure(to_nobody, settings) + await measure(to_one, settings)


class _Bound:
    """A bus with many callbacks that are bound to one and the same binding."""

    binding = edr.Binding(app_name=APP)

    def __init__(self, count: int) -> None:
        self.count = count
        self.bus = edr.Bus()
        self.bus.enter()
        self._handles: list[edr.Handle] = []
        self._more: list[edr.Handle] = []
        for _ in repeat(None, count):
            self._handles.append(self.bus.bind(self.binding, new_receiver()))

    def bind(self, n: int) -> None:
        bind, binding = self.bus.bind, self.binding
        for _ in repeat(None, n):
            self._more.append(bind(binding, new_receiver()))

    async def unbind(self) -> None:
        for handle in self._more:
            handle.unbind()
        self._more.clear()
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # their workers end

    def bind_and_unbind(self, n: int) -> None:
        bind, binding = self.bus.bind, self.binding
        for _ in repeat(None, n):
            bind(binding, new_receiver()).unbind()

    def cases(self) -> tuple[Case, Case]:
        limit = LIMIT if self.count > FEWEST else None
        more = {"after": self.unbind, "most": FEWEST * 10, "limit": limit, "at": self.count}
        return (
            Case("edr, bind, others with the same binding", self.bind, ours=True, **more),
            Case("edr, bind and unbind, likewise", self.bind_and_unbind, ours=True, **more),
        )


FEWEST, MOST_BOUND = 10, 10_000


async def _bound(settings: Settings) -> list[Row]:
    counts = (FEWEST, MOST_BOUND // 10 if settings.quick else MOST_BOUND)
    kinds = zip(*(_Bound(count).cases() for count in counts), strict=True)
    return [row for cases in kinds for row in await measure(cases, settings)]


KINDS = (_distinct, _same, _meanwhile, _bound)


def _in_process(number: int, settings: Settings) -> list[Row]:
    return asyncio.run(KINDS[number](settings))


NOTES = """\
The binding exists already. The ratio is to the first row of the same kind."""


def run(settings: Settings) -> Table:
    kinds = range(len(KINDS))
    rows = [row for number in kinds for row in in_subprocess(_in_process, number, settings)]
    return Table(
        "What does it cost to subscribe and close, and what does it cost those who emit meanwhile?",
        rows,
        notes=NOTES,
    )


if __name__ == "__main__":
    main(run)
