"""What do body patterns cost, and does their number matter?"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from importlib.util import find_spec
from itertools import repeat
from typing import Any

import edr
from benchmarks.harness.harness import Case, Settings, in_subprocess, main, measure
from benchmarks.harness.samples import APP, SMALL_BODY, VERSION
from benchmarks.harness.table import Row, Table, not_installed
from edr.patterns import Pattern, PatternIndex

Document = dict[str, Any]

BODY: dict[str, Any] = {
    "event": "agent_status_change",
    "type": "order.created",
    "status": "paused",
    "call_id": "call-7",
    "wait_time": 45,
    "ratio": 0.75,
    "urgent": False,
    "queue": {"id": "q-17", "name": "support", "tags": ["vip", "eu"], "size": 12},
    "agent": {"id": "agent-42", "name": "Ada", "skills": ["de", "en"], "ip": "10.1.2.3"},
    "calls": [{"id": f"c-{n}", "state": "held", "at": 1000 + n} for n in range(4)],
    "notes": None,
    **{f"field_{n:02}": f"value {n:02} " + "x" * 10 for n in range(40)},
}
"""Some 2 KB of JSON, most of it not asked for."""


def exact(n: int) -> Document:
    return {"call_id": [f"call-{n}"]}


def anded(n: int) -> Document:
    return {"type": ["order.created"], "call_id": [f"call-{n}"]}


def mixed(n: int) -> Document:
    """Three conditions of five kinds, in turns; what is narrow is each pattern's own."""
    conditions: list[Document] = [
        {"call_id": [f"call-{n}"]},
        {"agent": {"name": [{"prefix": f"A{n}"}]}},
        {"wait_time": [{"numeric": [">", n, "<=", n + 30]}]},
        {"status": [{"anything-but": [f"s-{n}"]}]},
        {"queue": {"id": [{"exists": True}]}},
    ]
    return {key: value for i in range(3) for key, value in conditions[(n + i + 3) % 5].items()}


def one_kind(n: int) -> Document:
    """One condition each, of five kinds: nothing is common to them."""
    conditions: list[Document] = [
        {"call_id": [f"call-{n}"]},
        {"agent": {"name": [{"prefix": f"A{n}"}]}},
        {"wait_time": [{"numeric": [">", n, "<=", n + 30]}]},
        {"status": [{"anything-but": ["paused", f"s-{n}"]}]},
        {f"gone_{n}": [{"exists": True}]},
    ]
    return conditions[n % 5]


def index_of(make: Callable[[int], Document], size: int) -> PatternIndex[int]:
    index: PatternIndex[int] = PatternIndex()
    for n in range(size):
        index.add(Pattern(make(n)), n)
    return index


def _many(settings: Settings) -> int:
    return 10_000 if settings.quick else 100_000


def _matching(what: str, index: PatternIndex[int], **options: Any) -> Case:
    def run(n: int) -> None:
        match = index.match
        for _ in repeat(None, n):
            match(BODY)

    return Case(what, run, ours=True, **options)


async def _growth(settings: Settings) -> list[Row]:
    rows = []
    for what, make, limits in (
        ("match, one exact field", exact, (1.2, 1.3)),
        ("match, two anded fields, one common to all", anded, (1.5, 1.5)),
    ):
        cases = []
        for size, limit in ((10, None), (1_000, limits[0]), (_many(settings), limits[1])):
            index = index_of(make, size)
            assert index.match(BODY) == [7]
            cases.append(_matching(what, index, at=size, limit=limit))
        rows += await measure(cases, settings)
    return rows


async def _changes(settings: Settings) -> list[Row]:
    cases = []
    for size in (10, _many(settings)):
        index = index_of(anded, size)
        pattern = Pattern(anded(size))

        def run(n: int, index: Any = index, pattern: Pattern = pattern) -> None:
            for _ in repeat(None, n):
                index.add(pattern, "new")
                index.remove(pattern, "new")

        limit = 2.0 if size > 10 else None
        cases.append(Case("add and remove one", run, at=size, limit=limit, ours=True))
    return await measure(cases, settings)


