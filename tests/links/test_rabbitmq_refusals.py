"""A broker that refuses some events gets all the others, and each refused one is counted."""

import asyncio
import contextlib

import aiormq.exceptions as amqp
import pytest
from support.consuming import until
from support.rabbitmq_own import MAX_MESSAGE_SIZE
from support.rabbitmq_server import actl, is_balanced

import edr
from edr.journal import SqliteJournal
from edr.links import ConnectionState
from edr.links.rabbitmq_refusals import DeniedKeys, Refusal, refusal_of

slow = pytest.mark.slow


@pytest.mark.parametrize(
    ("exc", "expected"),
    [
        (amqp.ChannelClosed(None, None), None),
        (amqp.ChannelNotFoundEntity("NOT_FOUND - no exchange"), (None, False, False)),
        (
            amqp.ChannelAccessRefused(
                "ACCESS_REFUSED - access to exchange 'x' in vhost '/' refused"
            ),
            ("not_permitted", True, False),
        ),
        (
            amqp.ChannelAccessRefused("ACCESS_REFUSED - access to topic 'edr.a' in exchange"),
            ("not_permitted", False, True),
        ),
        (amqp.ChannelPreconditionFailed("PRECONDITION_FAILED - odd"), ("refused", False, False)),
        (amqp.ChannelClosed(541, "INTERNAL_ERROR"), ("refused", False, False)),
    ],
)
def test_refusal_of_reads_why_the_channel_was_closed(exc, expected):
    refusal = refusal_of(exc)
    found = refusal and (refusal.reason, refusal.is_of_all, refusal.is_of_key)
    assert found == expected


@pytest.mark.parametrize("verb", ["larger than", "is larger than configured"])
def test_refusal_of_reads_the_largest_size(verb):
    words = f"PRECONDITION_FAILED - message size 20 {verb} max size 10"
    refusal = refusal_of(amqp.ChannelPreconditionFailed(words))
    assert refusal == Refusal(words, "too_large", max_bytes=10)


def test_denied_keys_are_forgotten_after_a_while(monkeypatch):
    now = 0.0
    monkeypatch.setattr("edr.links.rabbitmq_refusals.monotonic", lambda: now)
    keys = DeniedKeys()
    keys.add("a", "words")
    assert (keys.get("a"), keys.get("b")) == ("words", None)
    now = 61.0
    assert keys.get("a") is None


@contextlib.asynccontextmanager
async def bus_with(outbox, tmp_path):
    """A bus, and the options of a link whose outbox is in memory or in a journal."""
    if outbox == "memory":
        async with edr.Bus(node="here") as bus:
            yield bus, {}
    else:
        journal = SqliteJournal(tmp_path / "journal")
        async with edr.Bus(node="here", journal=journal) as bus:
            yield bus, {"journal": journal}


async def emit(bus, n, app="app", **body):
    await bus.emit(app, "1", "ok", "info", {"n": n, **body})


def taken(seen):
    return [edr.wire.kazoo.decode(message.body).body["n"] for message in seen]


outboxes = pytest.mark.parametrize("outbox", ["memory", "journal"])


@slow
@outboxes
async def test_an_event_too_large_for_the_broker_stops_no_other(
    rabbit, raw_at, refusing_rabbitmq, tmp_path, outbox, caplog
):
    raw = await raw_at(refusing_rabbitmq, "kapps")
    seen = await raw.consume("#")
    async with bus_with(outbox, tmp_path) as (bus, options):
        _, link = await rabbit(refusing_rabbitmq, bus=bus, receive=[], exchange="kapps", **options)
        for n in range(100):
            await emit(bus, n, text="x" * (2 * MAX_MESSAGE_SIZE if n % 50 == 7 else 1))
        await until(lambda: not link.statistics().pending and link.statistics().sent == 98)
        counts = link.statistics()
        await link.aclose()

    assert counts.dropped == {"too_large": 2}
    assert (counts.uncertain, counts.reconnects) == (0, 0)
    assert is_balanced(counts)
    assert set(taken(seen)) == set(range(100)) - {7, 57}
    assert "PRECONDITION_FAILED - message size" in caplog.text


