"""The task of a source: its states, and both ways to end it."""

import asyncio

import pytest

from edr.sources.reading_task import ReadingTask
from edr.sources.source import Counts


@pytest.fixture
def counts(ingest):
    return Counts("in", ingest)


@pytest.fixture
def task(counts):
    return ReadingTask("in", counts)


async def test_stop_interrupts_the_task_and_waits_for_its_end(task, counts):
    end, log = asyncio.Event(), []

    async def read():
        await end.wait()
        log.append(counts.state)

    task.start(read())
    log.append(counts.state)
    await task.stop(end.set)

    assert [*log, counts.state] == ["running", "stopping", "stopped"]


async def test_a_task_that_has_ended_is_not_interrupted(task, counts):
    async def read():
        counts.state = "ended"

    task.start(read())
    await task.wait_ended()
    ended = counts.state
    await task.stop(pytest.fail)

    assert (ended, counts.state) == ("ended", "stopped")


async def test_a_close_cancels_the_task(task, counts):
    cancelled = []

    async def read():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    task.start(read())
    await asyncio.sleep(0)
    await task.aclose()
    await task.aclose()

    assert (cancelled, counts.state) == ([True], "stopped")


async def test_a_task_that_was_not_started_stops(task, counts):
    await task.stop(pytest.fail)
    await task.aclose()

    assert counts.state == "stopped"
