"""Does it matter how many keys there are, and whether one was seen before?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import chain, count, cycle, islice, product

import edr
from benchmarks.harness.harness import Case, Settings, in_subprocess, main, measure, no_collection
from benchmarks.harness.population import HOT
from benchmarks.harness.samples import SMALL_BODY, VERSION
from benchmarks.harness.table import Row, Table

ACCOUNT_LIMIT = 1.5
"""What an account that was never seen may cost, beside one that is hot."""

KEY_LIMIT = 2.0
"""What a key that was never seen in any part may cost, beside its cost at 10 subscriptions."""

ACCOUNTS = 100_000
APPS = 10
"""Each account has a subscription in each of them."""

WATCHED, QUIET = "app-0", "app-1"
"""The app that one more subscription watches for all accounts, and one that nobody does."""

CAPACITY = 2_048

Accounts = Callable[[int], list[str]]


class _Service:
    """Ten apps, and subscriptions to each account in each of them."""

    def __init__(self, accounts: int) -> None:
        self.bus = edr.Bus()
        self.bound = [f"account-{i}" for i in range(accounts)]
        with no_collection():
            self._held = [
                self.bus.subscribe(edr.Binding(app_name=f"app-{app}", account_id=account))
                for account in self.bound
                for app in range(APPS)
            ]
        self._of_account = {account: self._held[i * APPS] for i, account in enumerate(self.bound)}
        self._watcher = self.bus.subscribe(edr.Binding(app_name=WATCHED), capacity=CAPACITY)
        self._live = cycle(self.bound)
        self._never_seen = map("stranger-{}".format, count())

    @property
    def size(self) -> int:
        return len(self._held) + 1

    def hot(self, n: int) -> list[str]:
        return list(islice(cycle(self.bound[:HOT]), n))

    def live(self, n: int) -> list[str]:
        return list(islice(self._live, n))

    def hot_strangers(self, n: int) -> list[str]:
        return list(islice(cycle(f"guest-{i}" for i in range(HOT)), n))

    def never_seen(self, n: int) -> list[str]:
        return list(islice(self._never_seen, n))

    def case(
        self, what: str, does: str, app: str, accounts: Accounts, *, limit: float | None = None
    ) -> Case:
        turn: list[str] = []

        def before(n: int) -> None:
            turn[:] = accounts(n)

        async def run(_n: int) -> None:
            emit = self.bus.emit
            for account in turn:
                await emit(app, VERSION, "ok", "info", SMALL_BODY, account)

        async def take() -> None:
            own = (self._of_account[account] for account in turn if account in self._of_account)
            for subscription in chain([self._watcher], own):
                for _ in range(subscription.statistics().pending):
                    await anext(subscription)

        return Case(
            what,
            run,
            does,
            before=before,
            after=take,
            most=CAPACITY,
            at=self.size,
            limit=limit,
            ours=True,
        )


async def _account_rows(settings: Settings) -> list[Row]:
    it = _Service(ACCOUNTS // 20 if settings.quick else ACCOUNTS)
    for account in it.bound:  # a queue allocates at its first event, and that is not the question
        await it.bus.emit(WATCHED, VERSION, "ok", "info", SMALL_BODY, account)
        await anext(it._watcher)
        await anext(it._of_account[account])
    many = f"{len(it.bound):,} in turn"
    never = "never seen before"
    groups = (
        ("wanted by the watcher", WATCHED, it.hot_strangers, it.never_seen, never, ACCOUNT_LIMIT),
        ("wanted by nobody", QUIET, it.hot_strangers, it.never_seen, never, ACCOUNT_LIMIT),
        ("wanted by the watcher and by one of its own", WATCHED, it.hot, it.live, many, None),
    )
    rows = []
    for does, app, hot, other, which, limit in groups:
        rows += await measure(
            [
                it.case("edr, 10 accounts in turn", does, app, hot),
                it.case(f"edr, accounts {which}", does, app, other, limit=limit),
            ],
            settings,
        )
    return rows


def _unseen_case(size: int) -> Case:
    """Emit keys of which no part was seen before, to one who takes all, among others."""
    bus = edr.Bus()
    with no_collection():
        held = [bus.subscribe(edr.Binding(app_name=f"app-{i}")) for i in range(size - 1)]
    held.append(bus.subscribe(capacity=CAPACITY))
    number = count()
    levels = list(product(edr.Severity, ("info", "warn", "error")))

    async def run(n: int) -> None:
        emit = bus.emit
        for i in islice(number, n):
            severity, verbosity = levels[i % len(levels)]
            await emit(f"new-{i}", f"5.{i}", severity, verbosity, SMALL_BODY, f"account-{i}")

    async def take() -> None:
        for _ in range(held[-1].statistics().pending):
            await anext(held[-1])

    return Case(
        "edr, keys never seen in any part",
        run,
        "new app, version and account; wanted by one",
        after=take,
        most=CAPACITY,
        at=size,
        limit=KEY_LIMIT if size > HOT else None,
        ours=True,
    )


async def _unseen_rows(settings: Settings) -> list[Row]:
    return await measure([_unseen_case(size) for size in settings.sizes], settings)


KINDS = (_account_rows, _unseen_rows)


def _in_process(number: int, settings: Settings) -> list[Row]:
    return asyncio.run(KINDS[number](settings))


NOTES = """\
Ten subscriptions are bound to each account, one in each of ten apps; one more watches one app for
all accounts. All accounts that are bound have had events. Taking is not in the figure. The ratio
is to the first row of the same kind. More accounts in turn than are remembered, each with a queue
of its own, bring the cache misses of 100,000 queues too."""


def run(settings: Settings) -> Table:
    kinds = range(len(KINDS))
    rows = [row for number in kinds for row in in_subprocess(_in_process, number, settings)]
    return Table(
        "Does it matter how many keys there are, and whether one was seen before?",
        rows,
        per="event",
        notes=NOTES,
    )


if __name__ == "__main__":
    main(run)
