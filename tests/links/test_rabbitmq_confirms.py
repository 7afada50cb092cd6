import asyncio

import pytest
from aiormq.exceptions import ChannelPreconditionFailed, DeliveryError
from support.consuming import ticks
from support.shuffled_loop import run

from edr.links.rabbitmq_confirms import (
    MAX_BYTES_IN_FLIGHT,
    MAX_IN_FLIGHT,
    RETRY_AFTER,
    Confirms,
    Outgoing,
)


class Broker:
    """What is published, and what it answers; ``outcomes`` has what became of each event."""

    def __init__(self):
        self.published = []
        self.answers = []
        self.outcomes = []
        self.confirms = Confirms(self._publish, self._taken, self._given_up)

    async def _publish(self, item):
        self.published.append(item.key)
        self.answers.append(asyncio.get_running_loop().create_future())
        await self.answers[-1]

    def _taken(self, item):
        self.outcomes.append((item.key, "taken"))

    def _given_up(self, item, reason, _words):
        self.outcomes.append((item.key, reason))

    async def add(self, key="a", size=1):
        self.confirms.add(Outgoing(None, key, b"x" * size, None))
        await ticks()

    async def take(self, number=-1):
        self.answers[number].set_result(None)
        await ticks()

    async def reject(self, number=-1):
        self.answers[number].set_exception(DeliveryError(None, None))
        await ticks()


def with_broker(check):
    async def main():
        broker = Broker()
        await check(broker, broker.confirms)
        await broker.confirms.let_go()

    run(main)


async def waits(coroutine):
    task = asyncio.ensure_future(coroutine)
    await ticks()
    if task.done():
        return False
    task.cancel()
    return True


@pytest.mark.parametrize(("count", "size"), [(MAX_IN_FLIGHT, 1), (1, MAX_BYTES_IN_FLIGHT)])
def test_the_window_is_full_in_number_or_bytes_until_the_broker_answers(count, size):
    async def check(broker, confirms):
        for _ in range(count):
            await broker.add(size=size)
        assert await waits(confirms.room())
        await broker.take(0)

        assert not await waits(confirms.room())
        assert broker.outcomes == [("a", "taken")]

    with_broker(check)


def test_confirmed_events_are_told_as_they_are_confirmed():
    async def check(broker, confirms):
        await broker.add("a")
        await broker.add("b")
        await broker.take(1)
        assert broker.outcomes == [("b", "taken")]
        assert await waits(confirms.answered())
        await broker.take(0)

        assert not await waits(confirms.answered())
        assert await waits(confirms.busy())

    with_broker(check)


def test_a_rejected_event_is_sent_again_while_others_go_on():
    async def check(broker, confirms):
        await broker.add("a")
        await broker.reject()
        assert not await waits(confirms.answered())
        assert await waits(confirms.settled())
        await broker.add("b")
        await broker.take()
        await asyncio.sleep(RETRY_AFTER[0])
        await broker.take()

        assert broker.published == ["a", "b", "a"]
        assert broker.outcomes == [("b", "taken"), ("a", "taken")]
        assert not await waits(confirms.settled())

    with_broker(check)


def test_an_event_rejected_after_each_delay_is_given_up():
    async def check(broker, confirms):
        began = asyncio.get_running_loop().time()
        await broker.add("a")
        await broker.reject()
        for delay in RETRY_AFTER:
            await asyncio.sleep(delay)
            await broker.reject()

        assert broker.published == ["a"] * (1 + len(RETRY_AFTER))
        assert broker.outcomes == [("a", "nack")]
        assert asyncio.get_running_loop().time() - began == pytest.approx(sum(RETRY_AFTER))
        assert not await waits(confirms.settled())

    with_broker(check)


def test_an_event_the_client_cannot_publish_is_given_up():
    async def check(broker, confirms):
        await broker.add("a")
        broker.answers[0].set_exception(ValueError("no"))
        await ticks()

        assert broker.outcomes == [("a", "invalid")]
        assert not await waits(confirms.settled())

    with_broker(check)


def test_cut_returns_what_is_not_settled_and_leaves_room():
    async def check(broker, confirms):
        for key in "abcd":
            await broker.add(key)
        await broker.take(0)
        await broker.reject(1)
        broker.answers[2].set_exception(ChannelPreconditionFailed("too large"))
        await ticks()
        wire, waiting = confirms.cut()
        await asyncio.sleep(sum(RETRY_AFTER))

        assert [item.key for item in wire] == ["c", "d"]
        assert [item.key for item in waiting] == ["b"]
        assert broker.published == ["a", "b", "c", "d"]
        assert broker.outcomes == [("a", "taken")]
        assert not await waits(confirms.settled())

    with_broker(check)


def test_a_lost_channel_is_no_answer():
    async def check(broker, confirms):
        await broker.add("a")
        broker.answers[0].set_exception(ConnectionError("gone"))
        await ticks()

        assert broker.outcomes == []
        assert await waits(confirms.answered())

    with_broker(check)


def test_an_answer_after_letting_go_counts_no_more():
    async def check(broker, confirms):
        await broker.add("a")
        broker.answers[0].set_result(None)
        await confirms.let_go()
        await ticks()

        assert broker.outcomes == []

    with_broker(check)


def test_silence_counts_from_the_last_answer_while_one_is_due():
    async def check(broker, confirms):
        await asyncio.sleep(100)
        assert confirms.silent_for == 0.0
        await broker.add("a")
        await broker.add("b")
        await asyncio.sleep(3)
        assert confirms.silent_for == pytest.approx(3.0)
        await broker.take(0)
        await asyncio.sleep(2)
        assert confirms.silent_for == pytest.approx(2.0)
        confirms.be_patient()

        assert confirms.silent_for == 0.0

    with_broker(check)
