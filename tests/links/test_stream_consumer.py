"""``StreamConsumer``: acks, redeliveries, new bindings, and the end."""

import asyncio
import json

import pytest
from support.consuming import ticks

pytest.importorskip("nats")
from support.fake_stream import FakeStream

import edr
from edr.journal import Entry, JournalError
from edr.links import stream_cursor, stream_durable
from edr.links.stream_consumer import StreamConsumer
from edr.links.stream_durable import MAX_RESUMES
from edr.links.stream_retention import EPOCH

RARE = edr.Binding(app_name="rare")

ENDED = b"NATS/1.0 409 Consumer Deleted\r\n\r\n"
"""The server does not answer the request: the JetStream consumer is resumed before another one."""


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """A JetStream consumer is created again, and redelivers entries, without a pause."""
    monkeypatch.setattr(stream_cursor, "RECREATE_INTERVAL", 0.0)
    monkeypatch.setattr(stream_durable, "REDELIVERY_DELAY", 0.0)


@pytest.fixture
def stream():
    return FakeStream(last=9)


@pytest.fixture
async def open_consumer(stream):
    made = []

    async def open_(*bindings, **options):
        options = {"start": "oldest", "max_unacked": 100, "rebind": False} | options
        consumer = StreamConsumer(stream, "c", bindings, **options)
        made.append(consumer)
        await consumer.open()
        return consumer

    yield open_
    stream.is_lost = False
    for consumer in made:
        await consumer.aclose()


@pytest.fixture
async def consumer(open_consumer):
    return await open_consumer()


async def take(consumer, stream, *messages):
    """Deliver ``messages``, each a position and an event, and return the next entries."""
    taking = asyncio.ensure_future(consumer.take(100))
    await ticks(20)
    for position, event in messages:
        stream.deliver(position, event, pending=1)
    return await taking


def positions(entries):
    return [entry.position for entry in entries]


# Acknowledging


async def test_ack_is_stored_by_a_flush(consumer, stream, make_event):
    (entry,) = await take(consumer, stream, (1, make_event()))
    assert consumer.unacked == 1
    consumer.ack(entry)
    await consumer.flush()

    assert stream.requested == [("$JS.ACK.EVENTS.c.1.1.1.0.1", b"+ACK")]
    assert consumer.unacked == 0


async def test_ack_takes_many_entries(consumer, stream, make_event):
    entries = await take(consumer, stream, *[(n, make_event()) for n in (1, 2, 3)])
    consumer.ack(*entries)
    consumer.ack()
    await consumer.flush()

    assert len(stream.published) + len(stream.requested) == 3
    assert consumer.unacked == 0


async def test_ack_with_a_wrong_entry_acknowledges_none(consumer, stream, make_event):
    entries = await take(consumer, stream, (1, make_event()), (2, make_event()))
    with pytest.raises(JournalError, match="has never given 3"):
        consumer.ack(*entries, Entry(3, EPOCH, make_event()))

    assert consumer.unacked == 2


async def test_flush_raises_when_the_connection_is_lost(consumer, stream, make_event):
    consumer.ack(*await take(consumer, stream, (1, make_event())))
    stream.is_lost = True

    with pytest.raises(JournalError, match="cannot store its acks now: lost"):
        await consumer.flush()


async def test_nack_asks_for_the_entry_after_the_delay(consumer, stream, make_event):
    (entry,) = await take(consumer, stream, (1, make_event()))
    with pytest.raises(ValueError, match="0 seconds or more"):
        consumer.nack(entry, -1)
    consumer.nack(entry, 2.0)

    assert stream.published == [("$JS.ACK.EVENTS.c.1.1.1.0.1", b'-NAK {"delay":2000000000}')]
    assert consumer.unacked == 1


async def test_ack_of_an_entry_never_given_is_refused(consumer, stream, make_event):
    await take(consumer, stream, (1, make_event()))
    for position in (1, 2):
        with pytest.raises(JournalError, match=f"has never given {position}"):
            consumer.ack(Entry(position, EPOCH, make_event(), 1))

    assert consumer.unacked == 1


