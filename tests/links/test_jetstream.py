"""JetStreamJournal with real servers: what it promises beside the contract of every journal."""

import asyncio
import random
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from support.consuming import ticks, until
from support.fault_proxy import FaultProxy

import edr
from edr.journal import ConsumerInUseError, JournalError, JournalUnusableError, WrongJournalError

pytestmark = pytest.mark.slow  # they talk to servers, or start their own

jetstream = pytest.importorskip("edr.links.jetstream", reason="needs nats: pip install 'edr[nats]'")

stream_session = pytest.importorskip("edr.links.stream_session")
stream_durable = pytest.importorskip("edr.links.stream_durable")

MEGABYTE = 1 << 20


def make_event(n, app_name="app", **fields):
    return edr.Event(
        app_name=app_name,
        app_version="1",
        severity="ok",
        verbosity="info",
        body={"n": n, **fields.pop("body", {})},
        **fields,
    )


@pytest.fixture
async def server(own_server):
    return own_server(jetstream=True)


@pytest.fixture
async def open_journal(server):
    """Open journals on the test's server, and close them at its end."""
    made = []

    async def start(stream="EVENTS", *bindings, url=None, **options):
        options = {"create": True, "max_bytes": 64 * MEGABYTE, "timeout": 5.0} | options
        journal = jetstream.JetStreamJournal(url or server.url, stream, *bindings, **options)
        made.append(journal)
        await journal.open()
        return journal

    yield start
    for journal in made:
        await journal.aclose()


@pytest.fixture
async def journal(open_journal):
    return await open_journal()


async def numbers(reading, count=None):
    """The n of the entries, and the missed of gaps as negative numbers."""
    found = []
    async with asyncio.timeout(20):
        async for item in reading:
            found.append(-item.missed if isinstance(item, edr.Gap) else item.event.body["n"])
            if len(found) == count:
                return found
    return found


# Append and read


async def test_what_was_appended_is_read_as_it_was(journal):
    events = [make_event(n, account_id="x", account_tree=["r"]) for n in range(3)]
    position = await journal.append(*events)
    entries = [entry async for entry in journal.cursor(after=0, live=False)]

    assert [entry.event for entry in entries] == events
    assert [entry.position for entry in entries] == [1, 2, 3]
    assert position == 3
    assert abs(entries[0].recorded_at - datetime.now(UTC)) < timedelta(seconds=30)


async def test_reading_catches_up_and_goes_on_live_without_a_seam(journal):
    await journal.append(*[make_event(n) for n in range(1000)])
    reading = journal.cursor(after=0)
    appending = asyncio.ensure_future(asyncio.wait_for(append_each(journal, range(1000, 2000)), 20))

    assert await numbers(reading, 2000) == list(range(2000))
    await appending
    assert reading.caught_up
    assert reading.position == 2000
    await reading.aclose()


async def append_each(journal, ns):
    for n in ns:
        await journal.append(make_event(n))


async def test_reading_begins_now_unless_told_otherwise(journal):
    await journal.append(make_event(0))
    reading = journal.cursor()
    await journal.append(make_event(1), make_event(2))

    assert await numbers(reading, 2) == [1, 2]
    await reading.aclose()


async def test_reading_begins_behind_a_position_at_a_time_or_with_the_last(journal):
    await journal.append(*[make_event(n, app_name="ab"[n % 2]) for n in range(100)])
    entries = [entry async for entry in journal.cursor(after=0, live=False)]
    at = entries[50].recorded_at

    assert await numbers(journal.cursor(after=97, live=False)) == [97, 98, 99]
    assert (await numbers(journal.cursor(since=at, live=False)))[0] <= 50
    assert await numbers(journal.cursor(since=timedelta(hours=1), live=False)) == list(range(100))
    assert await numbers(journal.cursor(last=3, live=False)) == [97, 98, 99]
    assert await numbers(journal.cursor(edr.Binding(app_name="a"), last=2, live=False)) == [96, 98]
    assert await numbers(journal.cursor(edr.Binding(app_name="c"), last=2, live=False)) == []
    assert await numbers(journal.cursor(last=1000, live=False)) == list(range(100))


