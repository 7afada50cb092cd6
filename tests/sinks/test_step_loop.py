"""The loop of steps: interruptions, faults, the end."""

import asyncio
import logging

import pytest
from support.shuffled_loop import run

from edr.delivery import FaultLog
from edr.sinks.step_loop import StepLoop


def loop_of(step, on_fault=lambda _: None):
    log = FaultLog("sink 's'", logging.getLogger("edr.sinks"))
    return StepLoop("steps", step, on_fault, log)


async def ended(loop):
    while loop.is_running:
        await asyncio.sleep(0.01)


def test_steps_are_made_until_the_last():
    async def scenario():
        steps = iter([True, True, False, True])
        made = []

        async def step():
            made.append(next(steps))
            return made[-1]

        loop = loop_of(step)
        loop.start()
        await ended(loop)
        return made

    assert run(scenario) == [True, True, False]


def test_an_interruption_ends_a_wait_only():
    async def scenario():
        times = []

        async def step():
            await asyncio.sleep(5)  # work, which is finished
            await loop.wait(asyncio.sleep(100))
            times.append(asyncio.get_running_loop().time())
            return not times[1:]

        loop = loop_of(step)
        loop.start()
        await asyncio.sleep(1)
        loop.interrupt()  # the step does not wait
        await asyncio.sleep(9)
        loop.interrupt()
        await ended(loop)
        return times

    assert run(scenario) == [pytest.approx(10, abs=0.1), pytest.approx(115, abs=0.1)]


def test_a_wait_ends_at_its_deadline():
    async def scenario():
        loop = loop_of(None)
        now = asyncio.get_running_loop().time
        await loop.wait(asyncio.Event().wait(), now() + 7)
        return now()

    assert run(scenario) == pytest.approx(7)


def test_a_timeout_of_the_work_is_raised():
    async def scenario():
        async def work():
            raise TimeoutError("of a socket")

        with pytest.raises(TimeoutError, match="of a socket"):
            await loop_of(None).wait(work())

    run(scenario)


@pytest.mark.parametrize(("grace", "finished"), [(10.0, True), (1.0, False)])
def test_a_step_may_finish_within_the_grace(grace, finished):
    async def scenario():
        done = []

        async def step():
            await asyncio.sleep(5)
            done.append(True)
            return True

        loop = loop_of(step)
        loop.start()
        await asyncio.sleep(0)
        await loop.halt(grace)
        return done, loop.is_running

    assert run(scenario) == ([True] if finished else [], False)


def test_a_fault_ends_the_task_and_is_reported():
    async def scenario():
        faults = []

        async def step():
            raise SystemExit(3)

        loop = loop_of(step, faults.append)
        loop.start()
        await ended(loop)
        return [repr(each) for each in faults]

    assert run(scenario) == ["SystemExit(3)"]


def test_a_step_that_ignores_its_cancellation_is_left(caplog):
    async def scenario():
        end = asyncio.Event()

        async def step():
            while not end.is_set():
                try:
                    await end.wait()
                except asyncio.CancelledError:
                    continue
            return False

        loop = loop_of(step)
        loop.start()
        await asyncio.sleep(0)
        await loop.halt(0.0)
        left = loop.is_running
        end.set()
        await ended(loop)
        return left

    assert run(scenario)
    assert "did not end within 2 s of its cancellation" in caplog.text
