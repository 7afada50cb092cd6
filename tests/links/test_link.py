"""What all links promise, with a broker in memory that comes, goes and hangs as a test tells it."""

import asyncio
import logging
import os
import signal
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from support.consuming import take_ready, ticks, until
from support.memory_link import Broker, MemoryLink, is_balanced
from support.shuffled_loop import run

import edr
from edr.journal import Entry, JournalError, SqliteJournal
from edr.links import ConnectionState, LinkError, LinkRefusedError
from edr.links.link import backlog_name


def with_link(check, **options):
    """Run ``check(bus, broker, link)``, in virtual time, and hold the link to its counts."""

    async def main():
        async with edr.Bus() as bus:
            broker = Broker()
            link = MemoryLink(bus, broker, **options)
            await check(bus, broker, link)
            await link.aclose()
            assert is_balanced(link.statistics())
            assert link.statistics().pending == 0

    run(main)


async def emit(bus, *numbers):
    for n in numbers:
        await bus.emit("app", "1", "ok", "info", {"n": n})


def test_what_is_emitted_is_sent_in_order():
    async def check(bus, broker, link):
        async with link:
            await emit(bus, 1, 2, 3)

        assert broker.taken == [1, 2, 3]
        assert link.statistics().sent == 3
        assert link.statistics().state is ConnectionState.CLOSED

    with_link(check)


@pytest.mark.parametrize("is_away", [True, False], ids=["refused after all", "connected after all"])
def test_a_link_ends_though_its_client_swallows_the_cancellation(is_away):
    async def check(bus, broker, link):
        broker.is_deaf, broker.is_away = True, is_away
        starting = asyncio.ensure_future(link.start())
        await ticks()
        await asyncio.wait_for(link.aclose(), 60)

        assert len(broker.attempts) == 1
        assert link.statistics().state is ConnectionState.CLOSED
        await asyncio.wait({starting})

    with_link(check, timeout=1e7)


def test_a_broker_that_is_away_at_the_start_is_tried_again():
    async def check(bus, broker, link):
        broker.is_away = True
        await link.start()
        await emit(bus, 1)
        before = link.statistics()
        broker.is_away = False
        await link.ready()
        await ticks()

        assert (before.state, before.pending) == (ConnectionState.CONNECTING, 1)
        assert before.last_error == "nobody is there"
        assert broker.taken == [1]
        assert link.statistics().state is ConnectionState.UP

    with_link(check)


def test_the_pauses_between_attempts_double_up_to_a_bound():
    async def check(bus, broker, link):
        broker.is_away = True
        await link.start()
        await asyncio.sleep(60)
        pauses = [b - a for a, b in zip(broker.attempts, broker.attempts[1:], strict=False)]

        assert pauses[0] <= 0.05
        assert min(pauses[-10:]) >= 1.0
        assert max(pauses) <= 2.0

    with_link(check)


def test_a_connection_that_hangs_is_given_up_after_the_timeout():
    async def check(bus, broker, link):
        broker.hangs = True
        await link.start()

        assert asyncio.get_running_loop().time() == 3.0
        assert link.statistics().state is ConnectionState.CONNECTING

    with_link(check, timeout=3.0)


def test_a_refusal_at_the_start_is_raised_and_closes_the_link():
    async def check(bus, broker, link):
        broker.refusal = "the password is wrong"
        with pytest.raises(LinkRefusedError, match="the password is wrong"):
            await link.start()

        assert link.statistics().state is ConnectionState.CLOSED
        assert bus.statistics().subscriptions == 0

    with_link(check)


def test_a_refusal_later_is_a_state_with_an_error_and_ends_when_the_broker_relents():
    async def check(bus, broker, link):
        await link.start()
        broker.refusal = "the password is wrong"
        broker.lose()
        await asyncio.sleep(10)
        refused = link.statistics()
        broker.refusal = None
        await asyncio.sleep(10)

        assert (refused.state, refused.last_error) == ("connecting", "the password is wrong")
        assert link.statistics().state is ConnectionState.UP
        assert link.statistics().reconnects == 1

    with_link(check)


