"""Queues in the order of their numbers, page by page."""

from random import Random

import pytest

from edr.bus.queue_list import BLOCK_SIZE, QueueList


class Numbered:
    """Stands for a queue, and counts how often a number is read."""

    reads = 0

    def __init__(self, number):
        self._number = number

    @property
    def number(self):
        Numbered.reads += 1
        return self._number


def filled(count):
    listed, queues = QueueList(), [Numbered(number) for number in range(1, count + 1)]
    for queue in queues:
        listed.append(queue)
    return listed, queues


def numbers(queues):
    return [queue._number for queue in queues]


@pytest.mark.parametrize("seed", range(20))
def test_pages_agree_with_a_plain_list_as_queues_come_and_go(seed):
    random = Random(seed)
    listed, plain = QueueList(), []
    share = random.choice((0.1, 0.4, 0.52))
    for number in range(1, 4 * BLOCK_SIZE):
        plain.append(Numbered(number))
        listed.append(plain[-1])
        while plain and random.random() < share:
            listed.remove(plain.pop(random.randrange(len(plain))))
        after, limit = (
            random.choice((None, random.randrange(number))),
            random.choice((None, 1, 700)),
        )
        later = [each for each in plain if after is None or each._number > after]
        assert listed.page(after, limit) == later[:limit]


def test_pages_leave_out_no_queue_that_stays_and_repeat_none():
    listed, queues = filled(2000)
    stays = set(queues[::3])
    seen, page = [], listed.page(limit=50)
    while page:
        seen += page
        for queue in [each for each in page if each not in stays]:
            listed.remove(queue)
        queues.append(Numbered(len(queues) + 1))
        if len(queues) < 2020:
            listed.append(queues[-1])
        page = listed.page(page[-1]._number, 50)

    assert stays <= set(seen)
    assert len(set(seen)) == len(seen)


def test_page_after_a_removed_queue_begins_at_the_next_one():
    listed, queues = filled(10)
    listed.remove(queues[4])

    assert numbers(listed.page(5, 2)) == [6, 7]
    assert numbers(listed.page(4, 2)) == [6, 7]
    assert numbers(listed.page(10, 2)) == numbers(listed.page(99)) == []


def test_cost_of_a_page_does_not_depend_on_the_number_of_queues():
    reads = []
    for count in (1000, 100_000):
        listed, _ = filled(count)
        Numbered.reads = 0
        assert len(listed.page(count - 20, 10)) == 10
        reads.append(Numbered.reads)

    assert max(reads) < 20


@pytest.mark.parametrize("step", [1, -1])
def test_few_blocks_remain_when_most_queues_are_removed(step):
    listed, queues = filled(100 * BLOCK_SIZE)
    for queue in queues[::step]:
        if queue._number % 100:
            listed.remove(queue)

    assert numbers(listed.page()) == list(range(100, 100 * BLOCK_SIZE + 1, 100))
    assert len(listed._blocks) <= 5


@pytest.mark.parametrize("step", [1, -1])
def test_small_neighbours_become_one_block(step):
    listed, queues = filled(2 * BLOCK_SIZE)
    assert [len(block) for block in listed._blocks] == [BLOCK_SIZE, BLOCK_SIZE]
    for half in (queues[:BLOCK_SIZE], queues[BLOCK_SIZE:])[::step]:
        for queue in half[10:]:
            listed.remove(queue)

    assert len(listed._blocks) == 1
    assert len(listed.page()) == 20


def test_list_that_was_emptied_holds_no_block():
    listed, queues = filled(3 * BLOCK_SIZE)
    for queue in queues:
        listed.remove(queue)

    assert (listed._blocks, listed._firsts) == ([], [])
    listed.append(Numbered(5000))
    assert numbers(listed.page()) == [5000]
