import asyncio

import pytest
from support.shuffled_loop import run

from edr.journal.batches import EntryBatches


class Source:
    """Supplies numbers in place of entries, as they are put."""

    def __init__(self):
        self.items = []
        self.changed = asyncio.Event()
        self.is_shut_down = False

    def put(self, *items):
        self.items += items
        self.changed.set()

    async def take(self, limit):
        while not self.items and not self.is_shut_down:
            self.changed.clear()
            await self.changed.wait()
        taken, self.items = self.items[:limit], self.items[limit:]
        return taken


def test_batch_is_complete_when_it_is_full():
    async def main():
        source = Source()
        source.put(1, 2, 3, 4, 5)
        batches = EntryBatches(source, 2, 10.0)
        assert [await anext(batches) for _ in range(2)] == [[1, 2], [3, 4]]
        asyncio.get_running_loop().call_later(9.0, source.put, 6)
        assert await anext(batches) == [5, 6]

    run(main)


def test_batch_is_complete_after_max_wait():
    async def main():
        loop, source = asyncio.get_running_loop(), Source()
        source.put(1)
        loop.call_later(1.0, source.put, 2)
        loop.call_later(3.0, source.put, 3)
        batches = EntryBatches(source, 9, 2.0)
        assert await anext(batches) == [1, 2]
        assert loop.time() == pytest.approx(2.0, abs=0.1)

    run(main)


def test_batches_without_max_wait_return_the_items_at_hand():
    async def main():
        source = Source()
        source.put(1, 2)
        assert await anext(EntryBatches(source, 9, 0.0)) == [1, 2]

    run(main)


def test_last_batch_is_returned_before_the_end():
    async def main():
        loop, source = asyncio.get_running_loop(), Source()
        source.put(1)
        source.is_shut_down = True
        batches = EntryBatches(source, 9, 2.0)
        assert [batch async for batch in batches] == [[1]]
        assert loop.time() < 1.0

    run(main)


@pytest.mark.parametrize("seconds", [0.5, 1.0, 1.5])
def test_cancelled_batch_continues_with_its_items(seconds):
    async def main():
        loop, source = asyncio.get_running_loop(), Source()
        source.put(1)
        loop.call_later(1.0, source.put, 2)
        batches = EntryBatches(source, 9, 2.0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(seconds):
                await anext(batches)
        assert await anext(batches) == [1, 2]

    run(main)


@pytest.mark.parametrize(("max_size", "max_wait"), [(0, 0.0), ("1", 0.0), (1, -1.0)])
def test_options_are_checked(max_size, max_wait):
    with pytest.raises(ValueError, match="max_"):
        EntryBatches(None, max_size, max_wait)
