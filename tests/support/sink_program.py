"""A program that delivers events to a file. Run: ``python sink_program.py FOLDER FIRST``.

It emits durable events with rising numbers from FIRST on, and prints each number once it is stored.
"""

import asyncio
import sys
from pathlib import Path

import edr
from edr.journal import SqliteJournal
from edr.sinks import Batch, FileSink, JournalIntake, Retry, Rotate, SinkWorker


async def main(folder, first):
    journal = SqliteJournal(folder / "journal", sync="process")
    async with edr.Bus(node="test", journal=journal) as bus:
        sink = FileSink(
            folder / "out.jsonl",
            rotate=Rotate(size=50_000, keep=1000, compress=False),
            fsync="never",
        )
        worker = SinkWorker(
            "s",
            sink,
            JournalIntake(journal, "sink:s"),
            batch=Batch(events=8),
            retry=Retry(base=0.01),
            bus=bus,
        )
        await worker.start()
        for n in range(first, first + 100_000):
            await bus.emit("app", "1", "ok", "info", {"n": n}, durable=True)
            sys.stdout.write(f"{n}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
