"""The state that all buses of a program share at its end."""

import asyncio

from edr.bus.shutdown import count_unprocessed, is_program_ending, shutdown_in, shutdown_of
from edr.testing import run


def test_buses_of_a_program_share_one_deadline():
    async def drain_three_buses():
        with shutdown_in(asyncio.get_running_loop(), 10.0) as shutdown:
            remaining = [shutdown.remaining()]
            for seconds in (4, 7):
                await asyncio.sleep(seconds)
                remaining.append(shutdown.remaining())
            return remaining

    assert run(drain_three_buses) == [10.0, 6.0, 0.0]


async def test_shutdown_without_a_limit_has_no_deadline():
    with shutdown_in(asyncio.get_running_loop(), None) as shutdown:
        assert shutdown.remaining() is None


async def test_unprocessed_events_of_all_buses_are_added():
    loop = asyncio.get_running_loop()
    with shutdown_in(loop, 1.0) as shutdown:
        count_unprocessed(loop, 2)
        count_unprocessed(loop, 3)

        assert shutdown.unprocessed == 5
        assert not is_program_ending(loop)
        shutdown.is_requested = True
        assert is_program_ending(loop)
    assert shutdown_of(loop) is None
    count_unprocessed(loop, 1)  # no program: nothing to count for
