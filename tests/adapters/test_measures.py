import asyncio
import gc

from support.consuming import ready

import edr
from edr.adapters.measures import Measures


def table(measures):
    return {measure.name: dict(measure.values) for measure in measures.read()}


async def test_the_sums_are_of_all_and_only_those_with_a_name_have_their_own(bus, emit):
    held = [bus.subscribe(), bus.subscribe(name="archive", capacity=1, overflow="drop_newest")]
    for n in range(3):
        await emit(n)
    found = table(Measures(bus))

    assert (found["emits"], found["offered"], found["pending"]) == ({(): 3}, {(): 6}, {(): 4})
    assert found["dropped"] == {("overflow",): 2}
    assert found["subscription_offered"] == {("archive",): 3}
    assert found["subscription_dropped"] == {("archive", "overflow"): 2}
    assert found["subscription_pending"] == {("archive",): 1}
    assert found["subscription_oldest_age"][("archive",)] > 0
    assert held


async def test_the_work_of_a_callback_is_measured(bus, emit):
    def audit(event):
        raise RuntimeError

    bus.bind(edr.Binding(), audit, retries=1, backoff=0, name="audit", on_error=lambda *_: None)
    await emit(1)
    await bus.settled()
    found = table(Measures(bus))

    assert found["subscription_failed"] == {("audit",): 1}
    assert found["subscription_retried"] == {("audit",): 1}
    assert found["callback_errors"] == {(): 1}


async def test_those_of_one_name_are_summed_and_no_counter_falls_when_one_goes(bus, emit):
    first, second = bus.subscribe(name="sse"), bus.subscribe(name="sse")
    measures = Measures(bus)
    await emit(1)
    assert table(measures)["subscription_offered"] == {("sse",): 2}
    second.close()
    await emit(2)

    assert table(measures)["subscription_offered"] == {("sse",): 3}
    first.close()
    third = bus.subscribe(name="sse")
    await emit(3)
    assert table(measures)["subscription_offered"] == {("sse",): 4}
    assert third.name == "sse"


async def test_a_name_that_is_gone_keeps_its_counters_and_has_no_gauges(bus, emit):
    measures = Measures(bus)
    events = bus.subscribe(name="once")
    await emit(1)
    assert table(measures)["subscription_pending"] == {("once",): 1}
    await events.aclose()

    found = table(measures)
    assert found["subscription_offered"] == {("once",): 1}
    assert found["subscription_pending"] == {}


async def test_names_that_are_made_up_are_forgotten_in_the_end(bus, monkeypatch):
    monkeypatch.setattr("edr.adapters.measures.MOST_GONE", 3)
    measures = Measures(bus)
    lasting = bus.subscribe(name="lasting")
    for n in range(10):
        async with bus.subscribe(name=f"made up {n}"):
            measures.read()

    labels = list(table(measures)["subscription_offered"])
    assert labels == [("lasting",), ("made up 7",), ("made up 8",), ("made up 9",)]
    lasting.close()


async def test_a_bus_is_not_kept_and_one_that_is_gone_has_no_measures():
    bus = edr.Bus()
    measures = Measures(bus)
    del bus
    gc.collect()

    assert measures.read() == []


async def test_what_a_thread_reads_while_subscriptions_come_and_go_is_right_and_never_falls(bus):
    """A scraper reads without a pause; the loop subscribes, emits, takes and closes."""
    stop = asyncio.Event()
    measures = Measures(bus)
    readings = []

    def scrape():
        while not stop.is_set() or len(readings) < 20:
            readings.append(table(measures))

    scraper = asyncio.create_task(asyncio.to_thread(scrape))
    lasting = bus.subscribe(name="lasting", capacity=10, overflow="drop_oldest")
    taken = 0
    for n in range(600):
        held = [bus.subscribe(name=f"worker {n % 3}") for _ in range(3)]
        held += [bus.subscribe() for _ in range(3)]
        await bus.emit("app", "1", "ok", "info", {"n": n})
        taken += len(list(ready(lasting))) if n % 20 == 0 else 0
        for each in held:
            await each.aclose()
    stop.set()
    await scraper
    last = table(measures)

    assert last["emits"] == {(): 600}
    assert last["offered"] == {(): 600 * 7}
    assert last["subscription_offered"][("lasting",)] == 600
    lost = last["subscription_dropped"][("lasting", "overflow")]
    assert taken + lost + last["subscription_pending"][("lasting",)] == 600
    for reading in readings:
        total = sum(reading["dropped"].values())
        sums = reading["delivered"][()] + total + reading["pending"][()]
        assert reading["offered"][()] == sums
        assert set(reading["subscription_offered"]) <= {("lasting",)} | {
            (f"worker {n}",) for n in range(3)
        }
    for measure in measures.read():
        if measure.kind == "counter":
            for key in measure.values:
                seen = [reading[measure.name].get(key, 0) for reading in readings]
                assert seen == sorted(seen), (measure.name, key)
