"""A link as a part, with a broker in memory and a journal on the disk."""

import asyncio

import pytest
from contracts.journal import event
from support.consuming import until
from support.memory_link import Broker, MemoryLink
from support.shuffled_loop import run

import edr
from edr.control.parts import PartList
from edr.journal import ConsumerInUseError, SqliteJournal
from edr.sinks import DeadLetters, LinkPart, SinkState

APP = edr.Binding(app_name="app", verbosity="trace")


class Rig:
    """A bus with a journal, and parts on one broker."""

    def __init__(self, bus, journal):
        self.bus = bus
        self.journal = journal
        self.broker = Broker()
        self.parts = []
        self.alerts = []
        bus.bind(edr.Binding(app_name="edr", verbosity="trace"), self._alert)

    def _alert(self, alert):
        self.alerts.append((str(alert.severity), alert.body["state"], alert.body.get("lost")))

    def part(self, *bindings, broker=None, receives=False, durable=True, **options):
        journal = self.journal if durable else None

        def make(send):
            return MemoryLink(
                self.bus,
                broker or self.broker,
                name="s",
                receives=receives,
                send=send,
                journal=journal,
            )

        part = LinkPart("s", make, bindings or (APP,), journal=journal, bus=self.bus, **options)
        self.parts.append(part)
        return part

    async def store(self, *numbers, app_name="app"):
        await self.journal.append(*[event(n, app_name) for n in numbers])


@pytest.fixture
async def rig(tmp_path):
    async with (
        SqliteJournal(tmp_path / "journal", sync="process") as journal,
        edr.Bus(node="here") as bus,
    ):
        rig = Rig(bus, journal)
        yield rig
        for part in rig.parts:
            await part.aclose()


async def test_a_part_sends_the_events_of_every_node(rig):
    part = rig.part()
    await part.start()
    await rig.store(1, 2)
    await until(lambda: rig.broker.taken == [1, 2])
    await until(lambda: part.status()["delivered"] == 2)
    assert part.state is SinkState.RUNNING
    assert (part.kind, part.is_durable, part.consumer) == ("sink", True, "link:s")


async def test_refused_events_are_dead_letters(rig, tmp_path):
    letters = DeadLetters(tmp_path / "dead" / "s.jsonl")
    rig.broker.refuses = {2}
    part = rig.part(dead_letters=letters)
    await part.start()
    await rig.store(1, 2, 3)
    await until(lambda: part.status()["rejected"] == 1)

    [letter] = letters.read()
    assert (letter.sink, letter.event.body["n"], letter.attempts) == ("s", 2, 1)
    assert letter.reason == "refused: the broker does not like it"
    assert part.status()["lost"] == {"refused": 1}
    assert rig.broker.taken == [1, 3]


async def test_dead_letters_that_cannot_be_stored_are_not_acknowledged(rig, tmp_path, caplog):
    (tmp_path / "dead").touch()  # a file where the folder should be
    rig.broker.refuses = {1}
    part = rig.part(dead_letters=DeadLetters(tmp_path / "dead" / "s.jsonl"))
    await part.start()
    await rig.store(1)
    await until(lambda: "dead letters cannot be stored" in caplog.text)

    assert part.status()["lost"] == {}
    [status] = await rig.journal.consumers()
    assert status.lag == 1


async def test_events_are_kept_from_prepare_on(rig):
    part = rig.part()
    await part.prepare()
    await rig.store(1, 2)
    assert (part.state, part.status()["backlog"]) == (SinkState.STOPPED, 2)
    await part.start()
    await until(lambda: rig.broker.taken == [1, 2])
    await until(lambda: part.status()["backlog"] == 0)


async def test_a_new_part_may_begin_with_the_oldest_event(rig):
    await rig.store(1)
    await rig.part(start="oldest").start()
    await until(lambda: rig.broker.taken == [1])