def test_what_was_not_confirmed_when_the_connection_was_lost_is_uncertain():
    async def check(bus, broker, link):
        await link.start()
        broker.confirms = False
        await emit(bus, 1, 2)
        await asyncio.sleep(0.1)
        assert link.statistics().pending == 2
        broker.lose()
        await asyncio.sleep(0.1)

        counts = link.statistics()
        assert (counts.sent, counts.uncertain, counts.pending) == (0, 2, 0)

    with_link(check)


def test_an_outbox_that_is_full_drops_by_its_policy_and_emit_never_waits():
    async def check(bus, broker, link):
        broker.is_away = True
        await link.start()
        before = asyncio.get_running_loop().time()
        await emit(bus, *range(10))
        assert asyncio.get_running_loop().time() == before
        broker.is_away = False
        await link.drain()

        assert broker.taken == [7, 8, 9]
        assert link.statistics().dropped == {"overflow": 7}

    with_link(check, capacity=3)


def test_drain_tells_what_could_not_be_sent_and_that_is_counted():
    async def check(bus, broker, link):
        broker.is_away = True
        await link.start()
        await emit(bus, 1, 2)

        assert await link.drain(5.0) == 2
        assert asyncio.get_running_loop().time() == pytest.approx(5.0)
        assert link.statistics().dropped == {"closed": 2}
        assert await link.drain() == 0

    with_link(check)


def test_a_drained_link_takes_nothing_more_from_the_bus():
    async def check(bus, broker, link):
        await link.start()
        await link.drain()
        await emit(bus, 1)

        assert broker.taken == []
        assert bus.statistics().subscriptions == 0
        with pytest.raises(LinkError, match="was closed"):
            await link.start()
        with pytest.raises(LinkError, match="is not ready"):
            await link.ready()

    with_link(check)


def test_cancelling_the_start_leaves_nothing_behind():
    async def check(bus, broker, link):
        broker.hangs = True
        starting = asyncio.create_task(link.start())
        await ticks()
        starting.cancel()
        await asyncio.wait({starting})

        assert starting.cancelled()
        assert bus.statistics().subscriptions == 0

    with_link(check)


def test_cancelling_who_waits_for_the_link_ends_nothing():
    async def check(bus, broker, link):
        broker.is_away = True
        await link.start()
        waiting = asyncio.create_task(link.ready())
        await ticks()
        waiting.cancel()
        await asyncio.wait({waiting})
        broker.is_away = False
        await link.ready()

        assert waiting.cancelled()
        assert link.statistics().state is ConnectionState.UP

    with_link(check)


def test_a_cancelled_drain_has_stopped_the_inflow_and_can_be_repeated():
    async def check(bus, broker, link):
        broker.is_away = True
        await link.start()
        await emit(bus, 1)
        draining = asyncio.create_task(link.drain())
        await ticks()
        draining.cancel()
        await asyncio.wait({draining})
        await emit(bus, 2)
        broker.is_away = False

        assert await link.drain() == 0
        assert broker.taken == [1]

    with_link(check)


def test_what_comes_in_is_published_but_not_sent_back():
    async def check(bus, broker, link):
        subscription = bus.subscribe()
        await link.start()
        broker.deliver(make_event(1))
        await ticks()

        assert take_ready(subscription) == [1]
        assert link.statistics().delivered == 1
        assert broker.taken == []

    with_link(check)


def test_link_statistics_have_the_counts_of_its_inbound():
    async def check(bus, broker, link):
        event = make_event(1, timestamp=datetime.now(UTC) + timedelta(seconds=60))
        for each in (event, event, make_event("x" * 300_000)):
            broker.deliver(each)

        counts = link.statistics()
        assert (counts.received, counts.delivered, counts.duplicates) == (3, 1, 1)
        assert counts.refused == {"too_large": 1}
        assert counts.skew == pytest.approx(60, abs=5)
        assert "too_large: event" in counts.last_error

    with_link(check)


