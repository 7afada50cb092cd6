"""Received events are acknowledged after the journal has stored them, and not before."""

import asyncio

import pytest
from support.consuming import take_ready, ticks
from support.shuffled_loop import run

import edr
from edr.errors import BodyTooLargeError
from edr.journal import EventsRefusedError, JournalFullError, Refusal
from edr.links.dedup import DedupWindow
from edr.links.storing import Storing


class Journal:
    """A journal of which each storage is settled by the test."""

    bindings = ()

    def __init__(self):
        self.accepted = []
        self.storages = []
        self.error = None
        self.failed = 0

    def statistics(self):
        return self

    def submit(self, event):
        self.accepted.append(event.body["n"])
        self.storages.append(asyncio.get_running_loop().create_future())
        return self.storages[-1]

    async def append(self, event):
        return await self.submit(event)

    def append_nowait(self, event):
        return True

    async def open(self):
        pass

    async def drain(self, timeout=None):
        return 0

    async def aclose(self):
        pass


def event(n):
    fields = {"app_name": "a", "app_version": "1", "severity": "ok", "verbosity": "info"}
    return edr.Event(**fields, body={"n": n}, node="there", id=f"id{n}")


def with_storing(check, **options):
    async def main():
        journal, delays = Journal(), []
        async with edr.Bus(journal=journal, **options) as bus:
            seen = DedupWindow()
            storing = Storing(bus, seen, lambda event, exc: delays.append((event.id, str(exc))))
            await check(bus, journal, storing, seen, delays)
            await storing.aclose()

    run(main)


def start(storing, n, exclude=None):
    return asyncio.ensure_future(storing.store(event(n), exclude))


def test_store_returns_when_the_journal_has_the_event():
    async def check(bus, journal, storing, _seen, _delays):
        subscription = bus.subscribe()
        task = start(storing, 1)
        await ticks()
        assert take_ready(subscription) == [1]
        assert not task.done()
        journal.storages[0].set_result(1)
        await task
        await ticks()
        assert not storing.is_storing(event(1))

    with_storing(check)


def test_a_repeated_message_waits_for_the_same_storage():
    async def check(bus, journal, storing, _seen, _delays):
        subscription = bus.subscribe()
        first, second = start(storing, 1), start(storing, 1)
        await ticks()
        assert journal.accepted == take_ready(subscription) == [1]
        first.cancel()
        await ticks()
        assert not second.done()
        journal.storages[0].set_result(1)
        await second

    with_storing(check)


def test_a_full_journal_gets_the_event_again_when_it_has_room():
    async def check(bus, journal, storing, _seen, delays):
        subscription = bus.subscribe()
        journal.error = "disk full"
        task = start(storing, 1)
        await ticks()
        journal.storages[0].set_exception(JournalFullError("disk full"))
        await asyncio.sleep(60)
        assert journal.accepted == [1]
        journal.error = None
        await asyncio.sleep(6)
        assert not task.done()
        journal.storages[1].set_result(2)
        await task

        assert journal.accepted == [1, 1]
        assert take_ready(subscription) == [1]
        assert delays == [("id1", "disk full")]

    with_storing(check)


def test_a_refused_event_raises_and_is_new_when_it_comes_again():
    async def check(_bus, journal, storing, seen, _delays):
        assert seen.is_new(event(1), 1)
        task = start(storing, 1)
        await ticks()
        journal.storages[0].set_exception(EventsRefusedError([Refusal(event(1), "too big")], 1))
        with pytest.raises(EventsRefusedError):
            await task
        await ticks()

        assert seen.is_new(event(1), 1)

    with_storing(check)


def test_an_event_the_bus_does_not_take_raises():
    async def check(_bus, journal, storing, _seen, _delays):
        with pytest.raises(BodyTooLargeError):
            await storing.store(event(123456789012), None)
        assert journal.accepted == []

    with_storing(check, max_body=10)