async def test_start_does_not_wait_for_the_broker(rig):
    rig.broker.hangs = True
    part = rig.part()
    await part.start()
    await part.start()
    assert part.state is SinkState.STARTING


async def test_a_broker_that_is_away_is_retried_and_then_gets_all(rig):
    rig.broker.is_away = True
    part = rig.part()
    await part.start()
    await rig.store(1, 2)
    await until(lambda: part.state is SinkState.RETRYING)
    assert part.status()["error"] == "nobody is there"
    await until(lambda: part.status()["backlog"] == 2)
    rig.broker.is_away = False
    await until(lambda: rig.broker.taken == [1, 2])
    assert (part.status()["error"], part.status()["last_error"]) == (None, "nobody is there")


async def test_a_paused_part_keeps_its_events_until_it_is_resumed(rig):
    part = rig.part()
    await part.start()
    await until(lambda: part.state is SinkState.RUNNING)
    await part.pause()
    await rig.store(1, 2)
    assert (part.state, part.status()["backlog"], rig.broker.taken) == (SinkState.PAUSED, 2, [])
    await part.resume()
    await until(lambda: rig.broker.taken == [1, 2])
    assert part.state is SinkState.RUNNING


async def test_a_restart_makes_a_new_connection_and_keeps_the_counts(rig):
    part = rig.part()
    await part.start()
    await rig.store(1)
    await until(lambda: part.status()["delivered"] == 1)
    await part.restart()
    await rig.store(2)
    await until(lambda: part.status()["delivered"] == 2)
    assert rig.broker.taken == [1, 2]
    assert len(rig.broker.attempts) == 2
    assert part.status()["offered"] == 2


async def test_unconfirmed_events_are_offered_once_and_sent_again(rig):
    rig.broker.confirms = False
    part = rig.part()
    await part.start()
    await rig.store(1)
    await until(lambda: rig.broker.taken == [1])
    rig.broker.confirms = True
    await part.restart()
    await until(lambda: part.status()["delivered"] == 1)
    assert rig.broker.taken == [1, 1]
    assert part.status()["offered"] == 1


async def test_new_bindings_apply_to_the_entries_not_read_yet(rig):
    part = rig.part(edr.Binding(app_name="a"))
    await part.start()
    await rig.store(1, app_name="a")
    await until(lambda: rig.broker.taken == [1])
    await part.rebind(edr.Binding(app_name="b"))
    await rig.store(2, app_name="a")
    await rig.store(3, app_name="b")
    await until(lambda: rig.broker.taken == [1, 3])
    assert part.bindings == (edr.Binding(app_name="b"),)


async def test_a_paused_part_stays_paused_with_new_bindings(rig):
    part = rig.part()
    await part.start()
    await part.pause()
    await part.rebind(edr.Binding(app_name="b"))
    assert part.state is SinkState.PAUSED


async def test_a_drain_sends_the_pending_events(rig):
    part = rig.part()
    await part.start()
    await until(lambda: part.state is SinkState.RUNNING)
    await rig.store(1, 2, 3)
    assert await part.drain(20) == 0
    assert (rig.broker.taken, part.state) == ([1, 2, 3], SinkState.STOPPED)
    with pytest.raises(RuntimeError, match="is closed"):
        await part.start()


async def test_a_drain_does_not_wait_for_a_broker_that_is_away(rig):
    rig.broker.is_away = True
    part = rig.part()
    await part.start()
    await rig.store(1)
    await until(lambda: part.state is SinkState.RETRYING)
    assert await part.drain(1e6) == 1


async def test_a_part_without_a_journal_sends_what_is_emitted(rig):
    part = rig.part(durable=False)
    await part.start()
    await until(lambda: part.state is SinkState.RUNNING)
    await rig.bus.emit("app", "1", "ok", "info", {"n": 1})
    await until(lambda: rig.broker.taken == [1])
    assert (part.is_durable, part.consumer) == (False, None)


