"""What do a journal's events take of the disk, and what does it cost to read them?

    python -m benchmarks.questions.journal_reads [FILE ...]

Files hold events, a line of JSON each; without any, events are made up.
"""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import edr
from benchmarks.harness.harness import Settings, main, no_collection, noise_of
from benchmarks.harness.table import Row, Table
from edr.journal import SqliteJournal
from edr.journal.codec import decode, decode_keys, encode, row_of

MOST_BYTES, MOST_DECODE, MOST_RARE, MOST_BATCHED = 1 / 5, 0.4, 1 / 50, 0.5

BATCH = 256
CONSUMED = 4096
"""Entries that a consumer reads and acknowledges in a round."""


def _events(settings: Settings) -> list[edr.Event]:
    if settings.files:
        lines = [line for file in settings.files for line in Path(file).read_bytes().splitlines()]
        return [edr.Event.from_json(line) for line in lines]
    return [
        edr.Event(
            app_name=f"app{n % 7}",
            app_version="5.1",
            severity="ok",
            verbosity="info",
            account_id=f"account{n % 40}",
            account_tree=("root", f"reseller{n % 5}"),
            body={"call_id": f"{n * 7919:012x}", "agent": f"agent-{n % 90}", "seconds": n % 601},
        )
        for n in range(8000)
    ]


def _row_each(folder: Path, events: list[edr.Event]) -> int:
    with sqlite3.connect(folder / "rows") as rows:
        rows.execute("CREATE TABLE events (position INTEGER PRIMARY KEY, event BLOB)")
        rows.executemany("INSERT INTO events (event) VALUES (?)", [(e.to_json(),) for e in events])
    rows.close()
    return (folder / "rows").stat().st_size


async def _journal(folder: Path, events: list[edr.Event], rare: edr.Event) -> int:
    path = folder / "journal"
    async with SqliteJournal(path, sync="process") as journal:
        for start in range(0, len(events), 256):
            await journal.append(*events[start : start + 256])
        size = journal.statistics().bytes
        for _ in range(24):
            for start in range(0, len(events), 4096):
                await journal.append(*events[start : start + 4096])
        await journal.append(rare)
    return size


async def _read(path: Path, rounds: int) -> tuple[list[float], list[float], int]:
    full, rare, count = [], [], 0
    binding = edr.Binding(app_name="a-rare-one")
    async with SqliteJournal(path) as journal:
        for _ in range(rounds):
            start = perf_counter()
            count = sum([1 async for _ in journal.cursor(after=0, live=False)])
            full.append((perf_counter() - start) * 1e9)
            start = perf_counter()
            assert sum([1 async for _ in journal.cursor(binding, after=0, live=False)]) == 1
            rare.append((perf_counter() - start) * 1e9)
    return full, rare, count


async def _consume(path: Path, rounds: int) -> tuple[list[float], list[float]]:
    """Return the times of a consumer that acknowledges each entry, and of one with batches."""
    each, batched = [], []
    async with SqliteJournal(path, sync="process") as journal:
        for number in range(rounds):
            async with await journal.consumer(f"each-{number}") as consumer:
                start = perf_counter()
                for _ in range(CONSUMED):
                    consumer.ack(await anext(consumer))
                each.append((perf_counter() - start) * 1e9)
            async with await journal.consumer(f"batched-{number}") as consumer:
                start = perf_counter()
                left = CONSUMED
                while left > 0:
                    entries = await consumer.take(BATCH)
                    consumer.ack(*entries)
                    left -= len(entries)
                batched.append((perf_counter() - start) * 1e9)
    return each, batched


def _timed(function: Callable[[], Any]) -> float:
    with no_collection():
        start = perf_counter()
        function()
        return (perf_counter() - start) * 1e9


def run(settings: Settings) -> Table:
    events = _events(settings)
    rounds = 3 if settings.quick else 9
    rare = edr.Event(
        app_name="a-rare-one", app_version="1", severity="ok", verbosity="info", body={}
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows_size = _row_each(folder, events) / len(events)
        size = asyncio.run(_journal(folder, events, rare)) / len(events)
        full, only_rare, count = asyncio.run(_read(folder / "journal", rounds))
        each, batched = asyncio.run(_consume(folder / "journal", rounds))
    blocks = [
        encode(start + 1, [(row_of(event), 0) for event in events[start : start + 256]])
        for start in range(0, len(events), 256)
    ]
    documents = [event.model_dump_json() for event in events]

    def decoded() -> None:
        for block in blocks:
            keys = decode_keys(block)
            decode(block, keys, [True] * len(keys.keys), 0)

    def validated() -> None:
        for document in documents:
            edr.Event.model_validate_json(document)

    times = [(_timed(validated), _timed(decoded)) for _ in range(rounds)]
    ratios = [ours / theirs for theirs, ours in times]
    rare_ratios = [one / whole for whole, one in zip(full, only_rare, strict=True)]
    batched_ratios = [many / one for one, many in zip(each, batched, strict=True)]
    return Table(
        "What do a journal's events take of the disk, and what does it cost to read them?",
        [
            Row("a row of JSON each", rows_size, "B"),
            Row("the journal's blocks", size, "B", "", size / rows_size, limit=MOST_BYTES,
                ours=True),
            Row("Event.model_validate_json", median(t for t, _ in times) / len(events)),
            Row("decode a block, an event", median(o for _, o in times) / len(events), "ns", "",
                median(ratios), noise=noise_of(ratios), limit=MOST_DECODE, ours=True),
            Row(f"read all of {count:,}, each", median(full) / count),
            Row("read one of an app that is rare", median(only_rare) / count, "ns",
                "spread over all", median(rare_ratios), noise=noise_of(rare_ratios),
                limit=MOST_RARE, ours=True),
            Row("read and ack with a consumer, one by one", median(each) / CONSUMED),
            Row(f"take({BATCH}) and ack(*entries)", median(batched) / CONSUMED, "ns", "",
                median(batched_ratios), noise=noise_of(batched_ratios), limit=MOST_BATCHED,
                ours=True),
        ],
        per="event",
    )  # fmt: skip


if __name__ == "__main__":
    main(run, takes_files=True)
