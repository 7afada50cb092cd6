"""What a JetStreamJournal does when its server refuses: it raises, counts and logs, and goes on."""

import asyncio
import logging

import pytest
from support.consuming import ticks, until
from support.fault_proxy import FaultProxy

import edr
from edr.journal import EventsRefusedError, JournalError, JournalFullError, JournalUnusableError

pytestmark = pytest.mark.slow  # they start servers of their own

jetstream = pytest.importorskip("edr.links.jetstream", reason="needs nats: pip install 'edr[nats]'")

KILOBYTE = 1024
MEGABYTE = 1 << 20


def make_event(n, size=0, **fields):
    fields = {"app_name": "app", "app_version": "1", "severity": "ok", "verbosity": "info"} | fields
    return edr.Event(body={"n": n, "fill": "x" * size}, **fields)


@pytest.fixture
async def open_journal(own_server):
    """Open a journal on a server of its own: `await open_journal(config)`."""
    made = []

    async def start(config="", *, server=None, stream="EVENTS", login="", **options):
        server = server or own_server(jetstream=True, config=config)
        options = {"create": True, "max_bytes": 16 * MEGABYTE, "timeout": 0.6} | options
        url = server.url.replace("//", f"//{login}")
        journal = jetstream.JetStreamJournal(url, stream, **options)
        made.append(journal)
        await journal.open()
        journal.server = server
        return journal

    yield start
    for journal in made:
        await journal.aclose()


async def numbers(journal):
    async with asyncio.timeout(20):
        return [entry.event.body["n"] async for entry in journal.cursor(after=0, live=False)]


async def ask(journal, verb, config=None):
    return await journal.api._ask(verb, config)


async def in_time(awaitable, seconds=20):
    return await asyncio.wait_for(awaitable, seconds)


# Refused permanently: one event


def denying(permissions):
    login = f"{{ user: svc, password: p, permissions: {{ {permissions} }} }}"
    return f"authorization {{ users: [ {login} ] }}"


async def test_event_without_permission_is_refused_and_others_go_on(open_journal, caplog):
    journal = await open_journal(
        denying('publish: { deny: "edr-journal.EVENTS.locked.>" }'), login="svc:p@"
    )
    with pytest.raises(EventsRefusedError, match="permissions violation for publish") as caught:
        await in_time(
            journal.append(make_event(1), make_event(2, account_id="locked"), make_event(3))
        )

    assert [each.event.body["n"] for each in caught.value.refusals] == [2]
    assert await numbers(journal) == [1, 3]
    assert (journal.statistics().failed, journal.statistics().waiting) == (1, 0)
    assert any(
        "permissions violation" in each.getMessage() and each.levelno == logging.ERROR
        for each in caplog.records
    )


async def test_event_larger_than_the_stream_is_refused_and_others_go_on(open_journal):
    journal = await open_journal(max_bytes=20 * KILOBYTE)
    with pytest.raises(EventsRefusedError, match="the stream holds 20480"):
        await journal.append(make_event(1), make_event(2, 20 * KILOBYTE), make_event(3))

    assert await numbers(journal) == [1, 3]


async def test_event_larger_than_the_message_limit_is_refused(open_journal):
    journal = await open_journal()
    config = (await journal.api.info())["config"]
    await ask(journal, "STREAM.UPDATE.EVENTS", {**config, "max_msg_size": 10 * KILOBYTE})
    with pytest.raises(EventsRefusedError, match="message size exceeds maximum allowed"):
        await journal.append(make_event(1), make_event(2, 10 * KILOBYTE), make_event(3))

    assert await numbers(journal) == [1, 3]


async def test_more_refused_events_than_the_window_stop_nothing(open_journal):
    journal = await open_journal("max_payload: 8192", max_pending=2_000)
    for n in range(600):
        assert journal.append_nowait(make_event(n, 10_000))
    with pytest.raises(EventsRefusedError) as caught:
        await journal.flush()
    await journal.append(make_event(600))

    assert caught.value.count == journal.statistics().failed == 600
    assert await numbers(journal) == [600]


# Another limit after a restart


@pytest.mark.parametrize(
    ("before", "after", "stored"), [(65_536, 8_192, False), (8_192, 65_536, True)]
)
async def test_size_is_checked_against_the_server_it_reconnects_to(
    open_journal, before, after, stored
):
    journal = await open_journal(f"max_payload: {before}", timeout=10.0)
    server = journal.server
    await journal.append(make_event(0))
    server.kill()
    await until(lambda: journal.api is None)
    waiting = [asyncio.ensure_future(journal.append(make_event(n, size))) for n, size in sizes()]
    await ticks()
    server.configure(f"max_payload: {after}")
    await server.restart()
    results = await in_time(asyncio.gather(*waiting, return_exceptions=True))

    refused = [isinstance(each, EventsRefusedError) for each in results]
    assert refused == [False, not stored, False]
    assert await numbers(journal) == ([0, 1, 2, 3] if stored else [0, 1, 3])