async def test_the_last_that_match_a_body_are_found(journal):
    await journal.append(*[make_event(n) for n in range(2000)])
    wanted = edr.Binding(body={"n": [{"numeric": ["<", 5]}]})

    assert await numbers(journal.cursor(wanted, last=2, live=False)) == [3, 4]


async def test_a_reading_gives_what_its_bindings_match_and_moves_past_the_rest(journal):
    await journal.append(*[make_event(n, app_name=f"app{n % 10}") for n in range(1000)])
    wanted = [edr.Binding(app_name="app3"), edr.Binding(app_name="app7", body={"n": [7, 17]})]
    reading = journal.cursor(*wanted, after=0, live=False)

    assert await numbers(reading) == sorted([*range(3, 1000, 10), 7, 17])
    assert reading.position == 1000


async def test_a_position_that_was_never_given_is_refused(journal):
    await journal.append(make_event(1))
    with pytest.raises(WrongJournalError, match="never assigned position 77"):
        await anext(journal.cursor(after=77))


async def test_an_event_is_stored_once_however_often_it_is_appended(journal):
    event = make_event(1)
    positions = [await journal.append(event) for _ in range(3)]

    assert positions == [1, 1, 1]
    assert journal.statistics().last == 1


async def test_an_id_may_be_any_text(journal):
    ids = ["é", "a\r\nb: c", " ", '"', "x" * 10_000]
    await journal.append(*[make_event(n, id=each) for n, each in enumerate(ids)])

    assert [e.event.id async for e in journal.cursor(after=0, live=False)] == ids


async def test_what_is_too_large_is_refused_and_named_and_nothing_else(journal):
    await journal.append(make_event(1))
    with pytest.raises(JournalError, match=r"has \d+ bytes, and the server takes 1048576"):
        await journal.append(make_event(2, body={"x": "y" * MEGABYTE}))
    assert journal.append_nowait(make_event(3, body={"x": "y" * MEGABYTE}))
    assert await journal.append(make_event(4)) == 2
    assert journal.statistics().failed == 2


async def test_what_is_accepted_at_once_is_stored_by_a_flush(journal):
    accepted = [journal.append_nowait(make_event(n)) for n in range(600)]

    assert all(accepted)
    assert journal.statistics().waiting == 600
    assert await journal.flush() == 600
    assert journal.statistics().waiting == 0


async def test_what_finds_no_room_is_refused(open_journal):
    journal = await open_journal(max_pending=10)
    accepted = [journal.append_nowait(make_event(n)) for n in range(15)]
    assert accepted == [True] * 10 + [False] * 5
    await journal.room()
    assert journal.append_nowait(make_event(15))
    await journal.flush()

    assert await numbers(journal.cursor(after=0, live=False)) == [*range(10), 15]
    assert journal.statistics().failed == 0


async def test_two_machines_share_a_stream(open_journal):
    here, there = await open_journal(), await open_journal()
    reading = there.cursor()
    await reading.now  # else the first append of the other machine may come before
    await asyncio.gather(append_each(here, range(100)), append_each(there, range(100, 200)))
    found = await numbers(reading, 200)

    assert sorted(found) == list(range(200))
    assert [n for n in found if n < 100] == list(range(100))
    assert here.id == there.id
    await reading.aclose()


# The stream


async def test_a_stream_that_is_not_there_is_not_made_unless_told(server):
    journal = jetstream.JetStreamJournal(server.url, "NONE")
    with pytest.raises(JournalUnusableError, match="there is no such stream; create=True makes it"):
        await journal.open()
    await journal.aclose()


async def test_a_stream_of_something_else_is_refused(open_journal):
    await open_journal("SHARED", prefix="one")
    with pytest.raises(JournalUnusableError, match="its subjects"):
        await open_journal("SHARED", prefix="two")


async def test_a_stream_that_was_made_anew_is_another_journal(open_journal, server):
    journal = await open_journal()
    await journal.append(make_event(1))
    first = journal.id
    await journal.api._ask("STREAM.DELETE.EVENTS")
    again = await open_journal()

    assert again.id != first


