"""The worker of a sink: batches, retries, refusals, commands, the end."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from contracts.journal import event
from support.sinks import FailingSink, MemorySink

import edr
from edr.journal import JournalError
from edr.sinks import (
    Batch,
    RefusedError,
    RejectError,
    Retry,
    RetryError,
    SinkState,
)

APP, RARE = edr.Binding(app_name="app"), edr.Binding(app_name="rare")


class Failure(BaseException):
    """As the one that pytest.fail raises."""


async def until(condition, turns=100_000):
    """Wait for a condition in virtual time, an hour at most."""
    for _ in range(turns):
        if condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not happen")


def test_events_are_delivered_in_order(in_rig):
    async def scenario(rig):
        sink = MemorySink()
        worker = rig.worker(sink)
        await worker.start()
        rig.emit(*range(10))
        await until(lambda: len(sink.delivered) == 10)
        return sink.calls

    assert in_rig(scenario) == [[n] for n in range(10)]


def test_a_failed_batch_is_sent_again_whole(in_rig):
    async def scenario(rig):
        sink = MemorySink(RetryError("away"), OSError("reset"), None)
        worker = rig.worker(sink, batch=Batch(events=10))
        await worker.prepare()
        rig.emit(1, 2, 3)
        await worker.start()
        await until(lambda: sink.delivered == [1, 2, 3])
        return sink.calls

    assert in_rig(scenario) == [[1, 2, 3]] * 3


def test_the_error_of_a_sink_ends_with_its_outage(in_rig):
    async def scenario(rig):
        worker = rig.worker(MemorySink(RetryError("away", after=5), None))
        await worker.start()
        rig.emit(1)
        await until(lambda: worker.state is SinkState.RETRYING)
        during = worker.status()["error"]
        await until(lambda: worker.state is SinkState.RUNNING)
        return during, worker.status()["error"], worker.status()["last_error"]

    assert in_rig(scenario) == ("away", None, "away")


def test_an_event_is_not_acknowledged_before_it_is_delivered(in_rig):
    async def scenario(rig):
        sink = MemorySink()
        sink.hold()
        worker = rig.worker(sink, batch=Batch(events=10))
        await worker.start()
        rig.emit(1, 2)
        await sink.is_writing.wait()
        acked = list(rig.log.acked)
        await worker.aclose()
        return acked, rig.log.acked, sink.cancelled

    assert in_rig(scenario) == ([], [], 1)


def test_a_refused_batch_is_sent_one_by_one_once(in_rig):
    def refuse(batch):
        return RejectError("bad") if any(event.body["n"] == 2 for event in batch) else None

    async def scenario(rig):
        sink = MemorySink(*[refuse] * 10)
        worker = rig.worker(sink, batch=Batch(events=10))
        await worker.prepare()
        rig.emit(1, 2, 3)
        await worker.start()
        await until(lambda: sink.delivered == [1, 3])
        return sink.calls, rig.dead()

    assert in_rig(scenario) == ([[1, 2, 3], [1], [2], [3]], [(2, "bad")])


def test_a_refusing_sink_is_opened_again_every_60_seconds(in_rig):
    async def scenario(rig):
        sink = MemorySink(open_faults=[RefusedError("no such folder")] * 2)
        worker = rig.worker(sink)
        await worker.start()
        rig.emit(1)
        await asyncio.sleep(59)
        seen = [worker.state, sink.opened]
        await asyncio.sleep(62)
        return [*seen, worker.state, sink.opened, sink.delivered]

    assert in_rig(scenario) == [SinkState.REFUSED, 1, SinkState.RUNNING, 3, [1]]


def test_a_hanging_write_is_sent_again_after_the_timeout(in_rig):
    async def scenario(rig):
        sink = MemorySink()
        sink.hold()
        worker = rig.worker(sink, timeout=30)
        await worker.start()
        rig.emit(1)
        await sink.is_writing.wait()
        await asyncio.sleep(31)
        sink.release()
        await until(lambda: sink.delivered)
        return sink.cancelled, sink.calls, worker.statistics().error

    assert in_rig(scenario) == (1, [[1], [1]], "no answer within 30 s")


def test_a_drain_delivers_what_was_emitted_before(in_rig):
    async def scenario(rig):
        sink = MemorySink()
        worker = rig.worker(sink)
        await worker.start()
        rig.emit(*range(20))
        left = await worker.drain(10)
        return left, sink.delivered, sink.closed, worker.state

    assert in_rig(scenario) == (0, list(range(20)), 1, SinkState.STOPPED)


def test_a_drain_that_is_nearly_over_cuts_no_write(in_rig):
    async def scenario(rig):
        written = []

        class Slow(MemorySink):
            async def write(self, batch):
                await super().write(batch)  # it cannot be undone
                await asyncio.sleep(0.7)
                written.extend(event.body["n"] for event in batch)

        sink = Slow()
        worker = rig.worker(sink)
        await worker.start()
        rig.emit(*range(20))
        before = asyncio.get_running_loop().time()
        left = await worker.drain(10)
        took = asyncio.get_running_loop().time() - before
        return left, took < 10, sink.delivered == written

    assert in_rig(scenario) == (7, True, True)


def test_a_drain_does_not_wait_for_a_durable_sink_that_is_away(in_rig):
    async def scenario(rig):
        worker = rig.worker(FailingSink(RetryError("away")), retry=Retry(base=60))
        await worker.start()
        rig.emit(1, 2)
        await until(lambda: worker.state is SinkState.RETRYING)
        before = asyncio.get_running_loop().time()
        left = await worker.drain(100)
        return left, asyncio.get_running_loop().time() - before < 1

    assert in_rig(scenario) == (2, True)


# Refusals and dead letters


def test_a_dead_letter_is_stored_before_the_event_is_acknowledged(in_rig):
    """Mutant: acknowledge first."""

    async def scenario(rig):
        acked = []

        class Letters:
            async def append(self, sink, refused):
                acked.append(list(rig.log.acked))

        worker = rig.worker(MemorySink(RejectError("bad")), dead_letters=Letters())
        await worker.start()
        rig.emit(1)
        await until(lambda: rig.log.acked)
        return acked

    assert in_rig(scenario) == [[]]


def test_dead_letters_that_cannot_be_stored_are_tried_again(in_rig):
    async def scenario(rig):
        faults = [OSError(28, "No space left on device")] * 3
        stored = []

        class Letters:
            async def append(self, sink, refused):
                if faults:
                    raise faults.pop()
                stored.extend(each.entry.event.body["n"] for each in refused)

        sink = MemorySink(RejectError("bad"))
        worker = rig.worker(sink, dead_letters=Letters())
        await worker.start()
        rig.emit(1, 2)
        await until(lambda: len(rig.log.acked) == 2)
        return stored, sink.calls, rig.log.delivered

    assert in_rig(scenario) == ([1], [[1], [2]], [1, 2])  # 1 was not sent again


def test_old_events_become_dead_letters(in_rig):
    async def scenario(rig):
        sink = FailingSink(RetryError("503"))
        worker = rig.worker(sink, retry=Retry(give_up_after=3600), batch=Batch(events=10))
        await worker.start()
        rig.emit(1, 2, at=datetime.now(UTC) - timedelta(hours=2))
        rig.emit(3)
        await until(lambda: len(rig.log.acked) == 2)
        await until(lambda: sink.calls)
        return rig.dead(), sink.calls[0], worker.statistics().lost

    dead, first, lost = in_rig(scenario)

    assert [n for n, _ in dead] == [1, 2]
    assert first == [3]
    assert lost == {"expired": 2}


def test_lost_entries_are_counted_and_reported(in_rig):
    async def scenario(rig):
        rig.log.put(edr.Gap(7))
        worker = rig.worker(MemorySink())
        await worker.start()
        rig.emit(1)
        await until(lambda: rig.alerts)
        return rig.alerts

    assert in_rig(scenario) == [("warning", "running", {"retention": 7})]


def test_a_sink_gets_no_alert_about_itself(in_rig):
    async def scenario(rig):
        sink = MemorySink()
        worker = rig.worker(sink)
        await worker.start()
        for part in ("s", "other"):
            body = {"part": part, "kind": "sink"}
            rig.log.put(event(part, "edr", body=body, node="test"))
        await until(lambda: len(rig.log.acked) == 2)
        return sink.delivered

    assert in_rig(scenario) == ["other"]


# Sending dead letters again


def test_dead_letters_are_sent_again_and_removed(in_rig):
    async def scenario(rig):
        sink = MemorySink(*[RejectError("bad")] * 3)
        worker = rig.worker(sink)
        await worker.start()
        rig.emit(1, 2, 3)
        await until(lambda: len(rig.log.acked) == 3)
        count = await worker.retry_dead_letters(lambda letter: letter.position != 2)
        await until(lambda: len(sink.delivered) == 2)
        rig.emit(4)
        await until(lambda: len(sink.delivered) == 3)
        return count, sink.delivered, rig.dead(), rig.log.acked

    assert in_rig(scenario) == (2, [1, 3, 4], [(2, "bad")], [1, 2, 3, 4])


def test_dead_letters_that_are_refused_again_stay(in_rig):
    async def scenario(rig):
        sink = MemorySink(*[RejectError("bad")] * 4)
        worker = rig.worker(sink, batch=Batch(events=2))
        await worker.prepare()
        rig.emit(1)
        await worker.start()
        await until(lambda: rig.dead())
        await worker.retry_dead_letters()
        rig.emit(2)
        await until(lambda: len(rig.log.acked) == 2)
        return sink.calls, rig.dead(), worker.statistics().lost

    assert in_rig(scenario) == ([[1], [1], [2]], [(1, "bad"), (2, "bad")], {"rejected": 2})


def test_an_end_while_dead_letters_are_sent_keeps_them(in_rig):
    async def scenario(rig):
        sink = MemorySink(RejectError("bad"))
        worker = rig.worker(sink)
        await worker.start()
        rig.emit(1)
        await until(lambda: rig.dead())
        sink.hold()
        await worker.retry_dead_letters()
        await sink.is_writing.wait()
        await worker.aclose()
        return rig.dead()

    assert in_rig(scenario) == [(1, "bad")]


# Health


def test_a_sink_that_hangs_is_stuck_after_60_seconds(in_rig):
    async def scenario(rig):
        sink = MemorySink()
        sink.hold()
        worker = rig.worker(sink, timeout=1000)
        await worker.start()
        rig.emit(1)
        await asyncio.sleep(59)
        before = worker.state
        await asyncio.sleep(2)
        stuck = worker.state
        sink.release()
        await until(lambda: sink.delivered)
        await asyncio.sleep(120)
        return before, stuck, worker.state, rig.alerts

    assert in_rig(scenario) == (
        SinkState.RUNNING,
        SinkState.STUCK,
        SinkState.RUNNING,
        [("critical", "stuck", None), ("ok", "running", None)],
    )


def test_a_sink_without_events_is_not_stuck(in_rig):
    async def scenario(rig):
        worker = rig.worker(MemorySink())
        await worker.start()
        rig.emit(1)
        await asyncio.sleep(1000)
        return worker.state, worker.statistics().backlog

    assert in_rig(scenario) == (SinkState.RUNNING, 0)


def test_a_sink_that_retries_for_60_seconds_is_reported_and_its_recovery(in_rig):
    async def scenario(rig):
        sink = FailingSink(RetryError("503"))
        worker = rig.worker(sink, retry=Retry(base=5, cap=5))
        await worker.start()
        rig.emit(1)
        await asyncio.sleep(55)
        early = list(rig.alerts)
        await asyncio.sleep(600)
        sink.error = None
        await asyncio.sleep(600)
        return early, rig.alerts

    early, alerts = in_rig(scenario)

    assert early == []
    assert alerts == [("warning", "retrying", None), ("ok", "running", None)]


def test_the_status_of_a_retry_has_its_attempt_and_delay(in_rig):
    async def scenario(rig):
        worker = rig.worker(FailingSink(RetryError("503", after=40)))
        await worker.start()
        rig.emit(1, 2)
        await asyncio.sleep(10)
        status = worker.status()
        return {name: status[name] for name in ("state", "attempt", "backlog", "error")}, round(
            status["next_attempt"]
        )

    assert in_rig(scenario) == (
        {"state": "retrying", "attempt": 1, "backlog": 2, "error": "503"},
        30,
    )


def test_a_backlog_has_an_age_while_the_sink_cannot_be_opened(in_rig):
    async def scenario(rig):
        worker = rig.worker(MemorySink(open_faults=[RefusedError("no")] * 99))
        await worker.start()
        await asyncio.sleep(1)
        rig.emit(1, at=datetime.now(UTC) - timedelta(seconds=100))
        await asyncio.sleep(1)
        return worker.statistics()

    statistics = in_rig(scenario)

    assert statistics.state is SinkState.REFUSED
    assert 100 <= statistics.oldest_age < 120
    assert statistics.backlog == 1


@pytest.mark.parametrize("fault", [SystemExit(3), GeneratorExit("x"), Failure("no")], ids=repr)
def test_a_base_exception_ends_the_sink_only_and_restart_revives_it(in_rig, fault):
    async def scenario(rig):
        sink = MemorySink(fault)
        worker = rig.worker(sink)
        await worker.start()
        rig.emit(1)
        await until(lambda: worker.state is SinkState.STOPPED)
        before = list(sink.delivered)
        await worker.restart()
        await until(lambda: sink.delivered)
        return before, sink.delivered, rig.alerts[0]

    assert in_rig(scenario) == ([], [1], ("critical", "stopped", None))


def test_a_cancellation_that_the_sink_invents_is_a_fault(in_rig):
    async def scenario(rig):
        sink = MemorySink(asyncio.CancelledError(), None)
        worker = rig.worker(sink)
        await worker.start()
        rig.emit(1)
        await until(lambda: sink.delivered)
        return sink.calls

    assert in_rig(scenario) == [[1], [1]]


def test_a_journal_that_cannot_be_read_is_read_again(in_rig):
    async def scenario(rig):
        sink = MemorySink()
        worker = rig.worker(sink)
        rig.intake.errors = [JournalError("disk")]
        await worker.start()
        rig.emit(1)
        await until(lambda: sink.delivered)
        return sink.delivered

    assert in_rig(scenario) == [1]


# Commands


def test_a_paused_sink_gets_nothing_until_it_is_resumed(in_rig):
    async def scenario(rig):
        sink = MemorySink()
        worker = rig.worker(sink)
        await worker.start()
        await worker.pause()
        rig.emit(1)
        await asyncio.sleep(100)
        paused = worker.state, list(sink.delivered), worker.statistics().backlog
        await worker.resume()
        await until(lambda: sink.delivered)
        return paused, sink.delivered, worker.state

    assert in_rig(scenario) == ((SinkState.PAUSED, [], 1), [1], SinkState.RUNNING)


def test_a_pause_and_a_resumption_are_logged_once(in_rig, caplog):
    async def scenario(rig):
        worker = rig.worker(MemorySink())
        await worker.start()
        for command in (worker.pause, worker.pause, worker.resume, worker.resume):
            await command()
        return worker.name

    with caplog.at_level("INFO"):
        name = in_rig(scenario)
    lines = [each.getMessage() for each in caplog.records]
    found = [each for each in lines if each.endswith(("was paused", "was resumed"))]
    assert found == [f"sink '{name}' was paused", f"sink '{name}' was resumed"]


def test_a_pause_does_not_cut_a_write_short(in_rig):
    async def scenario(rig):
        sink = MemorySink()
        sink.hold()
        worker = rig.worker(sink)
        await worker.start()
        rig.emit(1, 2)
        await sink.is_writing.wait()
        await worker.pause()
        sink.release()
        await asyncio.sleep(10)
        return sink.delivered, sink.cancelled

    assert in_rig(scenario) == ([1], 0)


def test_resume_and_rebind_end_the_wait_for_the_next_attempt(in_rig):
    async def scenario(rig):
        times = []
        for command in ("resume", "restart", "rebind"):
            sink = MemorySink(RetryError("429", after=3000))
            worker = rig.worker(sink)
            await worker.start()
            rig.emit(1)
            await until(lambda: worker.state is SinkState.RETRYING)  # noqa: B023
            begun = asyncio.get_running_loop().time()
            await getattr(worker, command)()
            await until(lambda: sink.delivered)  # noqa: B023
            times.append(asyncio.get_running_loop().time() - begun < 1)
            await worker.aclose()
        return times

    assert in_rig(scenario) == [True] * 3


def test_restart_cancels_a_write_and_sends_its_batch_again(in_rig):
    async def scenario(rig):
        sink = MemorySink()
        sink.hold()
        worker = rig.worker(sink, timeout=1000)
        await worker.start()
        rig.emit(1)
        await sink.is_writing.wait()
        restarting = asyncio.ensure_future(worker.restart())
        await asyncio.sleep(1)
        sink.release()
        await restarting
        await until(lambda: sink.delivered)
        return sink.calls, sink.opened, sink.cancelled

    assert in_rig(scenario) == ([[1], [1]], 2, 1)


def test_rebind_acknowledges_held_events_that_no_longer_match(in_rig):
    async def scenario(rig):
        sink = FailingSink(RetryError("503"))
        worker = rig.worker(sink, APP, RARE, batch=Batch(events=2), retry=Retry(base=60))
        await worker.start()
        rig.emit(1)
        rig.emit(2, app_name="rare")
        rig.emit(3)
        await until(lambda: worker.state is SinkState.RETRYING)
        sink.error = None
        await worker.rebind(RARE)
        await until(lambda: len(sink.delivered) == 1)
        rig.emit(4, app_name="rare")
        await until(lambda: len(sink.delivered) == 2)
        return sink.delivered, rig.log.delivered, worker.bindings

    assert in_rig(scenario) == ([2, 4], [3, 1, 2, 4], (RARE,))


def test_rebind_during_a_write_does_not_confuse_its_answer(in_rig):
    """The indexes of a rejection are those of the batch that was written."""

    async def scenario(rig):
        sink = MemorySink(RejectError({1: "bad"}, delivered=True))
        sink.hold()
        worker = rig.worker(sink, APP, RARE, batch=Batch(events=3))
        await worker.prepare()
        rig.emit(1)
        rig.emit(2, app_name="rare")
        rig.emit(3)
        await worker.start()
        await sink.is_writing.wait()
        await worker.rebind(RARE)
        sink.release()
        await until(lambda: len(rig.log.acked) == 3)
        return rig.dead()

    assert in_rig(scenario) == [(2, "bad")]


def test_a_new_sink_takes_over_after_the_batch_of_the_old_one(in_rig):
    async def scenario(rig):
        old, new = MemorySink(), MemorySink()
        old.hold()
        worker = rig.worker(old)
        await worker.start()
        rig.emit(1, 2)
        await old.is_writing.wait()
        replacing = asyncio.ensure_future(worker.replace(new))
        await asyncio.sleep(1)
        opened = new.opened, old.closed
        old.release()
        await replacing
        await until(lambda: new.delivered)
        return opened, old.delivered, new.delivered, old.closed, old.cancelled

    assert in_rig(scenario) == ((1, 0), [1], [2], 1, 0)


def test_an_old_sink_that_hangs_is_replaced_after_10_seconds(in_rig):
    async def scenario(rig):
        old, new = MemorySink(), MemorySink()
        old.hold()
        worker = rig.worker(old, timeout=1000)
        await worker.start()
        rig.emit(1)
        await old.is_writing.wait()
        begun = asyncio.get_running_loop().time()
        await worker.replace(new, batch=Batch(events=7))
        took = asyncio.get_running_loop().time() - begun
        await until(lambda: new.delivered)
        return took, old.cancelled, new.delivered

    assert in_rig(scenario) == (10.0, 1, [1])


def test_a_new_sink_that_cannot_be_opened_is_opened_again(in_rig):
    async def scenario(rig):
        old, new = MemorySink(), MemorySink(open_faults=[OSError("no"), RefusedError("no")])
        worker = rig.worker(old)
        await worker.start()
        await worker.replace(new)
        await asyncio.sleep(1)
        state = worker.state
        rig.emit(1)
        await until(lambda: new.delivered)
        return state, new.opened, old.delivered, new.delivered

    assert in_rig(scenario) == (SinkState.REFUSED, 3, [], [1])


def test_a_closed_worker_does_not_open_a_new_sink(in_rig):
    async def scenario(rig):
        new = MemorySink()
        worker = rig.worker(MemorySink())
        await worker.start()
        await worker.aclose()
        await worker.replace(new)
        return new.opened - new.closed

    assert in_rig(scenario) == 0


# The end


def test_a_cancelled_close_goes_on(in_rig):
    async def scenario(rig):
        sink = MemorySink()
        worker = rig.worker(sink)
        await worker.start()
        closing = asyncio.ensure_future(worker.aclose())
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait({closing})
        await worker.aclose()
        return sink.closed > 0, rig.intake.is_open, worker.state

    assert in_rig(scenario) == (True, False, SinkState.STOPPED)


def test_a_sink_that_ignores_its_cancellation_does_not_delay_the_end(in_rig):
    async def scenario(rig):
        end = asyncio.Event()

        class Stubborn(MemorySink):
            async def write(self, batch):
                self.is_writing.set()
                while not end.is_set():
                    with suppress(asyncio.CancelledError):
                        await end.wait()

            aclose = MemorySink.open

        sink = Stubborn()
        worker = rig.worker(sink, timeout=1000)
        await worker.start()
        rig.emit(1)
        await sink.is_writing.wait()
        begun = asyncio.get_running_loop().time()
        await worker.aclose()
        took = asyncio.get_running_loop().time() - begun
        end.set()
        await asyncio.sleep(1)
        return took < 5, rig.log.acked

    assert in_rig(scenario) == (True, [])


def test_the_end_of_the_bus_drains_the_sink(in_rig):
    async def scenario(rig):
        sink = MemorySink()
        worker = rig.worker(sink)
        await worker.start()
        rig.emit(*range(5))
        await rig.bus.drain(10)
        return sink.delivered, worker.state

    assert in_rig(scenario) == (list(range(5)), SinkState.STOPPED)


def test_events_without_a_journal_are_counted_when_they_are_lost(in_rig):
    async def scenario(rig):
        worker = rig.worker(FailingSink(RetryError("away")), is_durable=False)
        await worker.start()
        rig.emit(1, 2)
        left = await worker.drain(5)
        return left, worker.statistics().lost

    assert in_rig(scenario) == (2, {"closed": 1})


def test_a_sink_without_a_journal_tries_until_the_timeout(in_rig):
    async def scenario(rig):
        sink = MemorySink(*[RetryError("away")] * 3)
        worker = rig.worker(sink, is_durable=False, retry=Retry(base=1, cap=1))
        await worker.start()
        rig.emit(1, 2)
        left = await worker.drain(60)
        return left, sink.delivered

    assert in_rig(scenario) == (0, [1, 2])


def test_the_worker_ends_with_its_intake(in_rig):
    async def scenario(rig):
        sink = MemorySink()
        worker = rig.worker(sink)
        await worker.start()
        rig.emit(1)
        rig.intake.end()
        await until(lambda: not worker._loop.is_running)
        return sink.delivered

    assert in_rig(scenario) == [1]


@pytest.mark.parametrize("turns", range(0, 40, 2))
def test_a_close_at_any_moment_loses_nothing(in_rig, turns):
    async def scenario(rig):
        first, second = MemorySink(RetryError("x"), RejectError("y")), MemorySink()
        worker = rig.worker(first, batch=Batch(events=3), retry=Retry(base=0))
        await worker.start()
        rig.emit(*range(9))
        for _ in range(turns):
            await asyncio.sleep(0)
        await worker.aclose()
        again = rig.worker(second)
        await again.start()
        await until(lambda: len(rig.log.acked) >= 9)
        return sorted({*first.delivered, *second.delivered}), first.delivered, second.delivered

    every, first, second = in_rig(scenario, seed=turns)

    assert every == list(range(9))
    assert first == sorted(first)
    assert second == sorted(second)


def test_a_dead_sink_does_not_delay_another(in_rig):
    async def scenario(rig):
        good, bad = MemorySink(), MemorySink()
        bad.hold()
        workers = [rig.worker(good, name="good"), rig.worker(bad, name="bad", timeout=10_000)]
        for worker in workers:
            await worker.start()
        rig.emit(*range(50))
        begun = asyncio.get_running_loop().time()
        await until(lambda: len(good.delivered) == 50)
        took = asyncio.get_running_loop().time() - begun
        await workers[1].aclose()
        return took < 1, bad.delivered

    assert in_rig(scenario) == (True, [])