def sizes():
    return [(1, 10), (2, 20_000), (3, 10)]


# Refused for now


FULL_ACCOUNT = """
accounts { A: { users: [ { user: a, password: a } ], jetstream: { max_store: 60KB } } }
no_auth_user: a
"""


@pytest.mark.parametrize(
    ("config", "options", "words"),
    [
        (FULL_ACCOUNT, {"max_bytes": 50 * KILOBYTE}, "maximum bytes exceeded"),
        ("", {"max_events": 20}, "maximum messages exceeded"),
    ],
    ids=["bytes", "messages"],
)
async def test_full_stream_keeps_every_event(open_journal, config, options, words):
    journal = await open_journal(config, **options)
    await keeps_every_event(journal, words)


async def test_full_account_keeps_every_event(open_journal):
    first = await open_journal(FULL_ACCOUNT, stream="OTHER", max_bytes=30 * KILOBYTE)
    await first.append(make_event(0))
    journal = await open_journal(server=first.server, max_bytes=29 * KILOBYTE)
    config = (await journal.api.info())["config"]
    await ask(journal, "STREAM.DELETE.OTHER")
    await ask(journal, "STREAM.UPDATE.EVENTS", {**config, "max_bytes": -1})
    await keeps_every_event(journal, "resource limits exceeded for account")


async def keeps_every_event(journal, words):
    for n in range(100):
        assert journal.append_nowait(make_event(n, KILOBYTE))
    with pytest.raises(JournalFullError, match=words):
        await in_time(journal.flush())
    with pytest.raises(JournalFullError, match=words):  # at once, while nothing has changed
        await in_time(journal.append(make_event(100)), 0.5)
    assert journal.statistics().failed == 0
    assert journal.statistics().waiting > 0
    assert words in journal.statistics().error
    while journal.statistics().waiting:
        await ask(journal, "STREAM.PURGE.EVENTS")
        await asyncio.sleep(0.1)

    assert journal.statistics().appended == 101
    assert journal.statistics().error is None


async def test_no_room_in_the_queue_is_an_error_after_the_timeout(open_journal):
    journal = await open_journal(max_events=10, max_pending=20)
    for n in range(30):
        journal.append_nowait(make_event(n))
        await asyncio.sleep(0)
    with pytest.raises(JournalFullError, match="none was accepted"):
        await in_time(journal.append(*[make_event(n) for n in range(25)]))


async def test_append_raises_while_the_server_is_away_and_keeps_the_event(open_journal):
    journal = await open_journal()
    server = journal.server
    server.kill()
    await until(lambda: journal.api is None)
    with pytest.raises(JournalError, match="may yet be stored"):
        await in_time(journal.append(make_event(1)))
    await server.restart()
    await until(lambda: journal.statistics().appended)

    assert await in_time(numbers(journal)) == [1]


async def test_server_that_does_not_answer_is_an_error(open_journal, own_server):
    async with FaultProxy(own_server(jetstream=True).port) as proxy:
        journal = await open_journal(server=proxy)
        proxy.mute()
        with pytest.raises(JournalError, match="stored nothing for 0.6 s"):
            await in_time(journal.append(make_event(1)))
        proxy.unmute()
        await journal.aclose()


# A stream that cannot be used


async def recreate(journal):
    config = (await journal.api.info())["config"]
    await ask(journal, "STREAM.DELETE.EVENTS")
    await ask(journal, "STREAM.CREATE.EVENTS", config)


async def delete(journal):
    await ask(journal, "STREAM.DELETE.EVENTS")


async def seal(journal):
    config = (await journal.api.info())["config"]
    await ask(journal, "STREAM.UPDATE.EVENTS", {**config, "sealed": True})


@pytest.mark.parametrize("change", [delete, recreate, seal])
async def test_every_call_raises_when_the_stream_is_gone(open_journal, change, caplog):
    journal = await open_journal(timeout=10.0)
    await journal.append(*[make_event(n) for n in range(5)])
    reading, consumer = journal.cursor(after=5), await journal.consumer("r", start=5)
    waiting = [asyncio.ensure_future(anext(each)) for each in (reading, consumer)]
    await asyncio.sleep(0.1)
    await change(journal)
    calls = [journal.append(make_event(5)), journal.flush(), *waiting]
    results = await in_time(asyncio.gather(*calls, return_exceptions=True))
    final = await asyncio.gather(journal.append(make_event(6)), return_exceptions=True)

    assert isinstance(results[0], (JournalUnusableError, EventsRefusedError))
    assert {type(each) for each in results[2:]} == {JournalUnusableError}
    assert type(final[0]) is JournalUnusableError
    with pytest.raises(JournalUnusableError):
        journal.append_nowait(make_event(7))
    assert "stream EVENTS" in journal.statistics().error
    said = [each for each in caplog.records if "cannot be used any more" in each.getMessage()]
    assert len(said) == 1