async def _one_by_one(settings: Settings) -> list[Row]:
    rows = []
    for what, make, limit in (
        ("three conditions each", mixed, 0.02),
        ("one condition each", one_kind, 0.05),
    ):
        index = index_of(make, 1_000)
        patterns = [Pattern(make(n)) for n in range(1_000)]
        assert sorted(index.match(BODY)) == [
            n for n, pattern in enumerate(patterns) if pattern.matches(BODY)
        ]

        def run(n: int, patterns: list[Pattern] = patterns) -> None:
            for _ in repeat(None, n):
                for pattern in patterns:
                    pattern.matches(BODY)

        cases = [
            Case(f"1,000 mixed patterns, {what}: one by one", run),
            _matching(f"1,000 mixed patterns, {what}: the index", index, limit=limit),
        ]
        rows += await measure(cases, settings)
    return rows


async def _mixed_growth(settings: Settings) -> list[Row]:
    """As many match among all of them as among 1,000, so they should cost an event as much."""
    rows = []
    for what, make in (("three conditions each", mixed), ("one condition each", one_kind)):
        cases = []
        found = []
        for size, limit in ((1_000, None), (_many(settings), 3.0)):
            index = index_of(make, size)
            found.append(len(index.match(BODY)))
            cases.append(_matching(f"match, mixed, {what}", index, at=size, limit=limit))
        assert found[0] == found[1], (what, found)
        rows += await measure(cases, settings)
    return rows


async def _against_moto(settings: Settings) -> list[Row]:
    if find_spec("moto") is None:
        return [not_installed("moto's EventPattern")]
    from moto.events.models import EventPattern

    document = {
        "event": ["agent_status_change"],
        "status": ["paused", {"prefix": "wrap"}],
        "wait_time": [{"numeric": [">", 30, "<=", 600]}],
        "queue": {"id": [{"exists": True}]},
    }
    ours, theirs = Pattern(document), EventPattern.load(json.dumps(document))
    assert ours.matches(BODY)
    assert theirs.matches_event(BODY)

    def by_moto(n: int) -> None:
        for _ in repeat(None, n):
            theirs.matches_event(BODY)

    def by_edr(n: int) -> None:
        for _ in repeat(None, n):
            ours.matches(BODY)

    return await measure(
        [
            Case("one pattern, moto's EventPattern", by_moto),
            Case("one pattern, Pattern.matches", by_edr, limit=0.2, ours=True),
        ],
        settings,
    )


def _emitting(what: str, bus: edr.Bus, subscription: edr.Subscription, **options: Any) -> Case:
    async def run(n: int) -> None:
        emit = bus.emit
        for _ in repeat(None, n):
            await emit(APP, VERSION, "ok", "info", SMALL_BODY)
            await anext(subscription)

    return Case(what, run, ours=True, **options)


async def _without_pattern(settings: Settings) -> list[Row]:
    """The same binding without a pattern, where others have none, and where they have some."""
    plain, patterned = edr.Bus(), edr.Bus()
    one = plain.subscribe(edr.Binding(app_name=APP))
    other = patterned.subscribe(edr.Binding(app_name=APP))
    held = [patterned.subscribe(edr.Binding(app_name="x", body=exact(n))) for n in range(1_000)]
    rows = await measure(
        [
            _emitting("emit to a binding without pattern", plain, one),
            _emitting("the same, beside 1,000 with one", patterned, other, limit=1.05),
        ],
        settings,
    )
    assert held
    return rows


_PARTS = (_growth, _changes, _one_by_one, _mixed_growth, _against_moto, _without_pattern)


def _in_process(number: int, settings: Settings) -> list[Row]:
    return asyncio.run(_PARTS[number](settings))


NOTES = """\
A body of 2 KB. The ratio is to the first row of the same kind. moto's EventPattern tests one
pattern at a time, on the JSON that it is given."""


def run(settings: Settings) -> Table:
    return Table(
        "What do body patterns cost, and does their number matter?",
        [row for i in range(len(_PARTS)) for row in in_subprocess(_in_process, i, settings)],
        notes=NOTES,
    )


if __name__ == "__main__":
    main(run)
