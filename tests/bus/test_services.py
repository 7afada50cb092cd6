"""What is attached to a bus ends after its drain, and before its journal."""

import asyncio
from typing import NamedTuple

import pytest
from support.consuming import ticks

from edr.bus import Bus
from edr.errors import BusClosedError

ARGS = ("app", "1", "ok", "info", {"n": 1})


class Recording:
    """A service that takes from an outbox, and logs what happens to it."""

    def __init__(self, log, *, left=0, error=None):
        self.log = log
        self.left = left
        self.error = error
        self.timeout = None

    async def drain(self, timeout=None):
        self.timeout = timeout
        self.log.append("service drains")
        if self.error is not None:
            raise self.error
        await asyncio.sleep(0)
        return self.left

    async def aclose(self):
        self.log.append("service closes")


class Counts(NamedTuple):
    failed: int


class Journal:
    bindings = ()

    def __init__(self, log):
        self.log = log

    async def open(self):
        pass

    def append_nowait(self, _event):
        return True

    def statistics(self):
        return Counts(failed=0)

    async def drain(self, timeout=None):
        return 0

    async def aclose(self):
        if "journal closes" not in self.log:
            self.log.append("journal closes")


def bus_with_callback(log, **options):
    bus = Bus(**options)

    async def slow(_event):
        await asyncio.sleep(0)
        log.append("callback ends")

    bus.on(slow)
    return bus


async def test_services_end_after_the_drain_and_before_the_journal():
    log = []
    async with bus_with_callback(log, journal=Journal(log)) as bus:
        bus.add_service(Recording(log), "service")
        await bus.emit(*ARGS)

    assert log == ["callback ends", "service drains", "service closes", "journal closes"]


async def test_aclose_closes_services_without_a_drain():
    log = []
    bus = Bus(journal=Journal(log))
    bus.add_service(Recording(log), "service")
    await bus.aclose()

    assert log == ["service closes", "journal closes"]


async def test_drain_returns_and_logs_what_services_left(caplog):
    bus = Bus()
    bus.add_service(Recording([], left=2), "link a")
    bus.add_service(Recording([]), "link b")

    assert await bus.drain() == {"link a": 2}
    assert "with events left undone: 'link a' 2" in caplog.text


async def test_service_that_fails_keeps_no_other_from_its_end(caplog):
    log = []
    bus = Bus(journal=Journal(log))
    bus.add_service(Recording([], error=OSError("no route")), "link a")
    bus.add_service(Recording(log), "link b")
    await bus.drain()

    assert log == ["service drains", "service closes", "journal closes"]
    assert "link a failed to end: OSError('no route')" in caplog.text


async def test_service_that_was_removed_is_not_ended():
    log = []
    bus, service = Bus(), Recording(log)
    bus.add_service(service, "service")
    bus.remove_service(service)
    await bus.drain()

    assert log == []


async def test_service_has_a_second_when_the_timeout_is_used_up():
    bus, service = Bus(), Recording([])
    bus.add_service(service, "service")
    await bus.drain(timeout=0)

    assert service.timeout == 1.0


async def test_service_has_no_limit_when_the_drain_has_none():
    bus, service = Bus(), Recording([])
    bus.add_service(service, "service")
    await bus.drain()

    assert service.timeout is None


async def test_outbox_of_a_service_is_left_to_it():
    bus = Bus()
    outbox = bus.subscribe(name="outbox")
    sent = []

    class Sender:
        async def drain(self, timeout=None):
            outbox.shutdown()
            sent.extend([event.body["n"] async for event in outbox])
            return 0

        async def aclose(self):
            pass

    bus.add_service(Sender(), "sender", outbox)
    await bus.emit(*ARGS)

    assert await bus.join() == {}
    assert await bus.drain() == {}
    assert sent == [1]


async def test_no_service_is_added_while_the_bus_drains():
    log = []
    bus = bus_with_callback(log)
    await bus.emit(*ARGS)
    draining = asyncio.create_task(bus.drain())
    await ticks(1)
    with pytest.raises(BusClosedError):
        bus.add_service(Recording(log), "late")
    await draining


@pytest.mark.parametrize("cancelled_after", range(1, 9))
async def test_journal_is_closed_when_the_end_is_cancelled(cancelled_after):
    log = []
    bus = bus_with_callback(log, journal=Journal(log))
    bus.add_service(Recording(log), "service")
    await bus.emit(*ARGS)
    ending = asyncio.create_task(bus.aclose())
    await ticks(cancelled_after)
    ending.cancel()
    await asyncio.wait({ending})
    await ticks(20)

    assert log[-1] == "journal closes"


class Slow(Recording):
    """A service whose end waits for ``may_end``."""

    def __init__(self, log):
        super().__init__(log)
        self.may_end = asyncio.Event()

    async def aclose(self):
        await self.may_end.wait()
        await super().aclose()


async def test_wait_closed_returns_after_services_and_journal():
    log = []
    bus, service = Bus(journal=Journal(log)), Slow(log)
    bus.add_service(service, "service")
    waiting, closing = map(asyncio.create_task, (bus.wait_closed(), bus.aclose()))
    await ticks()
    assert (bus.closed, waiting.done(), log) == (True, False, [])
    service.may_end.set()
    await waiting

    assert log == ["service closes", "journal closes"]
    await closing


@pytest.mark.parametrize("cancelled_after", range(4))
async def test_wait_closed_waits_for_services_of_a_cancelled_end(cancelled_after):
    log = []
    bus, service = Bus(journal=Journal(log)), Slow(log)
    bus.add_service(service, "service")
    closing = asyncio.create_task(bus.aclose())
    await ticks(cancelled_after)
    closing.cancel()
    await asyncio.wait({closing})
    await ticks()
    waiting = asyncio.create_task(bus.wait_closed())
    await ticks()
    assert not waiting.done()
    if not bus.closed:  # cancelled before its first step
        closing = asyncio.create_task(bus.aclose())
    service.may_end.set()
    await waiting

    assert sorted(log) == ["journal closes", "service closes"]
    await asyncio.wait({closing})


async def test_wait_closed_does_not_raise_an_error_of_the_journal():
    class Failing(Journal):
        async def aclose(self):
            raise OSError("the disk is gone")

    bus = Bus(journal=Failing([]))
    with pytest.raises(OSError, match="gone"):
        await bus.aclose()

    await bus.wait_closed()
