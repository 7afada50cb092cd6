"""Does a match cost the same among 100 and among 100,000 patterns, for the shapes people write?

Each shape is a pattern for each number below the size; an event matches one of them, or a few. What
cannot be flat is measured too: `docs/patterns.md` says why.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import repeat
from typing import Any

from benchmarks.harness.harness import Case, Settings, in_subprocess, main, measure_plain
from benchmarks.harness.table import Row, Table
from edr.patterns import Pattern, PatternIndex
from edr.records import snapshot

Document = dict[str, Any]
FLAT = 1.5

BODY = snapshot(
    {
        "type": "order.created",
        "id": "order-000007",
        "path": "/tenants/000007/orders/17/items",
        "address": "10.0.7.9",
        "status": "paused",
        "total": 7.5,
        "level": 7,
        "tags": ["eu", "vip", "tag-000007"],
        "name": "The Order 000007",
        "message": "order-created-000007 in 12 ms",
        "queue": {"id": "q-000007", "size": 12},
        "calls": [{"id": f"c-{n:06}", "state": "held"} for n in range(5, 9)],
        **{f"field_{n:02}": "x" * 20 for n in range(30)},
    }
)

SHAPES: dict[str, tuple[Callable[[int], Document], int]] = {
    "id": (lambda n: {"id": [f"order-{n:06}"]}, 1),
    "type, id": (lambda n: {"type": ["order.created"], "id": [f"order-{n:06}"]}, 1),
    "type, a narrow range": (
        lambda n: {"type": ["order.created"], "total": [{"numeric": [">", n, "<=", n + 1]}]},
        1,
    ),
    "type, a threshold (seldom reached)": (
        lambda n: {"type": ["order.created"], "total": [{"numeric": [">=", n + 0.5]}]},
        8,
    ),
    "type, a range from zero on, [0, x)": (
        lambda n: {
            "type": ["order.created"],
            "total": [{"numeric": [">=", 0, "<", 8 if n == 7 else 7 - n / 10**6]}],
        },
        1,
    ),
    "type, wildcard with a middle": (
        lambda n: {"type": ["order.created"], "message": [{"wildcard": f"*order-created-{n:06}*"}]},
        1,
    ),
    "type, wildcard with an end": (
        lambda n: {"type": ["order.created"], "id": [{"wildcard": f"or*{n:06}"}]},
        1,
    ),
    "prefix of a path": (lambda n: {"path": [{"prefix": f"/tenants/{n:06}/"}]}, 1),
    "name, ignoring case": (
        lambda n: {"name": [{"equals-ignore-case": f"the order {n:06}"}]},
        1,
    ),
    "address block": (
        lambda n: {
            "address": [{"cidr": f"10.{n // 256 % 256}.{n % 256}.{n // 65_536 * 128}/25"}],
        },
        1,
    ),
    "id, anything-but": (
        lambda n: {"id": [f"order-{n:06}"], "status": [{"anything-but": "wrapup"}]},
        1,
    ),
    "anything-but alone, of a value that all except": (
        lambda n: {"status": [{"anything-but": ["paused", f"s-{n}"]}]},
        0,
    ),
    "$or of two ids": (
        lambda n: {"$or": [{"id": [f"order-{n:06}"]}, {"queue": {"id": [f"q-{n:06}"]}}]},
        1,
    ),
    "id, absence": (lambda n: {"id": [f"order-{n:06}"], "error": [{"exists": False}]}, 1),
    "element of an array": (lambda n: {"tags": [f"tag-{n:06}"]}, 1),
    "object in an array": (
        lambda n: {"calls": {"id": [f"c-{n:06}"], "state": ["held"]}},
        4,
    ),
    "type, a wildcard that all share or an own id": (
        lambda n: {
            "type": ["order.created" if n == 7 else f"type-{n % 97}"],
            "message": [{"wildcard": "*order-created*in*ms"}, f"own {n}"],
        },
        1,
    ),
    "not flat: anything-but alone (all but one match)": (
        lambda n: {"status": [{"anything-but": f"s-{n}"}]},
        -1,
    ),
    "not flat: two conditions, each met by half, never both": (
        lambda n: {
            "level": [{"numeric": [">" if n % 2 else "<", 7 - (-1) ** n * 1e-6 * n - 0.5]}],
            "total": [{"numeric": ["<" if n % 2 else ">", 7.5 - (-1) ** n * 1e-6 * n - 0.1]}],
        },
        -1,
    ),
}


def _index_of(make: Callable[[int], Document], size: int) -> PatternIndex[int]:
    index: PatternIndex[int] = PatternIndex()
    for n in range(size):
        index.add(Pattern(make(n)), n)
    return index


def _matching(what: str, index: PatternIndex[int], **options: Any) -> Case:
    def run(n: int) -> None:
        match = index.match
        for _ in repeat(None, n):
            match(BODY)

    return Case(what, run, ours=True, **options)


def _shape(what: str, settings: Settings) -> list[Row]:
    make, matching = SHAPES[what]
    cases = []
    for size in (100, 1_000) if settings.quick else (100, 1_000, 100_000):
        index = _index_of(make, size)
        found = index.match(BODY)
        assert matching < 0 or len(found) == matching, (what, size, len(found))
        limit = None if size == 100 or what.startswith("not flat") else FLAT
        cases.append(_matching(what, index, at=size, limit=limit))
    return measure_plain(cases, settings)


def run(settings: Settings) -> Table:
    return Table(
        "Does a match cost the same among 100 and among 100,000 patterns?",
        [row for what in SHAPES for row in in_subprocess(_shape, what, settings)],
        notes="A body of 2 KB. The ratio is to the first row of the same shape.",
    )


if __name__ == "__main__":
    main(run)