async def test_the_size_of_a_stream_that_is_made_must_be_named():
    with pytest.raises(ValueError, match="name max_bytes"):
        jetstream.JetStreamJournal("nats://x", "EVENTS", create=True)
    with pytest.raises(ValueError, match="name of a stream"):
        jetstream.JetStreamJournal("nats://x", "a.b")


async def test_no_server_is_said_within_the_timeout(own_server):
    server = own_server()
    server.kill()
    journal = jetstream.JetStreamJournal(server.url, "EVENTS", timeout=0.2)
    with pytest.raises(JournalError, match="no server was reached"):
        await journal.open()
    await journal.aclose()


@pytest.mark.parametrize("is_away", [True, False], ids=["refused after all", "connected after all"])
async def test_it_closes_though_its_client_swallows_the_cancellation(server, monkeypatch, is_away):
    open_ = stream_session.Connection.open
    attempts = []

    async def open_deafly(connection, *args, **options):
        attempts.append(connection)
        with suppress(asyncio.CancelledError):  # as wait_for of Python 3.11 now and then
            await asyncio.sleep(1e6)
        if is_away:
            raise ConnectionRefusedError("nobody is there")
        await open_(connection, *args, **options)

    monkeypatch.setattr(stream_session.Connection, "open", open_deafly)
    journal = jetstream.JetStreamJournal(server.url, "EVENTS", create=True, max_bytes=MEGABYTE)
    opening = asyncio.ensure_future(journal.open())
    await ticks()
    await asyncio.wait_for(journal.aclose(), 30)
    opening.cancel()
    await asyncio.wait({opening})

    assert len(attempts) == 1


async def test_a_server_without_jetstream_is_said(nats_server):
    journal = jetstream.JetStreamJournal(nats_server.url, "EVENTS", timeout=0.5)
    with pytest.raises(JournalError, match="JetStream"):
        await journal.open()
    await journal.aclose()


async def test_a_full_stream_lets_append_wait_until_there_is_room(open_journal):
    journal = await open_journal(max_bytes=60_000)
    big = {"x": "y" * 1000}
    appending = asyncio.ensure_future(
        asyncio.wait_for(journal.append(*[make_event(n, body=big) for n in range(60)]), 20)
    )
    await until(lambda: journal.statistics().error is not None)
    stored = journal.statistics().appended
    assert "maximum bytes exceeded" in journal.statistics().error
    assert not appending.done()
    await journal.api._ask("STREAM.PURGE.EVENTS")
    await appending

    assert 20 < stored < 60
    assert journal.statistics().error is None
    assert await numbers(journal.cursor(after=stored, live=False)) == list(range(stored, 60))


async def test_a_stream_that_removes_the_oldest_tells_readers_of_it(open_journal):
    journal = await open_journal(max_bytes=60_000, discard="old")
    consumer = await journal.consumer("slow", edr.Binding(app_name="app"))
    await journal.append(*[make_event(n, body={"x": "y" * 1000}) for n in range(200)])
    first = (await journal.api.info())["state"]["first_seq"]
    assert first > 100

    assert await numbers(journal.cursor(after=10, live=False)) == [
        -(first - 11),
        *range(first - 1, 200),
    ]
    await until_seen(journal)
    found = await numbers(consumer, 202 - first)
    assert found[-1] == 199
    assert any(item < 0 for item in found)


async def until_seen(journal):
    await journal.flush()


async def test_what_is_no_event_is_a_gap_in_its_place(journal):
    await journal.append(make_event(1))
    for subject, payload in (
        ("edr-journal.EVENTS.~.app.-.-.d.i.-.-.-.1", b"no JSON"),
        ("edr-journal.EVENTS.forged.app.-.-.d.i.-.-.-.1", make_event(9).to_json()),
    ):
        journal.api.connection.publish_nowait(subject, payload)
    await journal.append(make_event(2))

    assert await numbers(journal.cursor(after=0, live=False)) == [1, -1, -1, 2]
    assert journal.statistics().corrupt == 2


