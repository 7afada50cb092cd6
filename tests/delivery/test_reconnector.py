"""A reconnector with a receiver in memory, in virtual time."""

import asyncio
import logging
from itertools import pairwise

import pytest
from support.consuming import ticks
from support.shuffled_loop import run

from edr.delivery import ConnectionState, FaultLog, Reconnector


class RefusedError(Exception):
    """A fault that a retry cannot cure."""


class Receiver:
    """A receiver that is there, away, refuses, or hangs when it is connected or disconnected."""

    def __init__(self, **options):
        self.attempts = []
        self.open = 0
        self.closed = []
        self.fault = None
        self.hangs = False
        self.hangs_at_the_end = False
        self.lost = asyncio.Event()
        self.log = FaultLog("receiver", logging.getLogger("edr.test"))
        self.reconnector = Reconnector(
            connect=self._connect,
            serve=self._serve,
            disconnect=self._disconnect,
            log=self.log,
            refused=RefusedError,
            on_closed=lambda: self.closed.append(True),
            **{"timeout": 3.0} | options,
        )

    async def _connect(self):
        self.attempts.append(now())
        if self.fault:
            raise self.fault
        if self.hangs:
            await asyncio.sleep(1e6)
        self.open += 1

    async def _serve(self):
        await self.lost.wait()

    async def _disconnect(self):
        if self.hangs_at_the_end:
            await asyncio.sleep(1e6)
        self.open = 0

    def lose(self):
        self.lost.set()
        self.lost = asyncio.Event()

    async def start(self):
        self.reconnector.start("test")
        await self.reconnector.first_attempt()


def now():
    return asyncio.get_running_loop().time()


def with_receiver(check, **options):
    async def main():
        receiver = Receiver(**options)
        await check(receiver, receiver.reconnector)
        await receiver.reconnector.aclose()
        assert receiver.open == 0 or receiver.hangs_at_the_end
        assert receiver.reconnector.state is ConnectionState.CLOSED

    run(main)


def test_it_connects_again_after_a_loss():
    async def check(receiver, reconnector):
        await receiver.start()
        assert reconnector.state is ConnectionState.UP
        receiver.lose()
        await ticks()
        assert (reconnector.state, receiver.open) == (ConnectionState.CONNECTING, 0)
        assert await reconnector.connected()
        assert (reconnector.connections, receiver.open) == (2, 1)
        assert receiver.log.last_error == "the connection was lost"

    with_receiver(check)


def test_the_delays_double_up_to_two_seconds():
    async def check(receiver, _reconnector):
        receiver.fault = ConnectionRefusedError("away")
        await receiver.start()
        await asyncio.sleep(60)
        delays = [after - before for before, after in pairwise(receiver.attempts)]
        assert delays[0] <= 0.05
        assert min(delays[-10:]) >= 1.0
        assert max(delays) <= 2.0

    with_receiver(check)


def test_no_delay_is_longer_than_the_outage_so_far():
    async def check(receiver, reconnector):
        await receiver.start()
        await asyncio.sleep(1)
        receiver.fault = ConnectionRefusedError("away")
        lost = now()
        receiver.lose()
        await asyncio.sleep(30)
        for before, after in pairwise([lost, *receiver.attempts[1:]]):
            assert after - before <= max(0.05, before - lost) + 1e-9
        receiver.fault = None
        assert await reconnector.connected()
        assert reconnector.outage == pytest.approx(now() - lost, abs=0.01)

    with_receiver(check)


def test_a_connection_that_ends_at_once_is_followed_by_growing_delays():
    async def check(receiver, _reconnector):
        receiver.lost.set()
        await receiver.start()
        await asyncio.sleep(60)
        assert len(receiver.attempts) < 60

    with_receiver(check)


def test_an_attempt_ends_after_the_timeout():
    async def check(receiver, reconnector):
        receiver.hangs = True
        await receiver.start()
        assert now() == 3.0
        assert reconnector.state is ConnectionState.CONNECTING

    with_receiver(check)


def test_the_first_attempt_raises_a_refusal():
    async def check(receiver, reconnector):
        receiver.fault = RefusedError("wrong password")
        reconnector.start("test")
        with pytest.raises(RefusedError, match="wrong password"):
            await reconnector.first_attempt()

    with_receiver(check)


def test_a_later_refusal_is_logged_and_tried_again(caplog):
    async def check(receiver, reconnector):
        await receiver.start()
        receiver.fault = RefusedError("wrong password")
        receiver.lose()
        await asyncio.sleep(10)
        assert receiver.log.last_error == "wrong password"
        receiver.fault = None
        assert await reconnector.connected()

    with_receiver(check)
    errors = [each.message for each in caplog.records if each.levelname == "ERROR"]
    assert errors == ["receiver is not connected: wrong password; trying again"]


def test_a_receiver_that_hangs_at_the_end_is_left_after_two_seconds():
    async def check(receiver, reconnector):
        await receiver.start()
        receiver.hangs_at_the_end = True
        began = now()
        receiver.lose()
        await ticks()
        assert await reconnector.connected()
        assert 2.0 <= now() - began <= 2.1

    with_receiver(check)


def test_a_cancellation_by_the_library_is_a_lost_connection():
    async def check(receiver, reconnector):
        receiver.fault = asyncio.CancelledError()
        await receiver.start()
        receiver.fault = None
        assert await reconnector.connected()

    with_receiver(check)


def test_closing_calls_on_closed_once_and_wakes_waiting_tasks():
    async def check(receiver, reconnector):
        receiver.fault = OSError("away")
        await receiver.start()
        waiting = asyncio.create_task(reconnector.connected())
        closed = asyncio.create_task(reconnector.closed())
        await ticks()
        await reconnector.aclose()
        await reconnector.aclose()
        assert await waiting is False
        await closed
        assert receiver.closed == [True]
        assert await reconnector.connected() is False

    with_receiver(check)


def test_a_cancelled_task_closes_the_component():
    async def check(receiver, reconnector):
        await receiver.start()
        (task,) = (each for each in asyncio.all_tasks() if each.get_name() == "test")
        task.cancel()
        await reconnector.closed()
        assert receiver.closed == [True]
        assert reconnector.state is ConnectionState.CLOSED

    with_receiver(check)
