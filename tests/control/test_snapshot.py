import asyncio

import orjson
import pytest

import edr
from edr._util.log import RateLimitedLog
from edr.control import snapshot as module
from edr.control import steps
from edr.control.parts import PartList
from edr.control.snapshot import Snapshots, bindings_of, fitting, subscriptions
from edr.journal import ConsumerStatus


@pytest.fixture
def read(bus):
    async def read(limit=100, parts=None, of=bus):
        snapshots = Snapshots(of, PartList(of, parts, RateLimitedLog()), RateLimitedLog())
        return orjson.loads(orjson.dumps(await snapshots.read(limit)))

    return read


async def test_the_counts_of_the_bus_and_its_subscriptions_are_read(read, bus, emit):
    kept = bus.subscribe(severity="warning", name="w", capacity=5)
    await emit(1, severity="critical")
    state = await read()

    assert state["bus"]["emits"] == 1
    (shown,) = state["subscriptions"]
    assert (shown["name"], shown["pending"], shown["capacity"]) == ("w", 1, 5)
    assert shown["bindings"][0]["severity"] == "warning"
    assert shown["kind"] == "subscription"
    kept.shutdown()


async def test_the_subscriptions_to_look_at_first_are_read(read, bus, emit):
    kept = [bus.subscribe(name=f"s{n}", app_name=f"a{n}") for n in range(50)]
    full = bus.subscribe(name="full", capacity=1, overflow="drop_oldest", app_name="b")
    waiting = bus.subscribe(name="waiting", app_name="c")
    for n in range(3):
        await emit(n, app_name="b")
        await emit(n, app_name="c")
    state = await read(limit=2)

    assert {each["name"] for each in state["subscriptions"]} == {"full", "waiting"}
    assert state["omitted"] == 50
    for each in (*kept, full, waiting):
        each.shutdown()


async def test_a_large_bus_is_read_in_pages(bus, monkeypatch):
    monkeypatch.setattr(steps, "MAX_SIZE", 8)
    kept = [bus.subscribe() for _ in range(20)]
    turns = []
    other = asyncio.ensure_future(count_turns(turns))
    sizes = [len(page) async for page in subscriptions(bus)]
    other.cancel()

    assert sum(sizes) == 20
    assert max(sizes) <= 8
    assert len(turns) >= 3
    for each in kept:
        each.shutdown()


async def count_turns(turns):
    while True:
        turns.append(1)
        await asyncio.sleep(0)


async def test_names_that_cannot_be_written_and_passwords_are_no_fault(read, bus):
    kept = bus.subscribe(name="\ud800 amqp://u:secret@host")
    state = await read()

    assert state["subscriptions"][0]["name"] == "? amqp://…@host"
    kept.shutdown()


async def test_a_callback_shows_its_last_error_without_a_password(read, bus, emit):
    @bus.on(name="c")
    def fail(event):
        raise OSError("cannot reach amqp://u:secret@host")

    await emit(1)
    await bus.join()
    (shown,) = (await read())["subscriptions"]

    assert (shown["kind"], shown["failed"]) == ("callback", 1)
    assert shown["last_error"] == "OSError: cannot reach amqp://…@host"


def test_bindings_that_are_too_large_are_a_number():
    names = tuple(f"{'x' * 100}{n}" for n in range(1000))

    assert bindings_of([edr.Binding(app_name=names)]) == {"bindings": None, "bindings_count": 1}
    many = [edr.Binding(app_name=str(n)) for n in range(module.MAX_BINDINGS_COUNT + 1)]
    assert bindings_of(many)["bindings_count"] == len(many)


async def test_a_list_is_cut_to_the_bytes_of_an_answer():
    items = [{"text": "x" * 1000} for _ in range(1000)]
    fit = await fitting(items)

    assert sum(len(orjson.dumps(each)) for each in fit) > module.MAX_BYTES - 1100
    assert sum(len(orjson.dumps(each)) + 1 for each in fit) <= module.MAX_BYTES


class Journal:
    """A journal that has consumers, or raises."""

    id = "j1"
    bindings = (edr.Binding(),)

    def __init__(self, consumers):
        self._consumers = consumers

    async def consumers(self):
        if isinstance(self._consumers, Exception):
            raise self._consumers
        return self._consumers


class JournalBus:
    """A bus with a journal, of which the snapshot reads only this."""

    services = ()

    def __init__(self, bus, journal):
        self._bus, self.journal = bus, journal

    def statistics(self):
        statistics = self._bus.statistics()
        object.__setattr__(statistics, "journal", {"first": 1, "last": 9})
        return statistics

    def subscriptions(self, **page):
        return ()


async def test_consumers_are_shown_with_their_bindings(read, bus):
    status = ConsumerStatus(
        name="sink:a",
        position=4,
        lag=5,
        unacked=0,
        missed=0,
        last_ack=None,
        open=True,
        bindings=(edr.Binding(severity="critical"),),
    )
    journal = (await read(of=JournalBus(bus, Journal((status,)))))["journal"]

    assert (journal["last"], journal["id"]) == (9, "j1")
    assert journal["consumers"][0]["lag"] == 5
    assert journal["consumers"][0]["bindings"][0]["severity"] == "critical"


async def test_a_journal_that_cannot_tell_leaves_the_rest(read, bus):
    journal = (await read(of=JournalBus(bus, Journal(OSError("disk")))))["journal"]

    assert journal["consumers"] is None
    assert journal["consumers_error"] == "disk"
    assert journal["last"] == 9
