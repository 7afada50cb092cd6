import asyncio
import dataclasses
import gc
import re
from pathlib import Path

import pytest
from support.consuming import ready

import edr
import edr.links
from edr.adapters.measures import Measures
from edr.journal import SqliteJournal
from edr.links import DROP_REASONS, REFUSE_REASONS, ConnectionState, LinkStatistics
from edr.sinks import Encoder, QueueIntake, SinkWorker, StdoutSink


def table(measures):
    """Return name -> labels but for the bus -> what was measured, of the only bus."""
    return {
        measure.name: {labels[1:]: value for labels, value in measure.values.items()}
        for measure in measures.read()
    }


def above_zero(values):
    return {labels: value for labels, value in values.items() if value}


async def test_the_sums_are_of_all_and_only_those_with_a_name_have_their_own(bus, emit):
    held = [bus.subscribe(), bus.subscribe(name="archive", capacity=1, overflow="drop_newest")]
    for n in range(3):
        await emit(n)
    found = table(Measures(bus))

    assert (found["emits"], found["offered"], found["pending"]) == ({(): 3}, {(): 6}, {(): 4})
    assert above_zero(found["dropped"]) == {("overflow",): 2}
    assert found["subscription_offered"] == {("archive",): 3}
    assert above_zero(found["subscription_dropped"]) == {("archive", "overflow"): 2}
    assert found["subscription_pending"] == {("archive",): 1}
    assert found["subscription_oldest_age"][("archive",)] > 0
    assert held


async def test_the_work_of_a_callback_is_measured(bus, emit):
    def audit(event):
        raise RuntimeError

    bus.bind(edr.Binding(), audit, retries=1, backoff=0, name="audit", on_error=lambda *_: None)
    await emit(1)
    await bus.join()
    found = table(Measures(bus))

    assert found["subscription_failed"] == {("audit",): 1}
    assert found["subscription_retried"] == {("audit",): 1}
    assert found["callback_errors"] == {(): 1}


class Part:
    def __init__(self, kind, name, **status):
        self.kind, self.name, self.status = kind, name, lambda: status


def failing():
    raise RuntimeError


async def test_sinks_of_the_bus_and_given_parts_are_measured(bus):
    intake = QueueIntake(bus, (edr.Binding(),), capacity=8, name="sink out")
    worker = SinkWorker("out", StdoutSink(encode=Encoder("json", lines=True)), intake, bus=bus)
    broken = Part("source", "broken")
    broken.status = failing
    await worker.start()
    parts = [broken, Part("source", "in", delivered=3)]
    found = table(Measures(bus, lambda: parts))

    assert found["sink_backlog"] == {("out",): 0}
    assert above_zero(found["sink_state"]) in [{("out", "starting"): 1}, {("out", "running"): 1}]
    assert found["source_accepted"] == {("in",): 3}
    await worker.aclose()


async def test_parts_belong_to_one_bus(bus):
    with pytest.raises(ValueError, match="parts must be given with one bus, got 2 buses"):
        Measures({"a": bus, "b": bus}, list)


async def test_a_bus_is_not_kept_and_one_that_is_gone_has_no_measures():
    bus = edr.Bus()
    measures = Measures(bus)
    del bus
    gc.collect()

    assert not any(measure.values for measure in measures.read())


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
                seen = [reading[measure.name].get(key[1:], 0) for reading in readings]
                assert seen == sorted(seen), (measure.name, key)


async def test_every_reason_is_measured_from_0(bus):
    held = bus.subscribe(name="archive")
    found = table(Measures(bus))

    assert found["dropped"] == {(str(reason),): 0 for reason in edr.DropReason}
    assert found["subscription_dropped"] == {
        ("archive", str(reason)): 0 for reason in edr.DropReason
    }
    assert held


async def test_several_buses_are_told_apart_by_a_label(bus, emit):
    async with edr.Bus() as other:
        await emit(1)
        emits = Measures({"orders": bus, "audit": other}).read()[0]

    assert (emits.labels, emits.values) == (("bus",), {("orders",): 1, ("audit",): 0})


@pytest.mark.parametrize("wrong", [None, {"a": None}, {1: edr.Bus()}, ["bus"]])
def test_what_is_measured_must_be_buses(wrong):
    with pytest.raises((TypeError, ValueError)):
        Measures(wrong)


@pytest.fixture
async def journalled(tmp_path):
    async with edr.Bus(journal=SqliteJournal(tmp_path / "journal")) as bus:
        yield bus


async def test_journal_and_its_consumers_are_measured(journalled):
    for n in range(3):
        await journalled.emit("a", "1", "ok", "info", {"n": n}, durable=True)
    measures = Measures(journalled)
    async with await journalled.journal.consumer("billing", start=0) as reader:
        await anext(reader)
        found = await asyncio.to_thread(table, measures)

    assert found["journal_appended"] == {(): 3}
    assert found["journal_failed"] == found["journal_lost"] == found["journal_error"] == {(): 0}
    assert found["journal_bytes"][()] > 0
    assert found["consumer_lag"] == {("billing",): 3}
    assert found["consumer_unacked"] == {("billing",): 1}
    assert found["consumer_missed"] == {("billing",): 0}


class FakeLink:
    def __init__(self, **counts):
        self._counts = counts

    def statistics(self):
        names = [field.name for field in dataclasses.fields(LinkStatistics)]
        values = dict.fromkeys(names, 0) | {
            "name": "nats",
            "state": ConnectionState.UP,
            "dropped": {},
            "refused": {},
        }
        return LinkStatistics(**values | self._counts)

    async def drain(self, timeout=None):
        return 0

    async def aclose(self):
        pass


async def test_links_that_are_attached_are_measured(bus):
    link = FakeLink(sent=4, dropped={"too_large": 2}, state=ConnectionState.CONNECTING)
    bus.add_service(link, "link nats")
    bus.add_service(NotALink(), "other")
    found = table(Measures(bus))
    bus.remove_service(link)

    assert (found["link_sent"], found["link_up"]) == ({("nats",): 4}, {("nats",): 0})
    assert above_zero(found["link_dropped"]) == {("nats", "too_large"): 2}
    assert set(found["link_dropped"]) == {("nats", reason) for reason in DROP_REASONS}
    assert found["link_refused"] == {("nats", reason): 0 for reason in REFUSE_REASONS}


class NotALink:
    async def drain(self, timeout=None):
        return 0

    async def aclose(self):
        pass


def test_every_reason_of_a_link_is_listed():
    texts = [
        path.read_text(encoding="utf-8") for path in Path(edr.links.__file__).parent.glob("*.py")
    ]
    for call, listed in (("drop", DROP_REASONS), ("refuse", REFUSE_REASONS)):
        used = {
            reason
            for text in texts
            for reason in re.findall(rf'_{call}\("(\w+)"|_{call}(?:ped|d)\["(\w+)"\]', text)
        }
        assert {one or other for one, other in used} <= set(listed)
