"""A process that is killed while it delivers."""

import os
import random
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

import edr
from edr.journal import SqliteJournal
from edr.sinks import FileSink, JournalIntake, SinkWorker

PROGRAM = Path(__file__).parents[1] / "support" / "sink_program.py"
KILLS = 5
BATCH = 8

pytestmark = pytest.mark.slow


def accepted_until_killed(folder, first, count):
    """Run the program, kill it after ``count`` events, and return the last number it printed."""
    program = [sys.executable, str(PROGRAM), str(folder), str(first)]
    environment = {**os.environ, "PYTHONPATH": str(Path(edr.__file__).parents[1])}
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True, env=environment) as process:
        lines = [process.stdout.readline() for _ in range(count)]
        process.kill()
        lines += process.stdout.read().splitlines()
    return max(int(line) for line in lines if line.strip())


async def test_no_accepted_event_is_lost_by_kills(tmp_path):
    draw, last = random.Random(7), -1
    for _ in range(KILLS):
        last = accepted_until_killed(tmp_path, last + 1, draw.randint(20, 400))
    journal = SqliteJournal(tmp_path / "journal")
    async with edr.Bus(node="test", journal=journal) as bus:
        sink = FileSink(tmp_path / "out.jsonl")
        worker = SinkWorker("s", sink, JournalIntake(journal, "sink:s"), bus=bus)
        await worker.start()
        await worker.drain(60)
    found = []
    for path in [*sorted(tmp_path.glob("out.jsonl.*")), tmp_path / "out.jsonl"]:
        for line in path.read_bytes().splitlines():
            with suppress(edr.InvalidEventError):  # a kill may end within a line
                found.append(edr.Event.from_json(line))
    numbers = [event.body["n"] for event in found]

    assert set(range(last + 1)) <= set(numbers)
    # Acks of the last 0.1 s may be lost, and one batch was in flight.
    assert len(numbers) - len({event.id for event in found}) <= KILLS * 1024
