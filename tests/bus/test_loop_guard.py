"""Statistics that other threads read: right at every moment, and nothing is changed by them."""

import asyncio
import sys
import threading
from contextlib import contextmanager
from time import monotonic

import pytest

from edr.bus import Bus

ARGS = ("app", "1", "ok", "info", {"n": 1})


@contextmanager
def frequent_switches():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def read_while(work, read):
    """Call ``read`` in a thread for as long as ``work`` runs here, and return what it returned."""
    results, is_over = [], threading.Event()

    def reading():
        while not is_over.is_set():
            results.append(read())

    thread = threading.Thread(target=reading)
    with frequent_switches():
        thread.start()
        work()
        is_over.set()
    return thread, results


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest"])
async def test_counts_are_right_while_plain_code_holds_the_loop(overflow):
    bus = Bus()
    events = bus.subscribe(capacity=10, overflow=overflow)

    def work():
        for _ in range(30_000):
            bus.emit_nowait(*ARGS)

    thread, results = read_while(work, events.statistics)
    await asyncio.to_thread(thread.join)

    assert results
    assert {each.delivered for each in results} == {0}
    assert max(each.pending for each in results) <= 10
    await bus.aclose()


def test_foreign_thread_releases_and_folds_nothing_before_a_loop_runs():
    bus = Bus()
    events = bus.subscribe()
    del events  # abandoned: the bus is told, and lets go of it in its loop
    counts = []
    thread = threading.Thread(target=lambda: counts.append(bus.statistics()))
    thread.start()
    thread.join()
    assert len([*bus._registry]) == 1  # still registered: nothing was released

    async def main():
        bus.enter()
        return bus.statistics().subscriptions

    assert counts[0].subscriptions == 1
    assert asyncio.run(main()) == 0


def test_foreign_thread_releases_and_folds_nothing_between_two_runs_of_a_loop():
    bus = Bus()
    loop = asyncio.new_event_loop()

    async def begin():
        events = bus.subscribe()
        await bus.emit(*ARGS)
        events.take()

    loop.run_until_complete(begin())
    active = dict(bus._registry.active)
    thread = threading.Thread(target=bus.statistics)
    thread.start()
    thread.join()

    assert dict(bus._registry.active) == active
    loop.run_until_complete(bus.aclose())
    loop.close()


@pytest.mark.parametrize("is_draining", [False, True])
async def test_next_use_of_the_bus_answers_a_thread(monkeypatch, is_draining):
    """The loop has no turn, and the thread would wait for longer than this test."""
    monkeypatch.setattr("edr.bus.loop_guard.ANSWER_WITHIN", 1000.0)
    bus = Bus()
    bus.enter()
    guard = bus._guard
    if is_draining:
        guard.check_each_use()
    counts = []
    thread = threading.Thread(target=lambda: counts.append(bus.statistics()), daemon=True)
    thread.start()
    end = monotonic() + 60
    while thread.is_alive() and monotonic() < end:
        bus.emit_nowait(*ARGS)

    assert len(counts) == 1
    assert bool(guard.thread) is not is_draining
    await bus.aclose()


async def test_thread_gets_an_answer_from_a_loop_that_waits_for_it(monkeypatch):
    monkeypatch.setattr("edr.bus.loop_guard.ANSWER_WITHIN", 0.001)
    bus = Bus()
    bus.enter()
    counts = []
    thread = threading.Thread(target=lambda: counts.append(bus.statistics()))
    thread.start()
    thread.join()  # holds the loop

    assert counts[0].emits == 0
    await bus.aclose()
