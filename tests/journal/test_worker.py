import asyncio
import threading

import pytest

from edr.journal.worker import Worker


@pytest.fixture
def worker():
    worker = Worker("test")
    yield worker
    worker.end(lambda: None)
    assert worker.join(10)


async def test_worker_runs_urgent_jobs_first(worker):
    started, gate, order = threading.Event(), threading.Event(), []
    first = worker.submit(lambda: (started.set(), gate.wait(10)))
    assert started.wait(10)
    others = [
        worker.submit(lambda: order.append("plain")),
        worker.submit(lambda: order.append("urgent"), urgent=True),
    ]
    gate.set()
    await asyncio.gather(first, *others)
    assert order == ["urgent", "plain"]


async def test_worker_raises_the_error_of_a_job(worker):
    def fail():
        raise KeyError("x")

    with pytest.raises(KeyError):
        await worker.submit(fail)
    assert await worker.submit(lambda: 5) == 5


async def test_cancelled_future_does_not_stop_its_job(worker):
    done = threading.Event()
    worker.submit(done.set).cancel()
    await worker.submit(lambda: None)
    assert done.is_set()


def test_end_runs_its_job_without_a_thread():
    worker, done = Worker("test"), []
    worker.end(lambda: done.append(1))
    assert done == [1]
    assert worker.join(0)
