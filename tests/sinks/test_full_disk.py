"""A disk that is full, under a file and under the dead letters."""

import asyncio

import pytest
from contracts.journal import event
from support.consuming import until
from support.small_disk import fill, small_disk

import edr
from edr.journal import SqliteJournal
from edr.sinks import (
    Batch,
    DeadLetters,
    FileSink,
    JournalIntake,
    RejectError,
    Retry,
    Rotate,
    SinkState,
    SinkWorker,
)

pytestmark = pytest.mark.slow

PAD = "x" * 1000


@pytest.fixture
def disk(tmp_path):
    with small_disk(tmp_path, "1m") as disk:
        yield disk


async def run_until_room(tmp_path, disk, sink, dead_path, count, done):
    """Emit ``count`` events while the disk is full, then make room."""
    journal = SqliteJournal(tmp_path / "journal", sync="process")
    async with edr.Bus(node="test", journal=journal) as bus:
        intake = JournalIntake(journal, "sink:s", [edr.Binding(app_name="app")])
        worker = SinkWorker(
            "s",
            sink,
            intake,
            batch=Batch(events=16),
            retry=Retry(base=0.01, cap=0.05),
            dead_letters=DeadLetters(dead_path),
        )
        await worker.start()
        ballast = fill(disk)
        for n in range(count):
            await bus.publish(event(n, body={"pad": PAD}), durable=True)
        await until(lambda: worker.state is SinkState.RETRYING)
        await asyncio.sleep(0.2)
        error = worker.statistics().error
        ballast.unlink()
        await until(lambda: done(worker))
        await worker.drain(30)
    return error


async def test_a_file_on_a_full_disk_has_each_line_once(tmp_path, disk):
    path = disk / "events.jsonl"
    sink = FileSink(path, rotate=Rotate(size=200_000, keep=100))
    error = await run_until_room(
        tmp_path,
        disk,
        sink,
        tmp_path / "dead",
        100,
        lambda w: w.statistics().delivered == 100,
    )
    lines = path.read_bytes().splitlines()

    assert "No space left" in error
    assert [edr.Event.from_json(line).body["n"] for line in lines] == list(range(100))


async def test_dead_letters_on_a_full_disk_are_kept(tmp_path, disk):
    class Rejecting:
        async def open(self):
            pass

        async def write(self, batch):
            raise RejectError(dict.fromkeys(range(len(batch)), "bad"))

        async def aclose(self):
            pass

    dead = disk / "dead.jsonl"
    error = await run_until_room(
        tmp_path, disk, Rejecting(), dead, 100, lambda w: w.statistics().rejected == 100
    )
    letters = list(DeadLetters(dead).read())

    assert "dead letters cannot be stored" in error
    assert [each.event.body["n"] for each in letters] == list(range(100))
