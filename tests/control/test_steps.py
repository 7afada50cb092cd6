import asyncio

from edr.control.steps import MAX_SIZE, STEP, Steps


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


async def turns_of(work):
    """Return how often the loop ran during ``work``."""
    turns = 0

    async def count():
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.ensure_future(count())
    await asyncio.sleep(0)
    turns = 0
    await work
    counting.cancel()
    return turns


async def test_the_loop_runs_when_a_step_took_its_time():
    clock = Clock()
    steps = Steps(clock)

    async def work():
        for _ in range(100):
            clock.now += STEP / 10
            await steps.next()

    assert 9 <= await turns_of(work()) <= 11


async def test_quick_items_have_no_turn_each():
    steps = Steps(Clock())

    async def work():
        for _ in range(1000):
            await steps.next()

    assert await turns_of(work()) == 0


async def page_size(seconds_for_each, pages=20):
    clock = Clock()
    steps = Steps(clock)
    for _ in range(pages):
        clock.now += seconds_for_each * steps.size
        await steps.next_page()
    return steps.size


async def test_a_page_grows_until_it_fills_a_step():
    assert await page_size(0) == MAX_SIZE
    assert STEP / 2 <= 20e-6 * await page_size(20e-6) <= STEP


async def test_a_page_shrinks_to_one_slow_item():
    assert await page_size(1e-3) in (2, 3)
    assert await page_size(1) == 1


async def test_a_page_grows_again_after_slow_items():
    clock = Clock()
    steps = Steps(clock)
    clock.now += 1
    await steps.next_page()
    assert steps.size == 1
    for _ in range(10):
        await steps.next_page()

    assert steps.size == MAX_SIZE