def test_a_slow_subscriber_holds_up_nobody_else_and_loses_only_its_own():
    async def check(bus, broker, link):
        slow = bus.subscribe(capacity=1, name="slow")
        quick = bus.subscribe(capacity=1000)
        await link.start()
        for n in range(300):
            broker.deliver(make_event(n))

        assert take_ready(quick) == list(range(300))
        assert slow.statistics().pending == 257
        assert slow.statistics().dropped == {"would_block": 43}
        slow.shutdown()
        assert take_ready(slow) == list(range(257))

    with_link(check)


def test_link_is_closed_when_its_bus_is_closed():
    async def main():
        bus = edr.Bus()
        link = MemoryLink(bus, Broker())
        await link.start()
        await bus.aclose()

        assert link.statistics().state is ConnectionState.CLOSED

    run(main)


def answering(bus):
    """Bind a callback that takes a while, and emits one more event for each of ``calls``."""

    @bus.on(app_name="calls", name="book")
    async def book(event):
        await asyncio.sleep(1)
        await bus.emit("billing", "1", "ok", "info", {"n": 10 * event.body["n"]})


def call(bus, *numbers):
    for n in numbers:
        bus.emit_nowait("calls", "1", "ok", "info", {"n": n})


def test_link_sends_what_callbacks_emit_in_the_drain():
    broker = Broker()

    async def main():
        async with edr.Bus() as bus, MemoryLink(bus, broker):
            answering(bus)
            call(bus, 1, 2)

    run(main)
    assert broker.taken == [1, 2, 10, 20]


@pytest.mark.slow
def test_link_of_default_bus_sends_what_callbacks_emit_in_the_drain():
    broker = Broker()

    async def main():
        bus = edr.default_bus()
        async with MemoryLink(bus, broker):
            answering(bus)
            call(bus, 1)

    edr.run(main())
    assert broker.taken == [1, 10]


def test_link_of_a_bus_that_nobody_drains_waits_for_callbacks():
    broker = Broker()

    async def main():
        bus = edr.Bus()
        async with MemoryLink(bus, broker) as link:
            answering(bus)
            call(bus, 1)
        assert link.statistics().state is ConnectionState.CLOSED

    run(main)
    assert broker.taken == [1, 10]


def test_link_stays_for_the_drain_of_a_bus_that_is_not_idle():
    broker = Broker()

    async def main():
        async with edr.Bus() as bus, MemoryLink(bus, broker):

            @bus.on
            async def slow(event):
                if event.app_name == "calls":
                    await asyncio.sleep(45)
                    await bus.emit("billing", "1", "ok", "info", {"n": 10})

            call(bus, 1)

    run(main)
    assert broker.taken == [1, 10]


@pytest.mark.slow
def test_link_of_a_program_that_is_told_to_end_sends_what_callbacks_emit():
    broker = Broker()

    async def main():
        bus = edr.default_bus()
        async with MemoryLink(bus, broker):
            answering(bus)
            call(bus, 1)
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.Event().wait()

    with pytest.raises(SystemExit) as exit_:
        edr.run(main())
    assert exit_.value.code == 0
    assert broker.taken == [1, 10]


def test_drain_returns_what_a_link_could_not_send(caplog):
    async def main():
        broker = Broker()
        broker.is_away = True
        bus = edr.Bus()
        await MemoryLink(bus, broker).start()
        call(bus, 1, 2)

        assert await bus.drain() == {"link memory": 2}

    run(main)
    assert "was drained, with events left undone: 'link memory' 2" in caplog.text


def test_link_refuses_what_comes_in_while_its_bus_drains():
    async def check(bus, broker, link):
        await link.start()
        answering(bus)
        call(bus, 1)
        draining = asyncio.create_task(bus.drain())
        await asyncio.sleep(0.5)
        broker.deliver(make_event(5))
        await draining

        assert link.statistics().refused == {"closed": 1}
        assert broker.taken == [1, 10]

    with_link(check)


