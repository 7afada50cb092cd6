"""Streams over a journal: clients receive stored events, and resume after a restart."""

import random

import pytest
from support.stream_clients import numbers, take_all
from support.stream_journal import Reader, Rig, turn_until
from support.stream_model import BINDINGS, GRANTS, StreamModel, sees

from edr import Binding, Bus
from edr.journal import JournalError, SqliteJournal
from edr.streams import Streams, parse_cursor


@pytest.fixture
def events(make_event):
    return lambda *ns: [make_event(body={"n": n}) for n in ns]


async def test_clients_receive_stored_events(tmp_path, events):
    async with Rig(tmp_path / "j") as rig:
        reader = Reader(rig)
        await rig.bus.publish_all(events(1, 2, 3))
        await rig.settle()
        await reader.take_all()

        assert (reader.seen, reader.gaps) == ([1, 2, 3], [])
        assert parse_cursor(reader.cursor).window_id == rig.streams.id
        assert len(rig.streams.id) == 16


async def test_client_that_lags_reads_the_journal(tmp_path, events):
    async with Rig(tmp_path / "j") as rig:
        reader = Reader(rig)
        await rig.bus.publish_all(events(*range(1000)))
        await rig.settle()
        assert rig.streams.statistics().events == 5
        await reader.take_all()

        assert (reader.seen, reader.gaps) == ([*range(1000)], [])


async def test_client_resumes_after_a_restart(tmp_path, events):
    async with Rig(tmp_path / "j") as rig:
        reader = Reader(rig)
        await rig.bus.publish_all(events(*range(20)))
        await rig.settle()
        reader.take(3)
        await reader.take_all()
        del reader.seen[3:]
        reader.cursor = f"{rig.streams.id}-3"
    async with Rig(tmp_path / "j") as rig:
        await rig.bus.publish_all(events(*range(20, 30)))
        reader.return_(rig)
        await rig.bus.publish_all(events(*range(30, 40)))
        await rig.settle()
        await reader.take_all()

    assert (reader.seen, reader.gaps) == ([*range(40)], [])


async def test_new_client_after_a_restart_begins_with_the_next_event(tmp_path, events):
    async with Rig(tmp_path / "j") as rig:
        await rig.bus.publish_all(events(*range(20)))
    async with Rig(tmp_path / "j") as rig:
        reader = Reader(rig)
        assert parse_cursor(reader.place.cursor).position == 20
        recent = Reader(rig, last=3)
        await rig.bus.publish_all(events(20))
        await rig.settle()
        await reader.take_all()
        await recent.take_all()

    assert reader.seen == [20]
    assert recent.seen == [17, 18, 19, 20]


async def test_unknown_cursor_continues_at_the_oldest_entry(tmp_path, events):
    async with Rig(tmp_path / "j") as rig:
        await rig.bus.publish_all(events(*range(20)))
        await rig.settle()
        for cursor in ("0-0", "other-3", f"{rig.streams.id}-999", "x"):
            reader = Reader(rig, after=cursor)
            await turn_until(lambda: rig.streams._feed.is_ready)
            await reader.take_all()

            assert (reader.seen, reader.gaps) == ([*range(20)], [(None, "restarted")])


async def test_retention_is_reported_as_expired(tmp_path, events):
    async with Rig(tmp_path / "j", max_events=300) as rig:
        reader = Reader(rig)
        await rig.bus.publish_all(events(0))
        await rig.settle()
        await reader.take_all()
        cursor = reader.cursor
        rig.streams.leave(reader.place)
        for start in range(1, 1001, 100):
            await rig.bus.publish_all(events(*range(start, start + 100)))
            await rig.settle()
        later = Reader(rig, after=cursor)
        await later.take_all()

        [(missed, reason)] = later.gaps
        assert reason == "expired"
        assert later.seen == [*range(1 + missed, 1001)] != []


async def test_hole_in_the_window_is_reported_to_current_clients(tmp_path, events, monkeypatch):
    async with Rig(tmp_path / "j", size=5000, max_events=300) as rig:
        reader = Reader(rig)
        await rig.bus.publish_all(events(0))
        await rig.settle()
        await reader.take_all()
        rig.streams._feed.close()  # the feed is too slow, and retention overtakes it
        for start in range(1, 1001, 100):
            await rig.bus.publish_all(events(*range(start, start + 100)))
        await rig.journal.flush()
        rig.streams._feed._has_ended = False
        rig.streams._feed.start()
        await rig.settle()
        await reader.take_all()

        [(missed, reason)] = reader.gaps
        assert reason == "expired"
        assert reader.seen == [0, *range(1 + missed, 1001)]