async def test_bus_goes_on_when_the_stream_is_gone(open_journal):
    journal = await open_journal(timeout=10.0)
    async with edr.Bus(journal=journal) as bus:
        async with bus.subscribe() as events:
            await bus.emit("app", "1", "ok", "info", {"n": 1}, durable=True)
            await delete(journal)
            with pytest.raises(JournalUnusableError):
                await in_time(bus.emit("app", "1", "ok", "info", {"n": 2}, durable=True))
            await bus.emit("app", "1", "ok", "info", {"n": 3})

            assert [event.body["n"] for event in events.take(9)] == [1, 2, 3]
        assert bus.statistics().journal.failed == 2


@pytest.mark.parametrize(
    "setting",
    [
        {"no_ack": True},
        {"sealed": True},
        {"max_msgs_per_subject": 5},
        {"storage": "memory"},
        {"duplicate_window": 1_000_000_000},
        {"retention": "interest"},
        {"subject_transform": {"src": "edr-journal.EVENTS.>", "dest": "other.>"}},
    ],
    ids=lambda setting: next(iter(setting)),
)
async def test_stream_with_a_wrong_setting_is_refused_at_open(open_journal, setting):
    journal = await open_journal()
    config = (await journal.api.info())["config"]
    await delete(journal)
    sealed = {"sealed": setting["sealed"]} if "sealed" in setting else {}
    made = await ask(journal, "STREAM.CREATE.EVENTS", config | ({} if sealed else setting))
    if sealed:  # one that is there
        await ask(journal, "STREAM.UPDATE.EVENTS", made["config"] | sealed)
    with pytest.raises(JournalUnusableError, match=next(iter(setting))):
        await open_journal(server=journal.server)


async def test_stream_with_a_short_age_is_made_and_opened_again(open_journal):
    from datetime import timedelta

    journal = await open_journal(max_age=timedelta(seconds=30))
    again = await open_journal(server=journal.server)

    assert again.id == journal.id


# Permissions of the API


@pytest.mark.parametrize(
    ("denied", "words"),
    [
        ('subscribe: { deny: "_INBOX.>" }', "subscription to"),
        ('publish: { deny: "$JS.API.STREAM.INFO.>" }', "publish to"),
    ],
    ids=["inbox", "info"],
)
async def test_missing_permission_is_named_at_open(own_server, denied, words):
    server = own_server(jetstream=True, config=denying(denied))
    url = f"nats://svc:p@127.0.0.1:{server.port}"
    journal = jetstream.JetStreamJournal(url, "EVENTS", create=True, max_bytes=MEGABYTE)
    with pytest.raises(JournalError, match=f"permissions violation for {words}"):
        await in_time(journal.open(), 8)
    await journal.aclose()


@pytest.mark.parametrize("verb", ["CONSUMER.CREATE", "CONSUMER.MSG.NEXT"])
@pytest.mark.parametrize("is_named", [False, True], ids=["reading", "consumer"])
async def test_reading_without_permission_raises(open_journal, verb, is_named):
    journal = await open_journal(
        denying(f'publish: {{ deny: "$JS.API.{verb}.>" }}'), login="svc:p@"
    )
    await journal.append(make_event(1))

    async def read():
        reading = await journal.consumer("r") if is_named else journal.cursor(after=0)
        return await anext(reading)

    with pytest.raises(JournalError, match="permissions violation for publish"):
        await in_time(read(), 8)


async def test_reader_without_permission_to_ack_raises(open_journal):
    journal = await open_journal(denying('publish: { deny: "$JS.ACK.>" }'), login="svc:p@")
    await journal.append(make_event(1))
    consumer = await journal.consumer("r")
    consumer.ack(await anext(consumer))
    with pytest.raises(JournalError, match="permissions violation for publish"):
        await in_time(consumer.flush(), 8)
    with pytest.raises(JournalError, match="1 acks"):
        await in_time(consumer.aclose(), 8)


# Identity


async def test_events_that_differ_in_anything_are_stored_apart(open_journal):
    journal = await open_journal()
    first = make_event(1, id="1", node="a")
    others = [make_event(2, id="1", node="b"), make_event(3, id="1", node="a")]
    positions = [await journal.append(event) for event in (first, *others, first)]

    assert positions == [1, 2, 3, 1]
    assert await numbers(journal) == [1, 2, 3]