# Consumers


async def test_a_reader_resumes_with_what_it_did_not_acknowledge(journal):
    await journal.append(*[make_event(n) for n in range(10)])
    async with await journal.consumer("audit") as consumer:
        entries = [await anext(consumer) for _ in range(6)]
        for n in (0, 1, 2, 4):
            consumer.ack(entries[n])
    again = await journal.consumer("audit")

    assert await numbers(again, 6) == [3, 5, 6, 7, 8, 9]
    await again.aclose()


async def test_a_reader_that_died_has_what_was_out_again_at_once(open_journal):
    here = await open_journal()
    await here.append(*[make_event(n) for n in range(10)])
    consumer = await here.consumer("audit")
    entries = [await anext(consumer) for _ in range(6)]
    for n in (0, 1, 4):
        consumer.ack(entries[n])
    await consumer.flush()
    await here._session.stop()  # as if the process were gone
    there = await open_journal()
    again = await there.consumer("audit")

    assert await numbers(again, 7) == [2, 3, 5, 6, 7, 8, 9]
    await again.aclose()


async def test_an_entry_comes_again_after_a_nack_and_counts_it(journal):
    await journal.append(make_event(0), make_event(1))
    async with await journal.consumer("audit") as consumer:
        first = await anext(consumer)
        consumer.nack(first)
        found = [await anext(consumer), await anext(consumer)]

    assert (first.event.body["n"], first.delivery) == (0, 1)
    assert sorted((entry.event.body["n"], entry.delivery) for entry in found) == [(0, 2), (1, 1)]


async def test_a_reader_holds_so_many_and_no_more(journal):
    await journal.append(*[make_event(n) for n in range(10)])
    async with await journal.consumer("audit", max_unacked=3) as consumer:
        held = [await anext(consumer) for _ in range(3)]
        waiting = asyncio.ensure_future(anext(consumer))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        consumer.ack(held[1])
        entry = await asyncio.wait_for(waiting, 10)

    assert entry.event.body["n"] == 3


async def test_a_reader_keeps_its_bindings_unless_it_is_told(journal):
    await journal.append(*[make_event(n, app_name="ab"[n % 2]) for n in range(10)])
    a, b = edr.Binding(app_name="a"), edr.Binding(app_name="b")
    async with await journal.consumer("audit", a) as consumer:
        consumer.ack(await anext(consumer))
        with pytest.raises(ConsumerInUseError):
            await journal.consumer("audit", a)
    with pytest.raises(JournalError, match="rebind=True"):
        await journal.consumer("audit", b)
    async with await journal.consumer("audit", b, rebind=True) as consumer:
        found = await numbers(consumer, 1)

    assert found[0] % 2 == 1


async def test_readers_are_listed_and_forgotten(journal):
    await journal.append(*[make_event(n) for n in range(10)])
    consumer = await journal.consumer("a é", start=5)
    consumer.ack(await anext(consumer))
    await consumer.flush()
    await (await journal.consumer("z", start="now")).aclose()
    first, second = await journal.consumers()

    assert (first.name, first.position, first.lag, first.open) == ("a é", 6, 4, True)
    assert (second.name, second.position, second.open) == ("z", 10, False)
    assert first.last_ack is not None
    with pytest.raises(ConsumerInUseError):
        await journal.forget("a é")
    await consumer.aclose()
    await journal.forget("a é")
    assert [status.name for status in await journal.consumers()] == ["z"]
    with pytest.raises(JournalError, match="no consumer"):
        await journal.forget("a é")


async def test_an_ack_for_what_was_never_given_is_refused(journal):
    await journal.append(make_event(0), make_event(1))
    entries = [entry async for entry in journal.cursor(after=0, live=False)]
    consumer = await journal.consumer("audit", max_unacked=1)
    await anext(consumer)
    with pytest.raises(JournalError, match="never given 2"):
        consumer.ack(entries[1])
    consumer.ack(entries[0])
    consumer.ack(entries[0])
    await consumer.aclose()
    with pytest.raises(JournalError, match="is closed"):
        consumer.ack(entries[0])


