"""A JetStreamJournal tells of each entry that retention removed, and of none that it did not."""

import asyncio

import pytest
from support.consuming import until

import edr
from edr.journal import JournalError

pytestmark = pytest.mark.slow  # they start servers of their own

jetstream = pytest.importorskip("edr.links.jetstream", reason="needs nats: pip install 'edr[nats]'")
stream_api = pytest.importorskip("edr.links.stream_api")
stream_cursor = pytest.importorskip("edr.links.stream_cursor")

MEGABYTE = 1 << 20
RARE = edr.Binding(app_name="rare")


def make_event(n, app_name="app"):
    return edr.Event(
        app_name=app_name, app_version="1", severity="ok", verbosity="info", body={"n": n}
    )


@pytest.fixture
async def open_journal(own_server):
    made = []
    servers = []

    async def start(**options):
        if not servers:
            servers.append(own_server(jetstream=True))
        options = {
            "create": True,
            "max_bytes": 64 * MEGABYTE,
            "max_events": 100,
            "discard": "old",
            "timeout": 5.0,
        } | options
        journal = jetstream.JetStreamJournal(servers[0].url, "EVENTS", **options)
        journal.server = servers[0]
        made.append(journal)
        await journal.open()
        return journal

    yield start
    for journal in made:
        await journal.aclose()


async def append(journal, *numbers, app_name="app"):
    await journal.append(*[make_event(n, app_name) for n in numbers])


class Following:
    """A task that takes what a reading gives, slower than it comes."""

    def __init__(self, reading, pause_each=50):
        self.reading = reading
        self.given, self.told = [], 0
        self._pause_each = pause_each
        self.task = asyncio.ensure_future(self._follow())

    async def _follow(self):
        async for item in self.reading:
            if isinstance(item, edr.Gap):
                self.told += item.missed
                continue
            self.given.append(item.event.body["n"])
            if hasattr(self.reading, "ack"):
                self.reading.ack(item)
            if not len(self.given) % self._pause_each:
                await asyncio.sleep(0.02)

    async def until_caught_up(self, last):
        await until(lambda: self.given and self.given[-1] == last)
        self.task.cancel()
        await asyncio.wait([self.task])


# Every loss is told


@pytest.mark.parametrize("bindings", [[], [edr.Binding(app_name="app")]], ids=["all", "filtered"])
async def test_slow_reading_is_told_of_each_loss(open_journal, bindings):
    journal = await open_journal()
    following = Following(journal.cursor(*bindings, after=0))
    for n in range(0, 5000, 50):
        await append(journal, *range(n, n + 50))
    await following.until_caught_up(4999)

    assert len(following.given) + following.told == 5000
    assert following.given == sorted(set(following.given))


@pytest.mark.parametrize("bindings", [[], [edr.Binding(app_name="app")]], ids=["all", "filtered"])
@pytest.mark.parametrize("is_killed", [False, True], ids=["closed", "killed"])
async def test_entries_sent_ahead_and_removed_are_told(open_journal, bindings, is_killed):
    first = await open_journal()
    consumer = await first.consumer("r", *bindings)
    await append(first, *range(90))
    for _ in range(10):
        consumer.ack(await anext(consumer))
    await consumer.flush()
    if is_killed:
        await first._session.stop()
    else:
        await consumer.aclose()
    journal = await open_journal()
    again = await journal.consumer("r", *bindings)
    await append(journal, *range(90, 150))  # some of those that were sent ahead are gone now
    following = Following(again)
    await append(journal, *range(150, 600))
    await following.until_caught_up(599)

    assert 10 + len(following.given) + following.told == 600
    assert again.missed == following.told


@pytest.mark.parametrize("bindings", [[], [edr.Binding(app_name="app")]], ids=["all", "filtered"])
async def test_unacknowledged_entries_removed_while_closed_are_told(open_journal, bindings):
    journal = await open_journal()
    async with await journal.consumer("r", *bindings) as consumer:
        await append(journal, *range(90))
        held = [await anext(consumer) for _ in range(30)]
        for entry in held[:20]:
            consumer.ack(entry)
    await append(journal, *range(90, 300))
    consumer = await journal.consumer("r", *bindings)
    following = Following(consumer)
    await following.until_caught_up(299)

    assert 20 + len(following.given) + following.told == 300


async def test_killed_reader_is_told_at_least_what_it_lost(open_journal, monkeypatch):
    first = await open_journal()
    consumer = await first.consumer("r")
    await append(first, *range(90))
    for _ in range(10):
        consumer.ack(await anext(consumer))
    await consumer.flush()
    await first._session.stop()
    journal = await open_journal()
    await append(journal, *range(90, 400))
    following = Following(await journal.consumer("r"))
    await following.until_caught_up(399)

    assert 10 + len(following.given) + following.told >= 400