async def test_redelivered_entry_is_given_once_while_it_is_held(consumer, stream, make_event):
    event = make_event()
    (entry,) = await take(consumer, stream, (1, event))
    found = await take(consumer, stream, (1, event), (2, make_event()))
    assert positions(found) == [2]

    consumer.nack(entry)
    (again,) = await take(consumer, stream, (1, event))
    assert again == entry._replace(delivery=2)


async def test_nack_after_a_shutdown_asks_for_no_delivery(consumer, stream, make_event):
    (entry,) = await take(consumer, stream, (1, make_event()))
    await consumer.shutdown()
    consumer.nack(entry)

    assert stream.published == []
    assert consumer.unacked == 1


async def test_nacked_entry_that_is_acked_is_not_given_again(consumer, stream, make_event):
    event = make_event()
    (entry,) = await take(consumer, stream, (1, event))
    consumer.nack(entry)
    consumer.ack(entry)

    assert positions(await take(consumer, stream, (1, event), (2, make_event()))) == [2]


async def test_nack_is_sent_again_when_the_entry_comes_too_early(consumer, stream, make_event):
    event = make_event()
    (entry,) = await take(consumer, stream, (1, event))
    consumer.nack(entry, 60.0)
    stream.published.clear()
    found = await take(consumer, stream, (1, event), (2, make_event()))

    assert positions(found) == [2]
    ((subject, payload),) = stream.published
    assert subject == "$JS.ACK.EVENTS.c.1.1.2.0.1"
    delay = json.loads(payload.removeprefix(b"-NAK "))["delay"]
    assert 59e9 < delay <= 60e9  # the clock of a loop may stand still between the two


@pytest.mark.parametrize(("late", "found"), [(1, [1, 2]), (3, [1, 2]), (9, [2])])
async def test_missing_redelivery_is_requested_again(
    open_consumer, stream, make_event, late, found
):
    """The server sends 2 before 1, ``late`` times; after some requests the consumer goes on."""
    event = make_event()
    consumer = await open_consumer()
    await take(consumer, stream, (1, event))
    await consumer.aclose()
    stream.unacked, stream.consumers["c"]["opt_start_seq"] = 1, 2
    consumer = await open_consumer()
    taking = asyncio.ensure_future(consumer.take(100))
    for n in range(MAX_RESUMES):
        await ticks(60)
        stream.delivered = 0
        for position in [1, 2] if n == late else [2]:
            stream.deliver(position, event, pending=1)

    assert positions(await taking) == found


async def test_cancelled_takes_do_not_delay_redeliveries(consumer, stream, make_event, monkeypatch):
    attempts = []

    async def hang(self, api, info, attempt=0):
        attempts.append(attempt)
        await asyncio.Event().wait()

    await take(consumer, stream, (1, make_event()))
    stream.end_request(1, ENDED)
    monkeypatch.setattr(stream_durable.DurableConsumer, "resume", hang)
    for _ in range(3):
        taking = asyncio.ensure_future(consumer.take(1))
        await ticks(20)
        taking.cancel()
        await asyncio.wait({taking})

    assert attempts == [0, 0, 0]


# Other bindings


async def test_rebind_begins_after_the_ack_floor(consumer, stream, make_event):
    entries = await take(consumer, stream, *[(n, make_event("rare")) for n in (1, 2, 3)])
    consumer.ack(entries[0])
    rebinding = asyncio.ensure_future(consumer.rebind(RARE))
    await ticks(40)
    stream.deliver(2, entries[1].event, pending=2)
    stream.deliver(3, entries[2].event, pending=1)
    await rebinding

    assert [(name, config["opt_start_seq"]) for name, config in stream.created[1:]] == [
        ("c~", 2),
        ("c", 2),
    ]
    assert list(stream.consumers) == ["c"]
    assert stream.consumers["c"]["max_ack_pending"] == 100
    assert consumer.unacked == 2


