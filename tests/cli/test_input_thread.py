import asyncio
import threading

import pytest

from edr.cli.input_thread import in_thread


async def test_items_are_yielded_in_order():
    assert [item async for item in in_thread(iter(range(100)))] == list(range(100))


async def test_error_of_the_iterator_is_raised_after_its_items():
    def items():
        yield 1
        raise ZeroDivisionError

    found = []
    with pytest.raises(ZeroDivisionError):
        async for item in in_thread(items()):
            found.append(item)

    assert found == [1]


async def test_no_item_is_taken_before_it_is_requested():
    taken = iter(range(3))
    items = in_thread(taken)
    assert await anext(items) == 0

    assert next(taken) == 1


async def test_cancellation_does_not_wait_for_the_next_item():
    may_end = threading.Event()

    def items():
        yield may_end.wait(10)

    waiting = asyncio.ensure_future(anext(in_thread(items())))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])

    assert not may_end.is_set()
    assert waiting.cancelled()
    may_end.set()
