import asyncio

import pytest
from aiormq.exceptions import DeliveryError
from support.consuming import ticks
from support.shuffled_loop import run

from edr.links.rabbitmq_confirms import MOST, MOST_BYTES, Confirms


def with_confirms(check):
    """Run ``check(confirms, answers, publish)``; ``publish()`` gives what the broker may answer."""

    async def main():
        answers = []
        confirms = Confirms(answers.append)

        def publish(size=1):
            answer = asyncio.get_running_loop().create_future()

            async def publishing():
                return await answer

            confirms.add(publishing(), size)
            return answer

        await check(confirms, answers, publish)
        await confirms.let_go()

    run(main)


async def waits(coroutine):
    task = asyncio.ensure_future(coroutine)
    await ticks()
    if task.done():
        return False
    task.cancel()
    return True


@pytest.mark.parametrize(("count", "size"), [(MOST, 1), (1, MOST_BYTES)])
def test_the_window_is_full_in_number_or_bytes_until_the_broker_answers(count, size):
    async def check(confirms, answers, publish):
        pending = [publish(size) for _ in range(count)]
        assert await waits(confirms.room())
        pending[0].set_result(None)
        await ticks()

        assert not await waits(confirms.room())
        assert answers == [True]

    with_confirms(check)


def test_it_is_empty_when_all_are_answered_one_way_or_the_other():
    async def check(confirms, answers, publish):
        assert not await waits(confirms.emptied())
        one, other = publish(), publish()
        one.set_result(None)
        await ticks()
        assert await waits(confirms.emptied())
        other.set_exception(DeliveryError(None, None))
        await ticks()

        assert not await waits(confirms.emptied())
        assert await waits(confirms.busy())
        assert answers == [True, False]

    with_confirms(check)


def test_answers_are_told_in_the_order_of_the_publishes_whatever_the_brokers():
    async def check(confirms, answers, publish):
        first, second, third = publish(), publish(), publish()
        third.set_result(None)
        second.set_exception(DeliveryError(None, None))
        await ticks()
        assert answers == []
        first.set_result(None)
        await ticks()

        assert answers == [True, False, True]

    with_confirms(check)


def test_what_was_cut_off_is_no_answer_and_keeps_the_window_from_being_empty():
    async def check(confirms, answers, publish):
        publish().set_exception(ConnectionError("gone"))
        publish().cancel()
        await ticks()

        assert answers == []
        assert await waits(confirms.emptied())

    with_confirms(check)


def test_an_answer_after_letting_go_counts_no_more():
    async def check(confirms, answers, publish):
        answer = publish()
        answer.set_result(None)
        await confirms.let_go()
        await ticks()

        assert answers == []

    with_confirms(check)


def test_silence_is_counted_from_the_last_answer_while_something_is_on_its_way():
    async def check(confirms, answers, publish):
        await asyncio.sleep(100)
        assert confirms.silent_for == 0.0
        first, _ = publish(), publish()
        await asyncio.sleep(3)
        assert confirms.silent_for == 3.0
        first.set_result(None)
        await asyncio.sleep(2)
        assert confirms.silent_for == 2.0
        confirms.be_patient()

        assert confirms.silent_for == 0.0

    with_confirms(check)