async def test_entries_are_redelivered_by_a_server_that_missed_it(journal, monkeypatch):
    await journal.append(*[make_event(n) for n in range(9)])
    consumer = await journal.consumer("audit", max_unacked=3)
    assert len(await consumer.take(3)) == 3
    await consumer.aclose()
    begin = stream_durable.DurableConsumer.resume

    async def resume(self, api, info, attempt=0):
        if attempt:
            return await begin(self, api, info, attempt)
        # As on a server that is too busy for its check: nothing is redelivered in the moment.
        return {**info, "config": {**info["config"], "max_ack_pending": 3}}

    monkeypatch.setattr(stream_durable.DurableConsumer, "resume", resume)
    async with asyncio.timeout(20):
        consumer = await journal.consumer("audit", max_unacked=3)
        entries = await consumer.take(3)

    assert [entry.position for entry in entries] == [1, 2, 3]


class Rebinding:
    """A consumer that gets random bindings, acks in random order, and is opened again at times."""

    BINDINGS = ((edr.Binding(app_name="a"),), (edr.Binding(app_name="b"),), ())

    def __init__(self, journal, apps, rng):
        self.journal, self.apps, self.rng = journal, apps, rng
        self.bindings = self.BINDINGS[0]
        self.held, self.acked, self.found = [], set(), set()
        self.wanted, self.position = set(), 0

    async def run(self):
        self.consumer = await self.journal.consumer("audit", *self.bindings, max_unacked=50)
        for _ in range(8):
            for _ in range(self.rng.randrange(1, 10)):
                await self.take(1.0)
                self.ack(self.rng.randrange(len(self.held) + 1))
            self.note_wanted(self.consumer.position)
            if self.rng.random() < 0.3:
                await self.consumer.aclose()
                self.held = []
                self.consumer = await self.journal.consumer("audit", *self.bindings, max_unacked=50)
            self.bindings = self.rng.choice(self.BINDINGS)
            await self.consumer.rebind(*self.bindings)
        self.note_wanted(len(self.apps))
        self.ack(len(self.held))
        while not self.wanted <= self.found and await self.take(20.0):
            self.ack(len(self.held))

    def note_wanted(self, position):
        names = {binding.app_name for binding in self.bindings} or {"a", "b"}
        positions = range(self.position, position)
        self.wanted |= {n for n in positions if self.apps[n] in names}
        self.position = position

    def ack(self, count):
        self.rng.shuffle(self.held)
        done, self.held = self.held[:count], self.held[count:]
        self.consumer.ack(*done)
        self.acked |= {entry.event.body["n"] for entry in done}

    async def take(self, patience):
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                entries = await self.consumer.take(self.rng.choice([1, 3, 100]))
                taken = {entry.event.body["n"] for entry in entries}
                assert not taken & self.acked
                self.found |= taken
                self.held += entries
                return True
        return False


@pytest.mark.parametrize("seed", range(3))
async def test_rebinding_skips_no_entry_and_repeats_none_that_was_acked(open_journal, seed):
    # A busy server misses requests to redeliver, and the pauses between them are doubled.
    journal = await open_journal(timeout=30.0)
    rng = random.Random(seed)
    apps = [rng.choice("ab") for _ in range(1500)]
    rebinding = Rebinding(journal, apps, rng)
    appending = asyncio.ensure_future(
        append_all(journal, [make_event(n, app) for n, app in enumerate(apps)])
    )
    await rebinding.run()
    await appending

    assert rebinding.found == rebinding.wanted


async def append_all(journal, events):
    for first in range(0, len(events), 50):
        await journal.append(*events[first : first + 50])
        await asyncio.sleep(0)


# Faults


async def test_an_acknowledgement_that_is_lost_doubles_nothing(open_journal, server):
    async with FaultProxy(server.port) as proxy:
        journal = await open_journal(url=proxy.url)
        proxy.mute()
        appending = asyncio.ensure_future(journal.append(*[make_event(n) for n in range(600)]))
        await asyncio.sleep(0.2)
        await proxy.cut()
        proxy.unmute()
        await asyncio.wait_for(appending, 20)

        assert await numbers(journal.cursor(after=0, live=False)) == list(range(600))
        await journal.aclose()


