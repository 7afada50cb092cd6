"""What does it cost to build one checked event, and what would other ways cost?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import repeat
from typing import Any
from uuid import uuid4

from benchmarks.harness.harness import Case, Settings, main, measure, run_async
from benchmarks.harness.samples import (
    APP,
    BODY,
    FIELDS,
    LARGE_BODY,
    SMALL_BODY,
    VERSION,
    PlainEvent,
    new_id,
    now,
    plain_of,
)
from benchmarks.harness.table import Row, Table
from edr import Event
from edr.bus.event_factory import EventFactory
from edr.records import snapshot


@dataclass(frozen=True, slots=True)
class Unchecked:
    """The least that holds the fields."""

    account_id: str | None
    account_tree: tuple[str, ...]
    app_name: str
    app_version: str
    body: dict[str, Any]
    id: str
    node: str
    severity: str
    verbosity: str
    timestamp: Any


def _case(what: str, make: Callable[[], Any], does: str, **more: Any) -> Case:
    def run(n: int) -> None:
        for _ in repeat(None, n):
            make()

    return Case(what, run, does, **more)


def _construct() -> PlainEvent:
    return PlainEvent.model_construct(**FIELDS, body=BODY, id=new_id(), timestamp=now())


def _unchecked() -> Unchecked:
    return Unchecked(None, (), APP, VERSION, BODY, new_id(), "pbx-3:4711", "ok", "info", now())


async def _rows(settings: Settings) -> list[Row]:
    factory = EventFactory((APP, VERSION, "ok", "info"), "pbx-3:4711", 1 << 18)
    rows: list[Row] = []
    bodies = (("small", SMALL_BODY), ("call", BODY), ("2 KB", LARGE_BODY))
    for name, body in bodies:
        plain = _case(
            f"plain Pydantic model, {name} body",
            lambda body=body: plain_of(body),
            "checks; the body is a copy that can change",
        )
        ours = _case(
            f"edr in emit, {name} body",
            lambda body=body: factory.create(body, now(), None, ()),
            "checks the body, which is an immutable copy; the rest was checked with the route",
            ours=True,
        )
        outside = _case(
            f"edr.Event(…), {name} body",
            lambda body=body: Event(**FIELDS, body=body),
            "checks everything",
            ours=True,
        )
        rows += await measure([plain, ours, outside], settings)
    plain = _case("plain Pydantic model, call body", lambda: plain_of(BODY), "again, as baseline")
    fields = {**FIELDS, "body": BODY}
    parts = [
        _case("model_validate", lambda: PlainEvent.model_validate(fields), "checks a dict"),
        _case("model_construct", _construct, "checks nothing"),
        _case("frozen slotted dataclass", _unchecked, "checks nothing"),
        _case("part: snapshot of the body", lambda: snapshot(BODY), "copies and checks", ours=True),
        _case("part: id, uuid7 of uuid-utils", new_id, "32 hex digits"),
        _case("part: id, uuid4 of the standard library", lambda: uuid4().hex, "for comparison"),
        _case("part: time stamp", now, "datetime.now(UTC)"),
    ]
    return rows + (await measure([plain, *parts], settings))[1:]


NOTES = """\
The baseline of each body is the plain model with that body."""


def run(settings: Settings) -> Table:
    return Table(
        "What does it cost to build one checked event, and what would other ways cost?",
        run_async(_rows, settings),
        per="event",
        notes=NOTES,
    )


if __name__ == "__main__":
    main(run)