@slow
@outboxes
async def test_an_event_of_a_topic_not_permitted_stops_no_other(
    rabbit, raw_at, vhost, tmp_path, outbox, caplog
):
    name = vhost.rpartition("/")[2]
    raw = await raw_at(vhost, "kapps")
    seen = await raw.consume("#")
    await actl("add_user", name, "secret")
    try:
        await actl("set_permissions", "-p", name, name, ".*", ".*", ".*")
        await actl("set_topic_permissions", "-p", name, name, "kapps", r"\.app$", ".*")
        async with bus_with(outbox, tmp_path) as (bus, options):
            url = vhost.replace("guest:guest@", f"{name}:secret@")
            _, link = await rabbit(url, bus=bus, receive=[], exchange="kapps", **options)
            for n in range(40):
                await emit(bus, n, app="appé" * 40 if n % 20 == 7 else "app")
            await until(lambda: not link.statistics().pending and link.statistics().sent == 38)
            counts = link.statistics()
            await link.aclose()
    finally:
        await actl("delete_user", name)

    assert counts.dropped == {"not_permitted": 2}
    assert (counts.uncertain, counts.reconnects) == (0, 0)
    assert set(taken(seen)) == set(range(40)) - {7, 27}
    assert "ACCESS_REFUSED - access to topic" in caplog.text


@slow
async def test_a_journal_keeps_what_a_missing_permission_refuses(rabbit, raw_at, vhost, tmp_path):
    name = vhost.rpartition("/")[2]
    raw = await raw_at(vhost, "kapps")
    seen = await raw.consume("#")
    await actl("add_user", name, "secret")
    try:
        await actl("set_permissions", "-p", name, name, ".*", "^$", ".*")
        async with bus_with("journal", tmp_path) as (bus, options):
            url = vhost.replace("guest:guest@", f"{name}:secret@")
            _, link = await rabbit(url, bus=bus, receive=[], exchange="kapps", **options)
            for n in range(10):
                await emit(bus, n)
            await until(lambda: "ACCESS_REFUSED" in str(link.statistics().last_error))
            assert link.statistics().dropped == {}
            await actl("set_permissions", "-p", name, name, ".*", ".*", ".*")
            await until(lambda: link.statistics().sent == 10)
            await link.aclose()
    finally:
        await actl("delete_user", name)

    assert taken(seen) == list(range(10))


async def full_queue(raw, exchange):
    """A queue that has one message, takes no more, and rejects what is published."""
    arguments = {"x-max-length": 1, "x-overflow": "reject-publish"}
    declared = await raw.channel.queue_declare(exclusive=True, arguments=arguments)
    await raw.channel.queue_bind(declared.queue, exchange, "edr.ok.info.*.full")
    await raw.channel.basic_publish(b"{}", exchange=exchange, routing_key="edr.ok.info.x.full")
    return declared.queue


@slow
@outboxes
async def test_a_full_queue_gets_few_copies_and_stops_no_other(
    rabbit, raw, exchange, tmp_path, outbox, monkeypatch
):
    monkeypatch.setattr("edr.links.rabbitmq_confirms.RETRY_AFTER", (0.01, 0.05))
    await full_queue(raw, exchange)
    seen = await raw.consume("#")
    async with bus_with(outbox, tmp_path) as (bus, options):
        _, link = await rabbit(bus=bus, receive=[], **options)
        for n in range(20):
            await emit(bus, n, app="full" if n % 2 else "app")
        await until(lambda: link.statistics().dropped.get("nack") == 10)
        await until(lambda: link.statistics().sent == 10)
        counts = link.statistics()
        await link.aclose()

    assert (counts.uncertain, counts.reconnects, counts.pending) == (0, 0, 0)
    found = taken(seen)
    assert set(found) == set(range(20))
    assert len(found) == 10 + 3 * 10
    assert "basic.nack" in counts.last_error


@slow
async def test_a_rejected_event_is_sent_when_the_queue_has_room(rabbit, raw, exchange):
    queue = await full_queue(raw, exchange)
    bus, link = await rabbit(receive=[])
    await emit(bus, 1, app="full")
    await asyncio.sleep(0)
    await raw.channel.queue_purge(queue)
    await until(lambda: link.statistics().sent == 1)

    assert link.statistics().dropped == {}


@slow
async def test_an_event_that_no_queue_wants_counts_as_sent(rabbit):
    bus, link = await rabbit(receive=[])
    await emit(bus, 1)
    await until(lambda: link.statistics().sent == 1)

    assert link.statistics().state is ConnectionState.UP
    assert is_balanced(link.statistics())


@slow
@outboxes
async def test_an_event_that_cannot_be_encoded_stops_no_other(
    rabbit, raw, tmp_path, outbox, monkeypatch
):
    encode = edr.wire.kazoo.encode

    def encode_some(event):
        return encode(event) if event.body["n"] != 1 else 1 / 0

    monkeypatch.setattr(edr.wire.kazoo, "encode", encode_some)
    seen = await raw.consume("#")
    async with bus_with(outbox, tmp_path) as (bus, options):
        _, link = await rabbit(bus=bus, receive=[], **options)
        for n in range(3):
            await emit(bus, n)
        await until(lambda: link.statistics().sent == 2)
        counts = link.statistics()
        await link.aclose()

    assert counts.dropped == {"invalid": 1}
    assert taken(seen) == [0, 2]
