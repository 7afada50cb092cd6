"""Does anything that was acknowledged get lost when the process is killed?

Ten emitters and a consumer at work in a process of its own, which is killed (SIGKILL) at a random
moment; then another one goes on where it was. In the end all that was acknowledged must be there,
each position must belong to one event, and what came to the consumer twice be within its bound.

    python -m benchmarks.kill_journal --rounds 500
"""

from __future__ import annotations

import argparse
import asyncio
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import edr
from edr.journal import SqliteJournal

MAX_UNACKED = 50

CHILD = f"""
import asyncio, os, sys
import edr
from edr.journal import SqliteJournal

def event(round, emitter, n):
    return edr.Event(app_name="app", app_version="1", severity="ok", verbosity="info",
                     body={{"round": round, "emitter": emitter, "n": n}})

async def emit(journal, round, emitter):
    n = 0
    while True:
        position = await journal.append(event(round, emitter, n))
        os.write(1, f"stored {{position}} {{round}}/{{emitter}}/{{n}}\\n".encode())
        n += 1

async def consume(journal):
    async with await journal.consumer("r", max_unacked={MAX_UNACKED}) as consumer:
        held = []
        async for entry in consumer:
            body = entry.event.body
            name = f"{{body['round']}}/{{body['emitter']}}/{{body['n']}}"
            os.write(1, f"given {{entry.position}} {{name}}\\n".encode())
            held.append(entry)
            if len(held) > 20:
                consumer.ack(held.pop(0))

async def main(path, round, sync):
    async with SqliteJournal(path, sync=sync) as journal:
        await asyncio.gather(*[emit(journal, round, e) for e in range(10)], consume(journal))

asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
"""


class Kills:
    """Counts what came of it."""

    def __init__(self, path: Path, sync: str = "disk", seed: int = 0) -> None:
        self._path = path
        self._sync = sync
        self._random = random.Random(seed)
        self._name_at: dict[int, str] = {}
        self._given: set[int] = set()
        self._acknowledged: set[int] = set()
        self.stored = 0
        self.lost = 0
        self.reused = 0
        self.most_doubled = 0
        self.bound = 0
        """What may be doubled after a kill: unacked ones, and acks of one interval."""

    def run(self, rounds: int) -> Kills:
        for number in range(rounds):
            self._round(number)
        asyncio.run(self._compare())
        return self

    def _round(self, number: int) -> None:
        child = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-c", CHILD, str(self._path), str(number), self._sync],
            stdout=subprocess.PIPE,
        )
        assert child.stdout is not None
        first = child.stdout.readline()
        try:
            child.wait(self._random.uniform(0.0, 0.3))
        except subprocess.TimeoutExpired:
            child.kill()
        lines = [first, *child.stdout.read().splitlines(keepends=True)]
        child.stdout.close()
        child.wait()
        doubled, given = 0, 0
        for line in lines:
            if not line.endswith(b"\n"):
                continue  # cut by the kill
            what, position_text, name = line.decode().split()
            position = int(position_text)
            if self._name_at.setdefault(position, name) != name:
                self.reused += 1
            if what == "stored":
                self.stored += 1
                self._acknowledged.add(position)
            else:
                given += 1
                doubled += position in self._given
                self._given.add(position)
        self.most_doubled = max(self.most_doubled, doubled)
        self.bound = max(self.bound, MAX_UNACKED + given)

    async def _compare(self) -> None:
        async with SqliteJournal(self._path) as journal:
            there = {}
            async for entry in journal.cursor(after=0, live=False):
                assert not isinstance(entry, edr.Gap)
                body = entry.event.body
                there[entry.position] = f"{body['round']}/{body['emitter']}/{body['n']}"
        self.lost = sum(self._name_at[p] != there.get(p) for p in self._acknowledged)
        self.reused += sum(there[p] != self._name_at[p] for p in there.keys() & self._given)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--sync", choices=["disk", "process"], default="disk")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kills = Kills(Path(folder) / "journal", arguments.sync).run(arguments.rounds)
    print(
        f"{arguments.rounds} kills: {kills.stored} acknowledged, {kills.lost} lost, "
        f"{kills.reused} positions reused, at most {kills.most_doubled} doubled after a kill"
    )


if __name__ == "__main__":
    main()
