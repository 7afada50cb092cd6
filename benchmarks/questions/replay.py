"""How many real events a second go through 1,000 mixed bindings, beside asking each binding?

    python -m benchmarks.questions.replay FILE…

Each file holds an event a line, as JSON; without one, events of the same form are made up.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import edr
from benchmarks.harness.harness import Case, Settings, main, measure, run_async
from benchmarks.harness.table import Row, Table

BINDINGS = 1_000
MADE_UP = 8_000
SAMPLE = 100
"""Events that the loop over all bindings is given in a turn, spread over all; it is slow."""

LEVELS = (("ok", "info"), ("ok", "debug"), ("warning", "warn"), ("critical", "fatal"))


NOTES = """\
From {source}. Until each of the 1,000 consumers has taken what it wants. The loop is given a sample
of the events, and only appends to lists."""


def run(settings: Settings) -> Table:
    source = f"{len(settings.files)} file(s)" if settings.files else "events made up, with a seed"
    return Table(
        "How many real events a second go through 1,000 mixed bindings?",
        run_async(_rows, settings),
        per="event",
        notes=NOTES.format(source=source),
    )


async def _rows(settings: Settings) -> list[Row]:
    lines = lines_of(settings.files)
    if settings.quick:
        lines = lines[:: max(1, len(lines) // 1_000)]
    async with Replay(lines) as it:
        hits = await it.deliveries_of_sample()
        share = f"{hits / len(it.sample):.0f} deliveries an event"
        count = len(lines)
        loop = Case("plain loop over Binding.matches", it.ask_each, share, per=len(it.sample))
        cases = [
            loop,
            Case("edr, publish", it.publish, "ready events", per=count, ours=True),
            Case("edr, read and publish", it.read_and_publish, "from JSON", per=count, ours=True),
            Case("edr, emit", it.emit, "built anew, without trees", per=count, ours=True),
        ]
        rows = await measure(cases, settings)
    return [_with_rate(row) for row in rows]


def _with_rate(row: Row) -> Row:
    assert row.value is not None
    return replace(row, does=f"{1e9 / row.value:,.0f} events/s; {row.does}")


class Replay:
    """Events, bindings made of what they hold, and a bus with a consumer for each binding."""

    def __init__(self, lines: Sequence[bytes]) -> None:
        self.lines = lines
        self.events = [edr.Event.model_validate_json(line) for line in lines]
        self.sample = self.events[:: max(1, len(self.events) // SAMPLE)]
        self.bindings = mixed_bindings(self.events, random.Random(2))
        self.bus = edr.Bus()

    async def __aenter__(self) -> Self:
        subscriptions = [self.bus.subscribe(binding) for binding in self.bindings]
        self._tasks = [asyncio.create_task(_take_all(one)) for one in subscriptions]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await self.bus.aclose()

    async def deliveries_of_sample(self) -> int:
        """Publish the sample, and return its deliveries, which must be those of the loop."""
        deliveries = sum([await self.bus.publish(event) for event in self.sample])
        assert deliveries == self._ask_each(), "trie and Binding.matches disagree"
        await self._settled()
        return deliveries

    async def publish(self, n: int) -> None:
        for event in self.events * n:
            await self.bus.publish(event)
        await self._settled()

    async def read_and_publish(self, n: int) -> None:
        for line in [*self.lines] * n:
            await self.bus.publish(edr.Event.model_validate_json(line))
        await self._settled()

    async def emit(self, n: int) -> None:
        emit = self.bus.emit
        for it in self.events * n:
            await emit(
                it.app_name, it.app_version, it.severity, it.verbosity, it.body, it.account_id
            )
        await self._settled()

    def ask_each(self, n: int) -> None:
        for _ in range(n):
            self._ask_each()

    def _ask_each(self) -> int:
        taken: list[list[edr.Event]] = [[] for _ in self.bindings]
        for event in self.sample:
            for binding, box in zip(self.bindings, taken, strict=True):
                if binding.matches(event):
                    box.append(event)
        return sum(map(len, taken))

    async def _settled(self) -> None:
        while self.bus.statistics().pending:  # noqa: ASYNC110 - turns are wanted
            await asyncio.sleep(0)


async def _take_all(subscription: edr.Subscription) -> None:
    async for _ in subscription:
        pass


def lines_of(files: Sequence[str]) -> list[bytes]:
    """Return the lines of ``files``, or made-up ones."""
    if not files:
        return list(_made_up(random.Random(1)))
    return [line for name in files for line in Path(name).read_bytes().splitlines() if line.strip()]


def _made_up(rng: random.Random) -> Iterator[bytes]:
    """Make up events in the form of a platform's logs: few apps and levels, many accounts."""
    for line in range(MADE_UP):
        region, rack, node = rng.randrange(4), rng.randrange(8), rng.randrange(64)
        severity, verbosity = rng.choices(LEVELS, [80, 10, 7, 3])[0]
        event = edr.Event(
            account_id=f"r{region}-{rack}-{node}",
            account_tree=("root", f"r{region}", f"r{region}-{rack}"),
            app_name=f"service-{rng.randrange(40)}",
            app_version="1",
            severity=severity,
            verbosity=verbosity,
            body={
                "message": f"request {line} from 10.0.{rack}.{node} done in {rng.random():.3f} s",
                "template": "request <*> from <*> done in <*> s",
                "event": f"E{rng.randrange(100)}",
                "line": line,
            },
        )
        yield event.model_dump_json(exclude={"id", "node"}).encode()


def mixed_bindings(events: Sequence[edr.Event], rng: random.Random) -> list[edr.Binding]:
    """Bind what the events hold: thresholds, exact levels, lists, accounts and those below."""
    apps = sorted({event.app_name for event in events})
    accounts = sorted({event.account_id for event in events if event.account_id})
    above = sorted({account for event in events for account in event.account_tree}) or accounts

    def some(names: list[str]) -> Any:
        return rng.choice([rng.choice(names), rng.sample(names, min(3, len(names)))])

    bindings = []
    for _ in range(BINDINGS):
        fields: dict[str, Any] = {
            "severity": rng.choice([*edr.Severity, ["ok", "critical"]]),
            "exact_severity": rng.random() < 0.2,
            "verbosity": rng.choice([*edr.Verbosity, ["debug", "error"]]),
            "exact_verbosity": rng.random() < 0.2,
        }
        if rng.random() < 0.8:
            fields["app_name"] = some(apps)
        if accounts and rng.random() < 0.6:
            fields["include_descendants"] = rng.random() < 0.5
            fields["account_id"] = some(above if fields["include_descendants"] else accounts)
        bindings.append(edr.Binding(**fields))
    return bindings


if __name__ == "__main__":
    main(run, takes_files=True)
