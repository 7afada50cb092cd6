import asyncio

import pytest
from support.shuffled_loop import run

from edr.journal.draining import PATIENCE, settle


class Consumer:
    def __init__(self, unsettled=0, *, is_processing=False):
        self.name = "mailer"
        self.unsettled = unsettled
        self.is_processing = is_processing
        self.is_shut_down = False

    async def shutdown(self):
        self.is_shut_down = True

    def set(self, unsettled, *, is_processing=False):
        self.unsettled, self.is_processing = unsettled, is_processing


async def settled(*consumers, timeout=None):
    """Return the unsettled entries, and the seconds of the wait."""
    began = asyncio.get_running_loop().time()
    left = await settle(lambda: consumers, timeout)
    return left, pytest.approx(asyncio.get_running_loop().time() - began, abs=0.05)


def test_idle_consumers_are_shut_down_at_once():
    async def main():
        consumers = [Consumer(), Consumer()]
        assert await settled(*consumers) == ({}, 0)
        assert all(each.is_shut_down for each in consumers)

    run(main)


def test_last_entries_are_waited_for():
    async def main():
        consumer, loop = Consumer(2), asyncio.get_running_loop()
        loop.call_later(4, consumer.set, 1)
        loop.call_later(8, consumer.set, 0)
        assert await settled(consumer) == ({}, 8)

    run(main)


def test_abandoned_iteration_is_waited_for_until_patience_ends():
    async def main():
        assert await settled(Consumer(3)) == ({"mailer": 3}, PATIENCE)

    run(main)


def test_running_process_is_waited_for_without_a_limit():
    async def main():
        consumer = Consumer(1, is_processing=True)
        asyncio.get_running_loop().call_later(100, consumer.set, 0)
        assert await settled(consumer) == ({}, 100)

    run(main)


def test_timeout_ends_the_wait():
    async def main():
        consumer = Consumer(1, is_processing=True)
        assert await settled(consumer, timeout=2.0) == ({"mailer": 1}, 2)
        assert await settled(consumer, timeout=0) == ({"mailer": 1}, 0)

    run(main)


def test_closed_consumer_is_not_waited_for():
    async def main():
        consumers = [Consumer(1)]
        asyncio.get_running_loop().call_later(1, consumers.clear)
        assert await settle(lambda: consumers, None) == {}
        assert asyncio.get_running_loop().time() == pytest.approx(1, abs=0.05)

    run(main)