async def test_take_is_bounded_while_the_journal_is_read(tmp_path, events):
    async with Rig(tmp_path / "j") as rig:
        reader = Reader(rig)
        await rig.bus.publish_all(events(*range(20)))
        await rig.settle()
        first = reader.take(1)
        if not first.records:  # it reads now; an eager task has read already
            await turn_until(lambda: reader.calls.count)
            first = reader.take(1)
        size = len(first.records[0].json)

        assert numbers(reader.place.take(3)) == [1, 2, 3]
        assert numbers(reader.place.take(max_bytes=2 * size)) == [4, 5]
        assert numbers(reader.place.take(max_bytes=1)) == [6]


async def test_client_may_leave_while_it_reads_the_journal(tmp_path, events):
    async with Rig(tmp_path / "j") as rig:
        reader = Reader(rig)
        await rig.bus.publish_all(events(*range(20)))
        await rig.settle()
        reader.take()
        rig.streams.leave(reader.place)
        assert reader.place.take().ended
        reader = Reader(rig, after=f"{rig.streams.id}-2")
        rig.streams.rebind(reader.place, Binding(app_name="app"))
        await reader.take_all()

        assert reader.seen == [*range(2, 20)]


async def test_emits_do_not_pay_for_clients(tmp_path, events):
    async with Rig(tmp_path / "j") as rig:
        Reader(rig)

        assert rig.bus._taps == {}


async def test_wanted_registers_interest(tmp_path):
    async with Rig(tmp_path / "j") as rig:
        keys = []
        rig.bus.watch_interest(lambda key, wanted: keys.append((key.app_name, wanted)))
        reader = Reader(rig, Binding(app_name="a"), wanted=True)
        await rig.bus.emit("a", "1", "ok", "info", {"n": 1})
        rig.streams.leave(reader.place)

    assert keys == [("a", True), ("a", False)]


async def test_streams_end_after_the_last_stored_event(tmp_path, events):
    async with Rig(tmp_path / "j") as rig:
        place = rig.streams.join(on_ready=print)
        await turn_until(lambda: rig.streams._feed.is_ready)
        place.take()
        for event in events(1, 2):
            rig.bus.publish_nowait(event)

    assert numbers(place.take()) == [1, 2]
    assert place.take().ended


async def test_client_that_lags_at_the_end_continues_after_a_restart(tmp_path, events):
    async with Rig(tmp_path / "j") as rig:
        reader = Reader(rig)
        await rig.bus.publish_all(events(*range(20)))
        await rig.settle()
    for _ in range(2):
        assert reader.take() == (None, [], True)  # the window has the last 5 events only
    async with Rig(tmp_path / "j") as rig:
        reader.return_(rig)
        await rig.settle()
        await reader.take_all()

    assert (reader.seen, reader.gaps) == ([*range(20)], [])


async def test_journal_must_be_open(tmp_path):
    journal = SqliteJournal(tmp_path / "j")
    async with Bus() as bus:
        streams = Streams(bus, journal=journal)
        with pytest.raises(JournalError, match="not opened"):
            streams.join(on_ready=print)
        assert bus.services == ()
        with pytest.raises(ValueError, match="history must not be given"):
            Streams(bus, journal=journal, history=True)


@pytest.mark.parametrize("seed", range(6))
async def test_every_client_receives_each_stored_event_once(tmp_path, seed):
    draw = random.Random(seed)
    model = StreamModel(seed, size=1, history=False)  # for its events
    published, readers = [], []
    async with Rig(tmp_path / "j", size=draw.choice([3, 10, 40])) as rig:
        for _ in range(150):
            step = draw.random()
            if step < 0.4:
                batch = [model.make_event() for _ in range(draw.choice([1, 5, 60]))]
                published += batch
                await rig.bus.publish_all(batch)
            elif step < 0.5 and len(readers) < 8:
                await rig.settle()
                bindings, grant = draw.choice(BINDINGS), draw.choice(GRANTS)
                reader = Reader(rig, *bindings, grant=grant)
                reader.expected_from = len(published)
                await turn_until(lambda: rig.streams._feed.is_ready)
                readers.append(reader)
            elif step < 0.6 and readers:
                draw.choice(readers).return_()
            elif readers:
                draw.choice(readers).take(draw.choice([1, 3, 256]))
            if draw.random() < 0.3:
                await turn_until(lambda: True)
        await rig.settle()
        for reader in readers:
            await reader.take_all()

            assert reader.gaps == []
            assert reader.seen == [
                event.body["n"]
                for event in published[reader.expected_from :]
                if sees(event, reader.bindings, reader.options["grant"])
            ]
        assert take_all(rig.streams.join(on_ready=print)) == []