async def test_rebind_begins_before_entries_that_the_server_passed_over(
    open_consumer, stream, make_event
):
    consumer = await open_consumer(RARE)
    consumer.ack(*await take(consumer, stream, (3, make_event("rare"))))
    await consumer.flush()
    stream.ack_floor = 5  # 4 and 5 do not match, and no ack is missing
    taking = asyncio.ensure_future(consumer.take(1))
    rebinding = asyncio.ensure_future(consumer.rebind())
    await ticks(40)
    stream.deliver(4, make_event(), pending=1)
    await rebinding

    assert stream.consumers["c"]["opt_start_seq"] == 4
    assert positions(await taking) == [4]


async def test_reopened_consumer_knows_which_entries_were_acked(open_consumer, stream, make_event):
    consumer = await open_consumer()
    events = [make_event("rare") for _ in range(3)]
    await take(consumer, stream, *enumerate(events, 1))
    await consumer.aclose()
    consumer = await open_consumer()
    stream.delivered = 0
    consumer.ack(*await take(consumer, stream, (1, events[0])))
    await consumer.aclose()  # before 2 and 3 have come again
    consumer = await open_consumer(RARE, rebind=True)

    assert positions(await take(consumer, stream, *enumerate(events, 1))) == [2, 3]


async def test_rebind_acknowledges_entries_that_come_again_and_are_done(
    consumer, stream, make_event
):
    entries = await take(consumer, stream, *[(n, make_event("rare")) for n in (1, 2, 3)])
    consumer.ack(entries[1], entries[2])
    rebinding = asyncio.ensure_future(consumer.rebind(RARE))
    await ticks(40)
    for entry in entries:
        stream.deliver(entry.position, entry.event, pending=1)
    await rebinding
    found = await take(consumer, stream, (4, make_event("rare")))
    await consumer.flush()

    assert positions(found) == [4]
    sent = [subject for subject, _ in stream.published + stream.requested]
    assert {"$JS.ACK.EVENTS.c.1.2.2.0.1", "$JS.ACK.EVENTS.c.1.3.3.0.1"} <= set(sent)


async def test_rebind_applies_although_it_is_cancelled(consumer, stream, make_event):
    await take(consumer, stream, (1, make_event()))
    rebinding = asyncio.ensure_future(consumer.rebind(RARE))
    await asyncio.sleep(0)
    rebinding.cancel()
    await asyncio.wait({rebinding})
    assert rebinding.cancelled()
    taking = asyncio.ensure_future(consumer.take(9))
    await ticks(40)
    stream.deliver(2, make_event("rare"), pending=1)

    assert positions(await taking) == [2]
    assert stream.consumers["c"]["filter_subjects"]


@pytest.mark.parametrize(
    ("step", "begin"),
    [("create", 3), ("delete", 1)],  # without its bookmark, it is where the server had acks
)
async def test_interrupted_rebind_does_not_lose_its_place(
    open_consumer, stream, make_event, monkeypatch, step, begin
):
    consumer = await open_consumer()
    consumer.ack(*await take(consumer, stream, (1, make_event()), (2, make_event())))
    create, delete = stream.create_consumer, stream.delete_consumer

    async def fail(name, *args):
        if name == "c":
            raise ConnectionError("killed")
        return await (create if args else delete)(name, *args)

    monkeypatch.setattr(stream, f"{step}_consumer", fail)
    with pytest.raises(JournalError, match="cannot store its new bindings now: killed"):
        await consumer.rebind(RARE)
    monkeypatch.undo()
    again = await open_consumer(RARE, rebind=step == "delete")

    assert stream.consumers["c"]["opt_start_seq"] == begin
    assert positions(await take(again, stream, (3, make_event("rare")))) == [3]


async def test_late_rebind_keeps_its_place_when_closed(
    open_consumer, stream, make_event, monkeypatch
):
    consumer = await open_consumer(RARE)
    consumer.ack(*await take(consumer, stream, (3, make_event("rare"))))
    stream.ack_floor = 5  # 4 and 5 do not match, and no ack is missing

    async def fail(*_):
        raise ConnectionError("late")

    monkeypatch.setattr(stream, "create_consumer", fail)
    with pytest.raises(JournalError, match="late"):
        await consumer.rebind()
    monkeypatch.undo()
    await consumer.aclose()
    await open_consumer(rebind=True)

    assert stream.consumers["c"]["opt_start_seq"] == 4