def test_a_cancellation_that_nobody_asked_for_is_a_lost_connection():
    async def check(bus, broker, link):
        await link.start()
        broker.cancels = True
        broker.lose()
        await asyncio.sleep(1)
        broker.cancels = False
        await asyncio.sleep(5)

        assert link.statistics().state is ConnectionState.UP
        assert link.statistics().reconnects >= 1

    with_link(check)


@pytest.mark.parametrize("wrong", [{"overflow": "block"}, {"overflow": "close"}, {"timeout": 0}])
async def test_options_that_would_break_a_promise_are_refused(bus, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        MemoryLink(bus, Broker(), **wrong)


def make_event(n, **fields):
    return edr.Event(
        app_name="app", app_version="1", severity="ok", verbosity="info", body={"n": n}, **fields
    )


def test_no_pause_is_longer_than_the_outage_so_far():
    async def check(_bus, broker, link):
        await link.start()
        await asyncio.sleep(1)
        broker.is_away = True
        broker.lose()
        lost = asyncio.get_running_loop().time()
        await asyncio.sleep(30)
        attempts = [lost, *[at for at in broker.attempts if at > lost]]

        for before, after in pairwise(attempts):
            assert after - before <= max(0.05, before - lost) + 1e-9

    with_link(check)


def test_a_link_that_closes_with_unsent_events_warns(caplog):
    async def check(bus, broker, link):
        broker.is_away = True
        await link.start()
        await emit(bus, 1, 2)
        assert await link.drain(5.0) == 2

    with_link(check)
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert any("waits at most 5 s to send 2 events: nobody is there" in text for text in warnings)
    closed = "link 'memory' closed before 2 events were sent and confirmed (they are lost)"
    assert any(text.startswith(closed) for text in warnings)


def test_a_link_that_sent_everything_warns_of_nothing(caplog):
    async def check(bus, _broker, link):
        async with link:
            await emit(bus, 1)

    with_link(check)
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_run_exits_with_75_when_a_link_left_events():
    async def main():
        async with edr.Bus() as bus:
            broker = Broker()
            broker.is_away = True
            async with MemoryLink(bus, broker, timeout=0.01):
                await emit(bus, 1)
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(10)

    with pytest.raises(SystemExit) as ended:
        edr.run(main())
    assert ended.value.code == 75


@pytest.mark.parametrize("name", ["x" * 200, "a\nb", "\ud800"])
def test_a_backlog_has_a_name_that_a_journal_takes(name):
    made = backlog_name(name)
    assert made.startswith("link:")
    assert len(made) <= 128
    assert made.isprintable()
    assert made == backlog_name(name) != backlog_name(f"{name}x")


# With a journal


def event_of(n, node="here"):
    return make_event(n, node=node)


async def lose(broker, link):
    broker.is_away = True
    broker.lose()
    await until(lambda: link.statistics().state is ConnectionState.CONNECTING)


async def with_journal(path, check, broker=None, **options):
    """Run ``check(bus, broker, link, journal)`` with a link whose outbox is a journal."""
    broker = broker or Broker()
    async with SqliteJournal(path) as journal, edr.Bus(node="here") as bus:
        link = MemoryLink(bus, broker, journal=journal, **options)
        await link.start()
        await check(bus, broker, link, journal)
        await link.aclose()
        assert is_balanced(link.statistics())


async def test_a_link_that_receives_skips_and_counts_other_nodes(tmp_path):
    async def check(_bus, broker, link, journal):
        await journal.append(event_of(1), event_of(2, node="there"), event_of(3))
        await link.drain()

        assert broker.taken == [1, 3]
        counts = link.statistics()
        assert (counts.offered, counts.skipped) == (2, 1)

    await with_journal(tmp_path / "j", check)


async def test_a_link_that_only_sends_takes_every_node(tmp_path):
    async def check(_bus, broker, link, journal):
        await journal.append(event_of(1), event_of(2, node="there"))
        await link.drain()

        assert broker.taken == [1, 2]
        assert link.statistics().skipped == 0

    await with_journal(tmp_path / "j", check, receives=False)


async def test_a_drain_sends_all_that_the_journal_has(tmp_path):
    async def check(_bus, broker, link, journal):
        for n in range(500):
            journal.append_nowait(event_of(n))
        assert await link.drain() == 0
        assert broker.taken == list(range(500))

    await with_journal(tmp_path / "j", check)


async def test_a_drain_without_a_connection_leaves_the_backlog_at_once(tmp_path, caplog):
    async def check(_bus, broker, link, journal):
        await lose(broker, link)
        await journal.append(event_of(1), event_of(2))
        await until(lambda: link.statistics().pending == 0)
        assert await link.drain(1e6) == 2

    broker = Broker()
    await with_journal(tmp_path / "j", check, broker)

    async def again(_bus, broker, link, _journal):
        await link.drain()
        assert broker.taken == [1, 2]

    await with_journal(tmp_path / "j", again)


async def test_a_backlog_survives_another_address_and_other_bindings(tmp_path):
    async def first(_bus, broker, link, journal):
        await lose(broker, link)
        await journal.append(event_of(1))

    async def second(_bus, broker, link, _journal):
        await link.drain()
        assert broker.taken == [1]

    await with_journal(tmp_path / "j", first)
    send = [edr.Binding(severity="ok", app_name="app")]
    await with_journal(tmp_path / "j", second, send=send)


async def test_the_backlog_of_another_name_is_logged(tmp_path, caplog):
    async def first(_bus, broker, link, journal):
        await lose(broker, link)
        await journal.append(event_of(1), event_of(2))

    async def second(_bus, _broker, _link, _journal):
        pass

    await with_journal(tmp_path / "j", first, name="old")
    await with_journal(tmp_path / "j", second, name="new")
    assert "does not send the backlog 'link:old'" in caplog.text
    assert "(2 entries)" in caplog.text


async def test_two_links_with_one_backlog_are_refused(tmp_path):
    async def check(bus, broker, _link, journal):
        with pytest.raises(LinkError, match="give each link a name"):
            await MemoryLink(bus, broker, journal=journal).start()

    await with_journal(tmp_path / "j", check)


class BrokenJournal:
    """A journal whose consumer fails twice, and then gives one event."""

    def __init__(self):
        self.faults = 2
        self.position = 0
        self.caught_up = False
        self.acked = []

    async def consumer(self, *_args, **_options):
        return self

    async def consumers(self):
        return ()

    async def take(self, _limit):
        if self.faults:
            self.faults -= 1
            raise JournalError("the disk is gone")
        if self.caught_up:
            await asyncio.sleep(1e6)
        self.caught_up = True
        return [Entry(1, datetime.now(UTC), event_of(1))]

    def ack(self, *entries):
        self.acked += [entry.position for entry in entries]

    async def aclose(self):
        pass


def test_a_journal_that_cannot_be_read_ends_no_connection(caplog):
    journal = BrokenJournal()

    async def check(bus, broker, link):
        subscription = bus.subscribe()
        await link.start()
        broker.deliver(make_event(2))
        await asyncio.sleep(5)

        assert broker.taken == journal.acked == [1]
        assert take_ready(subscription) == [2]
        assert len(broker.attempts) == 1

    with_link(check, journal=journal, receives=False)
    assert "cannot read its journal: the disk is gone" in caplog.text


class Raising(logging.Handler):
    def emit(self, record):
        raise RuntimeError("no room on the log's disk")


def test_a_log_handler_that_raises_does_not_end_a_link(capsys):
    async def check(bus, broker, link):
        await link.start()
        broker.is_away = True
        broker.lose()
        await asyncio.sleep(1)
        broker.is_away = False
        await link.ready()
        await emit(bus, 1)
        await link.drain()
        assert broker.taken == [1]

    handler = Raising()
    logging.getLogger("edr.links").addHandler(handler)
    try:
        with_link(check)
    finally:
        logging.getLogger("edr.links").removeHandler(handler)
    assert "no room on the log's disk" in capsys.readouterr().err
