import asyncio

import orjson
import pytest
from support.shuffled_loop import run

import edr
from edr.control import tail as module
from edr.control import tail_lines
from edr.control.connection import RequestError
from edr.control.tail import Tail
from edr.streams import Streams


class Answers:
    """Keeps the messages of a tail; ``reads`` says whether the client reads."""

    is_closing = False

    def __init__(self):
        self.messages, self.end = [], {}
        self.reads = asyncio.Event()
        self.reads.set()

    def line(self, kind, fields):
        return b'{"is":"%b",%b\n' % (kind.encode(), fields[1:])

    async def write(self, make):
        await self.reads.wait()
        self.messages += [orjson.loads(line) for line in make().splitlines()]

    @property
    def shown(self):
        return [each["event"]["body"]["n"] for each in self.messages if each["is"] == "event"]


@pytest.fixture
async def streams(bus):
    streams = Streams(bus, size=10, history=True)
    yield streams
    streams.close()


@pytest.fixture
async def follow(streams):
    tasks = []

    async def follow(*bindings, **options):
        answers = Answers()
        answers.task = asyncio.ensure_future(Tail(streams, bindings, **options)(answers))
        tasks.append(answers.task)
        await turns()
        return answers

    yield follow
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def turns(count=10):
    for _ in range(count):
        await asyncio.sleep(0)


async def test_each_event_is_written_once_and_in_order(follow, emit):
    answers = await follow()
    for n in range(5):
        await emit(n)
        await turns(n)
    await turns()

    assert answers.shown == list(range(5))


async def test_an_event_has_a_cursor_from_which_a_tail_continues(follow, emit):
    answers = await follow()
    for n in range(5):
        await emit(n)
    await turns()
    again = await follow(after=answers.messages[2]["cursor"])

    assert again.shown == [3, 4]


async def test_only_matching_events_are_written(follow, emit):
    answers = await follow(edr.Binding(severity="warning"))
    await emit(1)
    await emit(2, severity="critical")
    await turns()

    assert answers.shown == [2]


async def test_the_last_events_come_first(follow, emit):
    for n in range(5):
        await emit(n)
    answers = await follow(last=2)
    await emit(5)
    await turns()

    assert answers.shown == [3, 4, 5]


async def test_without_follow_it_ends_after_the_events_that_exist(follow, emit):
    for n in range(5):
        await emit(n)
    answers = await follow(edr.Binding(app_name="app"), last=100, follow=False)
    await answers.task

    assert answers.shown == list(range(5))
    assert answers.end == {"shown": 5, "missed": 0}


async def test_without_follow_later_events_are_not_written(streams, emit, monkeypatch):
    monkeypatch.setattr(module, "BATCH", 2)
    for n in range(3):
        await emit(n)
    answers = Answers()
    answers.reads.clear()
    tail = asyncio.ensure_future(Tail(streams, (), last=100, follow=False)(answers))
    await turns()
    for n in range(3, 6):
        await emit(n)
    answers.reads.set()
    await tail

    assert answers.shown == [0, 1, 2]
    assert answers.end == {"shown": 3, "missed": 0}


async def test_events_that_a_client_did_not_read_are_a_gap_of_their_number(follow, emit):
    answers = await follow()
    answers.reads.clear()
    for n in range(30):
        await emit(n)
        await turns(1)
    answers.reads.set()
    await turns()

    gap = answers.messages[0]
    assert (gap["is"], gap["missed"], gap["reason"]) == ("gap", 20, "slow")
    assert answers.shown == list(range(20, 30))
    answers.task.cancel()
    await asyncio.wait([answers.task])
    assert answers.end == {"shown": 10, "missed": 20}


async def test_a_client_that_does_not_read_holds_no_event(follow, streams, emit):
    answers = await follow()
    answers.reads.clear()
    for n in range(30):
        await emit(n)
        await turns(2)

    assert answers.messages == []
    assert streams.statistics().sent == 0