@pytest.fixture
async def crashed_consumer(open_consumer, stream):
    """A consumer that is open again after a crash: two of the entries up to 4 are not acked."""
    await open_consumer()
    stream.unacked, stream.ack_floor, stream.consumers["c"]["opt_start_seq"] = 2, 0, 5
    consumer = await open_consumer()
    stream.unacked = 0
    return consumer


async def rebind(consumer, stream, *messages):
    rebinding = asyncio.ensure_future(consumer.rebind(RARE))
    await ticks(40)
    for position, event in messages:
        stream.deliver(position, event, pending=1)
    await rebinding


async def test_rebind_after_a_crash_skips_no_unacked_entry(crashed_consumer, stream, make_event):
    await rebind(crashed_consumer, stream, *[(n, make_event("rare")) for n in (1, 2, 3, 4)])

    # 1 and 2 were acked, perhaps: only the server knew that.
    assert positions(await crashed_consumer.take(9)) == [1, 2, 3, 4]


async def test_second_rebind_after_a_crash_repeats_no_acked_entry(
    crashed_consumer, stream, make_event
):
    events = [make_event("rare") for _ in range(5)]
    await rebind(crashed_consumer, stream, *enumerate(events[:4], 1))
    entries = await crashed_consumer.take(9)
    crashed_consumer.ack(entries[0], entries[1], entries[3])
    stream.ack_floor = None
    rebinding = asyncio.ensure_future(crashed_consumer.rebind(RARE, edr.Binding(app_name="x")))
    await ticks(40)
    assert stream.consumers["c"]["opt_start_seq"] == 3
    for n in (3, 4, 5):
        stream.deliver(n, events[n - 1], pending=1)
    await rebinding

    assert positions(await crashed_consumer.take(9)) == [5]


async def test_rebound_consumer_requests_a_missing_redelivery(open_consumer, stream, make_event):
    consumer, event = await open_consumer(), make_event("rare")
    await take(consumer, stream, (1, event))
    await consumer.aclose()
    consumer = await open_consumer(RARE, rebind=True)
    stream.unacked, stream.consumers["c"]["opt_start_seq"] = 1, 2
    taking = asyncio.ensure_future(consumer.take(100))
    await ticks(40)
    stream.end_request(1, ENDED)
    for sent in ([2], [1, 2]):
        await ticks(60)
        stream.delivered = 0
        for position in sent:
            stream.deliver(position, event, pending=1)

    assert positions(await taking) == [1, 2]


# The end


async def test_close_without_messages_stores_the_position(consumer, stream, make_event):
    await take(consumer, stream, (1, make_event()), (2, make_event()))
    stream.end_request(1, ENDED)
    await consumer.aclose()

    assert stream.consumers["c"]["metadata"]["edr-at"] == "2"


async def test_shutdown_keeps_entries_that_were_read_for_the_next_time(
    consumer, stream, make_event
):
    waiting = asyncio.ensure_future(anext(consumer))
    await ticks(20)
    for n in range(1, 6):
        stream.deliver(n, make_event(), pending=1)
    entry = await waiting
    await consumer.shutdown()
    assert await consumer.take(5) == []
    consumer.ack(entry)
    await consumer.aclose()

    metadata = stream.consumers["c"]["metadata"]
    assert (metadata["edr-at"], metadata["edr-unacked"]) == ("1", "[]")


async def test_shutdown_ends_a_take_without_a_connection(consumer, stream):
    up = asyncio.Event()

    async def connected():
        await up.wait()
        return stream

    stream.api, stream.connected = None, connected
    taking = asyncio.ensure_future(consumer.take(5))
    await ticks(20)
    await consumer.shutdown()

    assert await asyncio.wait_for(taking, 5) == []
    up.set()