async def test_gap_that_was_not_taken_is_told_when_opened_again(open_journal):
    journal = await open_journal()
    async with await journal.consumer("r") as consumer:
        await append(journal, 0)
        consumer.ack(await anext(consumer))
    await append(journal, *range(1, 300))
    async with await journal.consumer("r") as consumer:
        missed = consumer.missed
    async with await journal.consumer("r") as consumer:
        gap, entry = await anext(consumer), await anext(consumer)

    assert (gap, entry.event.body["n"]) == (edr.Gap(199), 200)
    assert missed == consumer.missed == 199


# And nothing else


@pytest.mark.parametrize("is_named", [False, True], ids=["reading", "consumer"])
async def test_caught_up_selective_reading_is_told_of_no_loss(open_journal, monkeypatch, is_named):
    monkeypatch.setattr(stream_cursor, "IDLE_INFO_INTERVAL", 0.02)
    monkeypatch.setattr(stream_cursor, "MIN_INFO_INTERVAL", 0.02)
    journal = await open_journal()
    await append(journal, 0, app_name="rare")
    reading = await journal.consumer("r", RARE) if is_named else journal.cursor(RARE, after=0)
    following = Following(reading)
    await until(lambda: following.given == [0])
    for round_ in range(5):
        for n in range(10):
            await append(journal, *range(20 * n, 20 * n + 20))
            position = journal.newest
            await until(lambda p=position: reading.position >= p)
        await append(journal, round_ + 1, app_name="rare")
        await until(lambda r=round_: following.given[-1] == r + 1)
    following.task.cancel()

    assert following.given == [0, 1, 2, 3, 4, 5]
    assert following.told == 0


async def test_selective_reading_is_caught_up_after_the_last_entry(open_journal):
    journal = await open_journal()
    await append(journal, *range(300))
    reading = journal.cursor(edr.Binding(app_name="app"), after=0)
    following = Following(reading)
    await append(journal, *range(300, 2000))
    await until(lambda: reading.caught_up and following.given[-1] == 1999)
    following.task.cancel()

    assert reading.position == 2000


# What it costs, and faults that pass


async def test_reader_near_the_oldest_entry_asks_once_a_batch(open_journal, monkeypatch):
    journal = await open_journal(max_events=10_000)
    await append(journal, *range(1000))
    consumer = await journal.consumer("r")
    asked = []
    info = stream_api.StreamApi.info

    def counting(api, *args):
        asked.append(api)
        return info(api, *args)

    monkeypatch.setattr(stream_api.StreamApi, "info", counting)
    for _ in range(1000):
        consumer.ack(await anext(consumer))

    assert len(asked) < 20


@pytest.mark.parametrize("is_named", [False, True], ids=["reading", "consumer"])
async def test_election_of_a_leader_ends_no_reading(open_journal, monkeypatch, is_named):
    journal = await open_journal()
    await append(journal, 0)
    reading = await journal.consumer("r") if is_named else journal.cursor(after=0)
    assert (await anext(reading)).event.body["n"] == 0
    consumer, left = stream_api.StreamApi.create_consumer, [3]

    async def without_leader(api, *args):
        if left[0]:
            left[0] -= 1
            raise stream_api.StreamError({"code": 503, "err_code": 10008, "description": "wait"})
        return await consumer(api, *args)

    monkeypatch.setattr(stream_api.StreamApi, "create_consumer", without_leader)
    waiting = asyncio.ensure_future(anext(reading))
    await asyncio.sleep(0)
    journal.api.connection.end(ConnectionError("cut"))
    await until(lambda: not left[0])
    await append(journal, 1)

    entry = await asyncio.wait_for(waiting, 10)
    if is_named and entry.event.body["n"] == 0:  # it was called back
        entry = await asyncio.wait_for(anext(reading), 10)
    assert entry.event.body["n"] == 1


async def test_reader_that_is_caught_up_has_no_lag(open_journal):
    journal = await open_journal(max_events=10_000)
    await append(journal, *range(5), app_name="rare")
    consumer = await journal.consumer("r", RARE)
    for _ in range(5):
        consumer.ack(await anext(consumer))
    await append(journal, *range(500))
    await consumer.flush()
    (status,) = await journal.consumers()

    assert (status.lag, status.unacked, status.position) == (0, 0, 505)


async def test_reader_closed_without_its_server_raises_for_its_acks(open_journal, caplog):
    journal = await open_journal(timeout=0.3)
    await append(journal, *range(3))
    consumer = await journal.consumer("r")
    entries = [await anext(consumer) for _ in range(3)]
    journal.server.kill()
    await until(lambda: journal.api is None)
    for entry in entries:
        consumer.ack(entry)
    with pytest.raises(JournalError, match="3 acks that could not be stored"):
        await consumer.aclose()
    await consumer.aclose()

    assert any("3 acks" in each.getMessage() for each in caplog.records)
    await journal.server.restart()
    again = await open_journal()
    assert (await anext(await again.consumer("r"))).event.body["n"] == 0
