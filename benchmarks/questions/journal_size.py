"""Does a large journal cost more to open and to look into than a small one?

It builds one of 0.1 GB and one of 4 (with --quick 0.4), of blocks as they are, which takes a while
and as much of the disk.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import psutil

import edr
from benchmarks.harness.harness import Settings, main
from benchmarks.harness.table import Row, Table
from edr.journal import SqliteJournal
from edr.journal.codec import encode, microseconds, row_of
from edr.journal.salvage import INSERT_BLOCK, write_metadata
from edr.journal.schema import connect, metadata_in

SMALL = 100 << 20
MOST_NS = {"open": 50e6, "since": 5e6, "first entry": 20e6}


def _events(start: int) -> list[edr.Event]:
    return [
        edr.Event(
            app_name=f"app{n % 7}",
            app_version="5.1",
            severity="ok",
            verbosity="info",
            body={"call_id": os.urandom(12).hex(), "agent": f"agent-{n % 90}", "text": "x" * 200},
        )
        for n in range(start, start + 256)
    ]


async def _build(path: Path, size: int) -> None:
    async with SqliteJournal(path, sync="process") as journal:
        await journal.append(_events(0)[0])
    connection = connect(path / "journal.sqlite3", full_sync=False)
    samples = [_events(n) for n in range(8)]
    times = microseconds(samples[0][0].timestamp)
    position, written = 2, 0
    while written < size:
        connection.execute("BEGIN")
        for events in samples * 8:
            times += 256_000
            block = encode(position, [(row_of(event), times) for event in events])
            connection.execute(INSERT_BLOCK, block)
            position += 256
            written += len(block.keys) + len(block.rows)
        connection.execute("COMMIT")
    metadata = metadata_in(connection)
    write_metadata(connection, metadata._replace(high_water_mark=position - 1, clean=True))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()


async def _timed(call: Callable[[], Coroutine[Any, Any, Any]]) -> tuple[float, Any]:
    start = perf_counter()
    result = await call()
    return (perf_counter() - start) * 1e9, result


async def _measure(path: Path, rounds: int) -> dict[str, float]:
    samples: dict[str, list[float]] = {}
    process = psutil.Process()
    for number in range(rounds):
        before = process.memory_info().rss
        journal = SqliteJournal(path, max_bytes=1 << 40)
        cost, _ = await _timed(journal.open)
        samples.setdefault("open", []).append(cost)
        if not number:
            samples["memory"] = [float(process.memory_info().rss - before)]
        oldest = await anext(journal.cursor(after=0))
        middle = journal.statistics().last // 2
        at = (await anext(journal.cursor(after=middle))).recorded_at
        cost, _ = await _timed(journal.cursor(since=at).__anext__)
        samples.setdefault("since", []).append(cost)
        cost, _ = await _timed(journal.cursor(after=0).__anext__)
        samples.setdefault("first entry", []).append(cost)
        assert oldest.position == 1
        await journal.aclose()
    return {name: median(values) for name, values in samples.items()}


def run(settings: Settings) -> Table:
    large = SMALL * (4 if settings.quick else 40)
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        for size in (SMALL, large):
            path = Path(folder) / str(size)
            asyncio.run(_build(path, size))
            figures[size] = asyncio.run(_measure(path, 5))
    rows = []
    for name in ("open", "since", "first entry"):
        small, big = figures[SMALL][name], figures[large][name]
        rows.append(Row(f"{name}, {SMALL >> 20} MiB", small))
        rows.append(
            Row(f"{name}, {large >> 20} MiB", big, "ns", f"at most {MOST_NS[name] / 1e6:g} ms",
                big / small, limit=2.0, ours=True)
        )  # fmt: skip
    rows.append(Row("memory to open the large one", figures[large]["memory"], "B", limit=5 << 20))
    return Table("Does a large journal cost more to open and to look into?", rows, per="call")


if __name__ == "__main__":
    main(run)
