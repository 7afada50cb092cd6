"""The appender with a store that the test answers for."""

import asyncio
import logging
from itertools import pairwise

import pytest
from contracts.journal import event, events

from edr.journal import EventsRefusedError, JournalError
from edr.journal.appender import Appender
from edr.journal.batch import RejectedError
from edr.journal.store import Appended


def appended(first, count):
    return Appended(first, 0, 0, oldest=1, lost=0, losses={}, missing_ranges=(), stored=count)


class Store:
    """Stores ``most`` events of a batch at once; refuses one with a number in ``refused``."""

    def __init__(self, refused=(), most=10_000):
        self.refused = set(refused)
        self.most = most
        self.stored = []
        self.commits = 0

    def commit(self, events, *, lacks_room):
        self.commits += 1
        future = asyncio.get_running_loop().create_future()
        numbers = [each.body["n"] for each in events]
        if self.refused.intersection(numbers):
            future.set_exception(RejectedError("too large"))
        else:
            numbers = numbers[: self.most]
            self.stored += numbers
            future.set_result(appended(len(self.stored) - len(numbers) + 1, len(numbers)))
        return future

    def committed(self, events, appended):
        pass


def make(store, max_pending=10_000):
    return Appender(store, linger=0.0, max_pending=max_pending)


async def test_events_that_a_commit_did_not_take_are_in_the_next_one():
    store = Store(most=3)
    appender = make(store)
    first = asyncio.ensure_future(appender.append(events(*range(5))))
    await asyncio.sleep(0)
    second = asyncio.ensure_future(appender.append(events(5, 6)))

    assert (await first, await second) == (5, 7)
    assert store.stored == list(range(7))
    assert appender.waiting == 0


async def test_refused_events_are_found_by_halving():
    store = Store(refused={100, 700})
    with pytest.raises(EventsRefusedError) as caught:
        await make(store).append(events(*range(1000)))

    assert [each.event.body["n"] for each in caught.value.refusals] == [100, 700]
    assert store.stored == [n for n in range(1000) if n not in store.refused]
    assert store.commits < 60


async def test_append_gets_its_position_when_others_are_refused():
    store = Store(refused={1})
    appender = make(store)
    receipts = [appender.submit(event(n)) for n in range(4)]
    results = await asyncio.gather(*[_await(each) for each in receipts], return_exceptions=True)

    assert [results[0], *results[2:]] == [1, 2, 3]
    assert isinstance(results[1], EventsRefusedError)


async def _await(receipt):
    return await receipt


async def test_refusal_is_told_when_the_call_is_cancelled_as_it_comes():
    appender = make(Store(refused={1}))
    waiting = asyncio.ensure_future(appender.append([event(1)]))
    while not appender.failed:
        await asyncio.sleep(0)
    waiting.cancel()  # its result is there, and it has not run yet
    with pytest.raises(asyncio.CancelledError):
        await waiting

    with pytest.raises(EventsRefusedError):
        await appender.flush()


async def test_refusal_is_told_when_the_rest_cannot_be_stored_now():
    store = Store(refused={1})
    appender = make(store)
    waiting = asyncio.ensure_future(appender.append(events(1, 2)))
    while not appender.failed:
        await asyncio.sleep(0)
    commit = store.commit

    def fail(_events, *, lacks_room):
        future = asyncio.get_running_loop().create_future()
        future.set_exception(JournalError("the disk is full"))
        return future

    store.commit = fail
    with pytest.raises(JournalError, match="disk is full"):
        await waiting
    store.commit = commit
    appender.retry()

    with pytest.raises(EventsRefusedError):
        await appender.flush()


async def test_stored_events_are_settled_when_the_journal_fails_on_them():
    store = Store()
    faults = []
    asyncio.get_running_loop().set_exception_handler(lambda _, each: faults.append(each))

    def fails(_events, _appended):
        raise OverflowError("a clock beyond the year 9999")

    store.committed = fails
    appender = make(store)

    assert await appender.append([event(1)]) == 1
    assert appender.waiting == 0
    assert len(faults) == 1


async def test_room_is_given_in_turn_to_appends_and_others():
    appender = make(Store(), max_pending=8)
    taken = []

    async def append():
        while len(taken) < 5:
            await appender.append(events(1, 2, 3))
            turns.append("append")

    async def plain():
        while len(taken) < 5:
            await appender.room()
            while len(taken) < 5 and appender.accept(event(0)):
                taken.append(len(turns))

    turns = []
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(append())
        group.create_task(plain())

    assert all(second - first <= 60 for first, second in pairwise([0, *taken]))


async def test_log_handler_that_raises_stops_no_storing(caplog):
    class Raises(logging.Handler):
        def emit(self, record):
            raise OSError("the log is full")

    store = Store(refused={2})
    commit = store.commit

    def fail(_events, *, lacks_room):
        store.commit = commit
        future = asyncio.get_running_loop().create_future()
        future.set_exception(JournalError("the disk is full"))
        return future

    handler = Raises()
    logging.getLogger("edr.journal").addHandler(handler)
    try:
        appender = make(store)
        store.commit = fail
        with pytest.raises(JournalError):
            await appender.append([event(1)])
        with pytest.raises(EventsRefusedError):
            await appender.append(events(2, 3))
    finally:
        logging.getLogger("edr.journal").removeHandler(handler)

    assert store.stored == [1, 3]


async def test_group_is_accepted_whole_or_not_at_all():
    store = Store(refused=[2])
    appender = make(store, max_pending=4)
    receipt = appender.submit_all(events(1, 2, 3))
    assert appender.submit_all(events(4, 5)) is None
    assert appender.waiting == 3
    with pytest.raises(EventsRefusedError) as caught:
        await receipt

    assert [each.event.body["n"] for each in caught.value.refusals] == [2]
    assert store.stored == [1, 3]