async def test_a_tail_leaves_when_it_ends(follow, streams, bus):
    answers = await follow(edr.Binding(severity="critical"))
    assert streams.statistics().places == 1
    answers.task.cancel()
    await asyncio.wait([answers.task])

    assert streams.statistics().places == 0
    assert bus.subscriptions() == ()


async def test_the_end_of_the_bus_ends_a_tail_after_its_last_event(follow, bus, emit):
    answers = await follow()
    await emit(1)
    await bus.drain()
    await answers.task

    assert answers.shown == [1]


async def test_a_closing_process_sends_the_events_of_the_last_moment(follow, emit):
    answers = await follow()
    await emit(1)
    answers.is_closing = True
    answers.task.cancel()
    await asyncio.wait([answers.task])

    assert answers.shown == [1]


async def test_a_closed_bus_cannot_be_followed(streams, bus):
    await bus.aclose()
    with pytest.raises(RequestError) as raised:
        await Tail(streams, ())(Answers())

    assert raised.value.code == "bus_closed"


async def test_an_event_that_is_too_long_for_a_line_is_a_gap(follow, emit, monkeypatch):
    monkeypatch.setattr(tail_lines, "MAX_LINE", 400)
    answers = await follow()
    await emit(1, app_name="x" * 400)
    await emit(2)
    await turns()

    assert [each["is"] for each in answers.messages] == ["gap", "event"]
    assert (answers.messages[0]["missed"], answers.messages[0]["reason"]) == (1, "too_large")
    answers.task.cancel()
    await asyncio.wait([answers.task])
    assert answers.end == {"shown": 1, "missed": 1}


async def test_a_cursor_of_another_process_is_a_gap_of_an_unknown_number(follow, emit):
    await emit(1)
    answers = await follow(after="00000000-7")
    answers.task.cancel()
    await asyncio.wait([answers.task])

    assert (answers.messages[0]["missed"], answers.messages[0]["reason"]) == (None, "restarted")
    assert answers.end == {"shown": 1, "missed": 0}


def test_a_tail_that_used_its_share_writes_nothing_in_the_pause(monkeypatch):
    monkeypatch.setattr(module.CpuShare, "pause", lambda _: 10.0)

    async def main():
        bus = edr.Bus()
        streams, answers = Streams(bus), Answers()
        tail = asyncio.ensure_future(Tail(streams, ())(answers))
        await turns()
        shown = []
        for n in range(3):
            await bus.emit("app", "1", "ok", "info", {"n": n})
            await asyncio.sleep(9)
            shown.append(list(answers.shown))
        tail.cancel()
        await asyncio.wait([tail])
        await bus.aclose()
        return shown

    assert run(main) == [[], [0, 1], [0, 1, 2]]


async def test_too_much_work_is_paused_and_the_gap_is_exact(follow, emit, monkeypatch):
    pauses = []

    class Tired(module.CpuShare):
        def pause(self):
            pauses.append(1)
            return 0 if len(pauses) > 2 else 0.001

    monkeypatch.setattr(module, "CpuShare", Tired)
    answers = await follow()
    for n in range(50):
        await emit(n)
        await turns(1)
    while len(answers.shown) < 10 or answers.shown[-1] < 49:
        await asyncio.sleep(0)

    missed = sum(each["missed"] for each in answers.messages if each["is"] == "gap")
    assert missed + len(answers.shown) == 50
    assert answers.shown == sorted(set(answers.shown))


async def test_wanted_events_count_as_interest_while_it_follows(follow, bus):
    interest = []
    watch = bus.watch_interest(lambda *change: interest.append(change))
    before = len(interest)
    answers = await follow(edr.Binding(severity="critical"))
    assert len(interest) == before
    wanted = await follow(edr.Binding(severity="critical"), wanted=True)
    await turns()
    assert len(interest) > before

    watch.close()
    for each in (answers, wanted):
        each.task.cancel()