async def test_a_reading_and_a_reader_go_on_over_a_lost_connection(open_journal, server):
    async with FaultProxy(server.port) as proxy:
        journal = await open_journal(url=proxy.url)
        await journal.append(*[make_event(n) for n in range(1000)])
        reading, consumer = journal.cursor(after=0), await journal.consumer("audit")
        seen, read = [], []
        for round_ in range(4):
            seen += await numbers(reading, 250)
            for _ in range(250):
                entry = await anext(consumer)
                read.append(entry.event.body["n"])
                if round_ % 2:
                    consumer.ack(entry)
            await proxy.cut()

        assert seen == list(range(1000))
        assert read == list(range(1000))
        await journal.aclose()


@pytest.mark.timeout(240)
async def test_kills_and_hangs_of_the_server_lose_nothing_double_nothing_and_keep_the_order(  # noqa: C901
    open_journal, server, monkeypatch, capsys
):
    monkeypatch.setattr(stream_session, "STATE_INTERVAL", 0.1)
    journal = await open_journal(timeout=1.0)
    reading = journal.cursor(after=0)
    consumer = await journal.consumer("audit")
    stop, appended, read, acked = asyncio.Event(), 0, [], []
    loop = asyncio.get_running_loop()

    async def append():
        nonlocal appended
        while not stop.is_set():
            while journal.append_nowait(make_event(appended)):
                appended += 1
                if not appended % 50:
                    break
            await asyncio.sleep(0.005)
        for _ in range(20):  # a server that was just restarted may answer late
            with suppress(JournalError):  # the events stay accepted
                return await journal.flush()

    async def follow():
        async for entry in reading:
            read.append(entry.event.body["n"])

    async def handle():
        async for entry in consumer:
            acked.append(entry.event.body["n"])
            consumer.ack(entry)

    tasks = [asyncio.ensure_future(work()) for work in (append, follow, handle)]
    began = loop.time()
    for round_ in range(25):
        await asyncio.sleep(0.1)
        if round_ % 5 == 4:
            server.pause()
            await until(lambda: journal.api is None, 60)
            server.resume()
        else:
            server.kill()
            await server.restart()
        await until(lambda: journal.api is not None, 60)
    took = loop.time() - began
    stop.set()
    await tasks[0]
    await until(lambda: len(read) >= appended and len(set(acked)) >= appended, 60)
    for task in tasks[1:]:
        task.cancel()
    await asyncio.gather(*tasks[1:], return_exceptions=True)
    with capsys.disabled():
        print(  # noqa: T201
            f"\n20 kills, 5 hangs in {took:.0f} s: {appended} appended, {len(read)} read, "
            f"{len(set(range(appended)) - set(read))} missing, {len(read) - len(set(read))} "
            f"doubled; a consumer was given {len(acked) - len(set(acked))} again"
        )

    assert read == list(range(appended))
    assert set(acked) == set(range(appended))


async def test_a_closed_cursor_stands_after_the_last_entry_it_returned(open_journal):
    journal = await open_journal()
    await journal.append(*map(make_event, range(100)))
    async with journal.cursor(after=0) as cursor:
        for position in (1, 2, 3):
            assert (await anext(cursor)).position == position
            assert cursor.position == position

    assert cursor.position == 3
    async with journal.cursor(after=cursor.position) as rest:
        assert (await anext(rest)).position == 4


async def test_closing_tells_those_who_wait_that_their_events_are_not_stored(open_journal, server):
    journal = await open_journal(timeout=0.3)
    server.kill()
    await until(lambda: journal.api is None)
    appending = asyncio.ensure_future(journal.append(make_event(1)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await journal.aclose()

    with pytest.raises(JournalError, match="closed before it was stored"):
        await appending
    assert journal.statistics().failed == 1
    with pytest.raises(JournalError, match="was closed"):
        await journal.append(make_event(2))