async def test_a_link_that_only_receives_has_no_consumer(rig):
    link = MemoryLink(rig.bus, rig.broker, name="in", send=(), journal=rig.journal)
    async with link:
        assert link.consumer is None
        assert not await rig.journal.consumers()


async def test_alerts_about_the_part_are_not_sent(rig):
    part = rig.part(edr.Binding(verbosity="trace"))
    await part.start()
    others = event(2, "edr", body={"part": "other", "kind": "sink"})
    own = event(1, "edr", body={"part": "s", "kind": "sink"}, node="here")
    await rig.journal.append(own, others)
    await until(lambda: rig.broker.taken)
    assert rig.broker.taken == [2]


async def test_a_part_is_shown_once_and_without_its_link(rig):
    part = rig.part()
    await part.start()
    await until(lambda: part.state is SinkState.RUNNING)
    assert [each.kind for each in rig.bus.services if hasattr(each, "kind")] == ["link"]
    assert list(PartList(rig.bus, [part], log=None)) == [part]


async def test_a_second_part_of_one_name_is_refused(rig):
    first, second = rig.part(), rig.part()
    await first.start()
    await until(lambda: first.state is SinkState.RUNNING)
    with pytest.raises(ConsumerInUseError):
        await second.start()
    assert first.state is SinkState.RUNNING


async def test_a_command_that_is_cancelled_leaves_a_part_that_works(rig):
    part = rig.part()
    await part.start()
    for delay in range(12):
        task = asyncio.create_task(part.restart())
        for _ in range(delay):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
    await part.restart()
    await rig.store(1)
    await until(lambda: 1 in rig.broker.taken)


# In virtual time


def in_virtual_time(scenario):
    async def main():
        async with edr.Bus(node="here") as bus:
            rig = Rig(bus, None)
            part = rig.part(durable=False)
            try:
                await scenario(rig, part)
            finally:
                await part.aclose()

    run(main)


def test_a_refused_link_is_tried_again_every_minute_with_an_alert():
    async def scenario(rig, part):
        rig.broker.refusal = "no such user"
        await part.start()
        await asyncio.sleep(1)
        assert (part.state, part.status()["error"]) == (SinkState.REFUSED, "no such user")
        assert rig.alerts == [("critical", "refused", None)]
        rig.broker.refusal = None
        await asyncio.sleep(120)
        assert part.state is SinkState.RUNNING
        assert len(rig.broker.attempts) == 2
        assert rig.alerts[-1] == ("ok", "running", None)

    in_virtual_time(scenario)


def test_an_outage_of_a_minute_is_an_alert_and_so_is_its_end():
    async def scenario(rig, part):
        await part.start()
        rig.broker.is_away = True
        await asyncio.sleep(5)
        rig.broker.lose()
        await asyncio.sleep(50)
        assert rig.alerts == []
        await asyncio.sleep(20)
        assert rig.alerts == [("warning", "retrying", None)]
        rig.broker.is_away = False
        await asyncio.sleep(70)
        assert rig.alerts[-1] == ("ok", "running", None)

    in_virtual_time(scenario)


def test_a_broker_that_confirms_nothing_for_a_minute_is_stuck():
    async def scenario(rig, part):
        rig.broker.confirms = False
        await part.start()
        await asyncio.sleep(1)
        await rig.bus.emit("app", "1", "ok", "info", {"n": 1})
        await asyncio.sleep(70)
        assert part.state is SinkState.STUCK
        assert rig.alerts[0] == ("critical", "stuck", None)

    in_virtual_time(scenario)


def test_lost_events_are_reported_once():
    async def scenario(rig, part):
        rig.broker.refuses = {1}
        await part.start()
        await asyncio.sleep(1)
        await rig.bus.emit("app", "1", "ok", "info", {"n": 1})
        await asyncio.sleep(130)
        await part.restart()
        await asyncio.sleep(130)
        assert rig.alerts == [("warning", "running", {"refused": 1})]
        assert part.status()["lost"] == {"refused": 1}

    in_virtual_time(scenario)
