"""The requests ``explain`` and ``bindings``: lists of all subscriptions, parts and consumers.

Each list is made in steps of less than 10 ms, and sent in messages of about 64 KiB.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import orjson

from edr.bus import Bus
from edr.control.connection import Answers
from edr.control.parts import PartList
from edr.control.plain import plain, text
from edr.control.protocol import MAX_BATCH
from edr.control.snapshot import Snapshots, bindings_of, subscriptions
from edr.control.steps import Steps
from edr.patterns import Mismatch
from edr.records import Binding, Event, explain


class Listing:
    """Lists everything that takes events.

    Args:
        bus: has the subscriptions.
        parts: the parts.
        snapshots: reads the consumers of the journal.
    """

    def __init__(self, bus: Bus, parts: PartList, snapshots: Snapshots) -> None:
        self._bus = bus
        self._parts = parts
        self._snapshots = snapshots

    async def explain(self, event: Event, answers: Answers) -> None:
        """Send for each subscription, part and consumer whether it matches ``event``."""
        await answers.send("event", {"event": orjson.Fragment(event.to_json())})
        await _send_all(answers, "explain", "results", self.results(event))

    async def results(self, event: Event) -> AsyncIterator[dict[str, Any]]:
        """Yield for each subscription, part and consumer whether it matches ``event``."""
        steps = Steps()
        after: int | None = None
        while page := self._bus.explain(event, after=after, limit=steps.size):
            await steps.next_page()
            for match in page:
                yield result_of(match.kind, match.name, match.mismatches)
                await steps.next()
            after = page[-1].number
        for kind, name, bindings in await self._others():
            yield result_of(kind, name, await _mismatches(event, bindings))

    async def bindings(self, answers: Answers) -> None:
        """Send the bindings of each subscription, part and consumer."""
        await _send_all(answers, "bindings", "items", self._items())

    async def _items(self) -> AsyncIterator[dict[str, Any]]:
        steps = Steps()
        async for page in subscriptions(self._bus):
            for info in page:
                yield {
                    "kind": info.kind,
                    "name": text(info.name),
                    "number": info.number,
                    **bindings_of(info.bindings),
                }
                await steps.next()
        for kind, name, bindings in await self._others():
            yield {"kind": kind, "name": name, **bindings_of(bindings)}
            await steps.next()

    async def _others(self) -> list[tuple[str, str, Sequence[Binding]]]:
        others: list[tuple[str, str, Sequence[Binding]]] = [
            (text(part.kind), text(part.name), tuple(part.bindings)) for part in self._parts
        ]
        journal = self._bus.journal
        if journal is not None:
            others.append(("journal", "journal", tuple(journal.bindings)))
        others += [
            ("consumer", text(status.name), tuple(status.bindings))
            for status in await self._snapshots.consumers()
        ]
        return others


async def _mismatches(event: Event, bindings: Sequence[Binding]) -> tuple[Mismatch, ...] | None:
    """Return the mismatches of the nearest binding; ``None`` without a binding."""
    nearest: tuple[Mismatch, ...] | None = None
    steps = Steps()
    for binding in bindings:
        found = explain(event, binding)
        if nearest is None or len(found) < len(nearest):
            nearest = found
        if not nearest:
            break
        await steps.next()
    return nearest


def result_of(kind: str, name: str, mismatches: tuple[Mismatch, ...] | None) -> dict[str, Any]:
    """Return whether a subscription, part or consumer matches an event, as JSON.

    Args:
        kind: what it is.
        name: its name.
        mismatches: those of its nearest binding; ``None`` if it has no binding.
    """
    result: dict[str, Any] = {"kind": kind, "name": text(name)}
    if mismatches is None:
        return {**result, "matches": None, "mismatches": []}
    shown = [
        {
            "path": text(each.path),
            "wanted": plain(each.wanted),
            "found": plain(each.found),
            "text": text(str(each)),
        }
        for each in mismatches[:20]
    ]
    return {**result, "matches": not mismatches, "mismatches": shown}


async def _send_all(
    answers: Answers, kind: str, field: str, items: AsyncIterator[dict[str, Any]]
) -> None:
    batch: list[orjson.Fragment] = []
    size = count = 0
    async for item in items:
        json = orjson.dumps(item)
        batch.append(orjson.Fragment(json))
        count += 1
        size += len(json)
        if size >= MAX_BATCH:
            await answers.send(kind, {field: batch})
            batch, size = [], 0
    if batch:
        await answers.send(kind, {field: batch})
    answers.end = {"count": answers.end.get("count", 0) + count}
