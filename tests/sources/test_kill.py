"""A process that is killed while clients send: each acknowledged event is in the journal."""

import asyncio
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from support.consuming import until
from support.sources import line

from edr.journal import SqliteJournal

PROGRAM = Path(__file__).parents[1] / "support" / "ingest_program.py"
CLIENTS, BATCH = 4, 20


async def send(path, client, acknowledged):
    """Send batches until the process ends; note the numbers of each answered one."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    first = client * 1_000_000
    try:
        while True:
            numbers = range(first, first + BATCH)
            writer.write(b"".join(map(line, numbers)) + b"\n")
            await writer.drain()
            answer = await reader.readline()
            if not answer.endswith(b"\n"):
                return
            assert orjson.loads(answer) == {"accepted": BATCH, "refused": []}
            acknowledged.update(numbers)
            first += BATCH
    except OSError:
        return
    finally:
        writer.transport.abort()


@pytest.mark.slow
@pytest.mark.parametrize("batches", [3, 50])
async def test_acknowledged_events_survive_kill_9(folder, batches):
    path = folder / "in.sock"
    program = subprocess.Popen([sys.executable, PROGRAM, folder])  # noqa: ASYNC220
    acknowledged = set()
    try:
        await until(path.exists, within=120)
        async with asyncio.timeout(300), asyncio.TaskGroup() as group:
            for client in range(CLIENTS):
                group.create_task(send(path, client, acknowledged))
            await until(lambda: len(acknowledged) >= batches * BATCH, within=200)
            program.kill()
    finally:
        program.kill()
        program.wait()
    async with SqliteJournal(folder / "journal") as journal:
        stored = [entry.event.body["n"] async for entry in journal.cursor(after=0, live=False)]

    assert acknowledged <= set(stored)
    assert len(stored) == len(set(stored))
    for client in range(CLIENTS):
        own = [number for number in stored if number // 1_000_000 == client]
        assert own == sorted(own)
