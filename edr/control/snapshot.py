"""``Snapshots``: the state of a bus and of its parts, as the answer to ``statistics`` and ``top``.

A bus may have thousands of subscriptions. They are read in pages, with a turn of the loop between,
so that no step takes more than 10 ms. An answer has the ``limit`` subscriptions that an operator
needs to see first, and the number of the others.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import AsyncIterator, Iterable
from time import monotonic
from typing import Any

import orjson

from edr.bus import Bus, RateLimitedLog, SubscriptionInfo
from edr.control.parts import Part, PartList
from edr.control.plain import plain, text
from edr.control.steps import Steps
from edr.records import Binding, bindings_to_json

CONSUMERS_TIMEOUT = 2.0
"""Seconds for the list of consumers. That of a journal on a broker needs the network."""

MAX_BINDINGS = 32 * 1024
"""Bytes of the bindings of one subscription or part that are sent; of more, only the number."""

MAX_BINDINGS_COUNT = 200
"""As above. Each takes about 10 µs to encode."""

MAX_BYTES = 256 * 1024
"""Bytes of each list in an answer, so that the answer fits into a line. Further items are counted
and not sent."""


class Snapshots:
    """Reads the state of one process.

    Args:
        bus: the bus.
        parts: the parts.
        log: logs faults of the journal.
    """

    def __init__(self, bus: Bus, parts: PartList, log: RateLimitedLog) -> None:
        self._bus = bus
        self._parts = parts
        self._log = log
        self._started = monotonic()

    async def read(self, limit: int) -> dict[str, Any]:
        """Return the state of this moment, with at most ``limit`` subscriptions."""
        bus = plain(self._bus.statistics())
        journal = bus.pop("journal")
        first: list[tuple[tuple[Any, ...], SubscriptionInfo]] = []
        count = 0
        async for page in subscriptions(self._bus):
            count += len(page)
            ranked = [(_rank(info), info) for info in page]
            first = heapq.nlargest(limit, [*first, *ranked], key=lambda each: each[0])
        in_order = sorted((info for _, info in first), key=lambda info: info.number)
        shown = await fitting(described(info) for info in in_order)
        parts = list(self._parts)
        shown_parts = await fitting(self.part(part) for part in parts)
        return {
            "uptime": round(monotonic() - self._started, 3),
            "bus": bus,
            "subscriptions": shown,
            "omitted": count - len(shown),
            "parts": shown_parts,
            "parts_omitted": len(parts) - len(shown_parts),
            "journal": await self._journal(journal),
        }

    def part(self, part: Part) -> dict[str, Any]:
        """Return a part with its status and its bindings."""
        return {**self._parts.describe(part), **bindings_of(part.bindings)}

    async def consumers(self) -> tuple[Any, ...]:
        """Return the status of each consumer of the journal; nothing without a journal.

        Raises:
            Exception: the journal could not tell.
        """
        journal: Any = self._bus.journal
        if not hasattr(journal, "consumers"):
            return ()
        async with asyncio.timeout(CONSUMERS_TIMEOUT):
            found: tuple[Any, ...] = await journal.consumers()
        return found

    async def _journal(self, statistics: dict[str, Any] | None) -> dict[str, Any] | None:
        if statistics is None:
            return None
        statistics["id"] = _journal_id(self._bus.journal)
        try:
            return {**statistics, **await self.listed_consumers()}
        except Exception as exc:  # of any backend; the rest of the answer is still useful
            self._log.log(
                logging.WARNING, "control consumers", "consumers were not listed: %r", exc
            )
            return {**statistics, "consumers": None, "consumers_error": text(str(exc) or repr(exc))}

    async def listed_consumers(self) -> dict[str, Any]:
        """Return the consumers of the journal, each with its bindings.

        Raises:
            Exception: as ``consumers``.
        """
        consumers = await self.consumers()
        shown = await fitting(consumer(status) for status in consumers)
        return {"consumers": shown, "consumers_omitted": len(consumers) - len(shown)}


async def fitting(items: Iterable[dict[str, Any]]) -> list[orjson.Fragment]:
    """Return the first items as JSON, as many as fit into ``MAX_BYTES``.

    They are made one by one, in steps.
    """
    fit: list[orjson.Fragment] = []
    left = MAX_BYTES
    steps = Steps()
    for item in items:
        json = orjson.dumps(item)
        left -= len(json) + 1
        if left < 0:
            break
        fit.append(orjson.Fragment(json))
        await steps.next()
    return fit


async def subscriptions(bus: Bus) -> AsyncIterator[tuple[SubscriptionInfo, ...]]:
    """Yield the subscriptions of ``bus`` in pages, with a turn of the loop after each."""
    steps = Steps()
    after: int | None = None
    while page := bus.subscriptions(after=after, limit=steps.size):
        await steps.next_page()
        yield page
        after = page[-1].number


def described(info: SubscriptionInfo) -> dict[str, Any]:
    """Return a subscription with its counts and its bindings."""
    return {
        **plain(info.statistics),
        "number": info.number,
        "kind": info.kind,
        "capacity": info.capacity,
        "overflow": info.overflow.value,
        **bindings_of(info.bindings),
    }


def consumer(status: Any) -> dict[str, Any]:
    """Return a consumer of the journal with its counts and its bindings."""
    fields = status._asdict()
    bindings = fields.pop("bindings", ())
    return {**plain(fields), **bindings_of(bindings)}


def bindings_of(bindings: Iterable[Binding]) -> dict[str, Any]:
    """Return the field ``bindings``; if they are too large, their number."""
    each = tuple(bindings)
    json = orjson.dumps(bindings_to_json(each[:MAX_BINDINGS_COUNT]))
    if len(each) > MAX_BINDINGS_COUNT or len(json) > MAX_BINDINGS:
        return {"bindings": None, "bindings_count": len(each)}
    return {"bindings": orjson.Fragment(json)}


def _rank(info: SubscriptionInfo) -> tuple[Any, ...]:
    """Return a key that is greater for a subscription that an operator needs to see first."""
    counts = info.statistics
    lost = sum(counts.dropped.values()) + counts.failed
    return (counts.stalled, lost > 0, counts.pending, lost, counts.offered, -info.number)


def _journal_id(journal: Any) -> str | None:
    try:
        return text(journal.id)
    except Exception:  # it was not opened yet
        return None
