"""What RabbitLink promises, on a real RabbitMQ."""

import asyncio
import struct
from urllib.parse import urlsplit

import orjson
import pytest
from support.consuming import until
from support.kazoo_samples import DISK, DISK_KEY, LOGIN, LOGIN_KEY, SAMPLES
from support.rabbitmq_server import URL, is_balanced, take_events

import edr
from edr.journal import SqliteJournal
from edr.links import LinkRefusedError, RabbitLink
from edr.sinks import LinkPart
from edr.wire import kazoo

pytestmark = pytest.mark.slow  # they talk to servers, or start their own

GREGORIAN = 63_871_200_000 * 10**6


async def emit(bus, *numbers, app="app", **fields):
    for n in numbers:
        await bus.emit(app, "1", "ok", "info", {"n": n}, **fields)


async def test_what_is_emitted_here_arrives_there_in_order(rabbit):
    here, link = await rabbit()
    there, other = await rabbit()
    events = there.subscribe()
    await other.ready()
    await emit(here, *range(500))

    assert [event.body["n"] for event in await take_events(events, 500)] == list(range(500))
    await until(lambda: link.statistics().sent == 500)
    assert other.statistics().delivered == 500


async def test_fields_survive_but_for_what_kazoos_wire_has_no_place_for(rabbit):
    here, _ = await rabbit()
    there, other = await rabbit()
    events, at_home = there.subscribe(), here.subscribe()
    await other.ready()
    await here.emit("my.app v2", "1.0", "critical", "fatal", {"a": {"b": [1, None, ""]}}, "x.y")

    (arrived,), (emitted,) = await take_events(events, 1), await take_events(at_home, 1)
    assert arrived == emitted.model_copy(
        update={"timestamp": emitted.timestamp.replace(microsecond=0)}
    )


@pytest.mark.parametrize(("key", "payload"), SAMPLES)
async def test_kazoos_own_messages_with_their_time_stamp_are_received(rabbit, raw, key, payload):
    there, link = await rabbit()
    events = there.subscribe()
    await link.ready()
    await raw.publish(key, payload, timestamp=GREGORIAN)

    assert await take_events(events, 1) == [kazoo.decode(payload)]
    assert link.statistics().reconnects == 0


@pytest.mark.parametrize(("key", "payload"), SAMPLES)
async def test_what_is_sent_is_what_kazoo_sends_byte_for_byte(
    rabbit, raw, rabbit_proxy, key, payload
):
    here, _ = await rabbit(send=[edr.Binding(verbosity="trace")])
    seen = await raw.consume("#", through=rabbit_proxy)
    await here.publish(kazoo.decode(payload))
    await until(lambda: b'"Event-Category"' in rabbit_proxy.said and seen)

    message = seen[0]
    assert message.delivery.routing_key == key
    ours, theirs = orjson.loads(message.body), orjson.loads(payload)
    ours["Msg-ID"] = theirs["Msg-ID"]
    assert orjson.dumps(ours) == payload
    # A content header: its class (60), weight, size of the body, then flags and properties.
    header = struct.pack(">HHQ", 60, 0, len(payload))
    at = rabbit_proxy.said.index(header) + len(header)
    properties = rabbit_proxy.said[at : rabbit_proxy.said.index(b"\xce", at + 27)]
    seconds = orjson.loads(payload)["Gregorian-Time"]
    flags = struct.pack(">H", 0x8000 | 0x0040)  # content type and time stamp
    expected = flags + b"\x10application/json" + struct.pack(">Q", seconds * 10**6)
    assert properties == expected


async def test_only_what_somebody_wants_is_asked_for(rabbit, raw):
    there, link = await rabbit()
    events = there.subscribe(edr.Binding(app_name="acdc", account_id="a", severity="critical"))
    await link.ready()
    for account in ("a", "b"):
        for app in ("acdc", "callflow"):
            for severity in ("ok", "critical"):
                await raw.publish_event(app, severity, account_id=account)
    await raw.publish_event("acdc", "critical", account_id="a")

    assert len(await take_events(events, 2)) == 2
    assert link.statistics().received == 2


async def test_a_subscription_that_comes_and_goes_changes_what_is_asked_for(rabbit, monkeypatch):
    monkeypatch.setattr("edr.links.rabbitmq_keys.LINGER", 0.0)
    there, link = await rabbit()
    assert link.statistics().patterns == 0
    many = [there.subscribe(edr.Binding(account_id=f"a{n}")) for n in range(20)]
    await link.ready()
    assert link.statistics().patterns == 80
    for subscription in many:
        subscription.shutdown()

    await until(lambda: link.statistics().patterns == 0)


async def test_ten_thousand_subscriptions_that_come_and_go_leave_nothing(
    rabbit, rabbitmq, vhost, monkeypatch
):
    monkeypatch.setattr("edr.links.rabbitmq_keys.LINGER", 0.1)
    there, link = await rabbit(vhost, exchange="kapps")
    name = vhost.rpartition("/")[2]
    kept = []
    for n in range(10_000):
        kept.append(there.subscribe(edr.Binding(account_id=f"a{n}")))
        if n % 3 == 0:
            kept.pop(n % len(kept)).shutdown()
        if n % 100 == 0:
            await asyncio.sleep(0)
    await link.ready()
    assert link.statistics().patterns <= 1024
    for subscription in kept:
        subscription.shutdown()
    await until(lambda: link.statistics().patterns == 0)

    bindings = await rabbitmq.actl("list_bindings", "-p", name, "source_name", "routing_key")
    assert [each for each in bindings if each[0] == "kapps"] == []


async def test_above_max_keys_accounts_become_any_and_routes_still_decide(rabbit, raw):
    there, link = await rabbit(max_keys=8)
    wanted = there.subscribe(*(edr.Binding(account_id=f"a{n}") for n in range(5)))
    await link.ready()
    assert link.statistics().patterns == 4
    await raw.publish_event(account_id="stranger")
    await raw.publish_event(account_id="a3")

    assert [event.account_id for event in await take_events(wanted, 1)] == ["a3"]
    assert link.statistics().received == 2


async def test_descendants_and_dotted_names_are_found(rabbit, raw):
    there, link = await rabbit()
    below = there.subscribe(
        edr.Binding(account_id="root", include_descendants=True, app_name="my.app")
    )
    await link.ready()
    await raw.publish_event("my.app", account_id="x.y", account_tree=["other"])
    await raw.publish_event("my.app", account_id="x.y", account_tree=["root"])

    (event,) = await take_events(below, 1)
    assert event.account_tree == ("root",)


async def test_with_bindings_to_receive_nothing_else_reaches_the_bus(rabbit, raw):
    there, link = await rabbit(receive=[edr.Binding(account_id="root", include_descendants=True)])
    everything = there.subscribe()
    await raw.publish_event(account_id="stranger")
    await raw.publish_event(account_id="root")

    assert [event.account_id for event in await take_events(everything, 1)] == ["root"]
    assert link.statistics().refused == {"unwanted": 1}
    assert is_balanced(link.statistics())


async def test_what_the_broker_returns_is_not_seen_twice(rabbit):
    here, link = await rabbit()
    events = here.subscribe()
    await link.ready()
    await emit(here, *range(100))
    await until(lambda: link.statistics().duplicates == 100)

    assert [event.body["n"] for event in await take_events(events, 100)] == list(range(100))
    assert events.statistics().offered == 100
    await until(lambda: link.statistics().sent == 100)


async def test_in_a_ring_of_buses_over_two_exchanges_each_event_comes_once(rabbit, exchange):
    buses = [await rabbit() for _ in range(3)]
    for bus, _ in buses:
        await rabbit(bus=bus, exchange=f"{exchange}-second")
    counters = [bus.subscribe() for bus, _ in buses]
    for _, link in buses:
        await link.ready()
    for position, (bus, _) in enumerate(buses):
        await emit(bus, *range(position * 100, position * 100 + 50))
    await asyncio.gather(*(take_events(events, 150) for events in counters))
    await asyncio.sleep(0.3)  # for what should not come

    assert [events.statistics().offered for events in counters] == [150] * 3


async def test_a_link_that_only_receives_sends_nothing_and_the_other_way_round(rabbit, raw):
    bus, link = await rabbit(send=[])
    seen = await raw.consume("#")
    events = bus.subscribe()
    await link.ready()
    await emit(bus, 1)
    await raw.publish_event(body={"n": 2})
    assert len(await take_events(events, 2)) == 2
    deaf, other = await rabbit(receive=[])
    await emit(deaf, 3)
    await until(lambda: len(seen) == 2)

    assert [orjson.loads(each.body)["Body"]["n"] for each in seen] == [2, 3]
    assert other.statistics().received == link.statistics().sent == 0


async def test_what_is_no_event_is_rejected_for_good_and_counted(rabbit, raw):
    there, link = await rabbit(receive=[edr.Binding()], queue="edr-test-bad", durable=True)
    events = there.subscribe()
    login = orjson.loads(LOGIN)
    for bad in (b"", b"{", b"[]", b"\xff\xfe", b'{"Event-Category":"edr"}', b"x" * 300_000):
        await raw.publish(LOGIN_KEY, bad)
    await raw.publish(LOGIN_KEY, orjson.dumps(login | {"Severity": "worse"}))
    await raw.publish(LOGIN_KEY, orjson.dumps(login | {"New-Field": 1}))
    await raw.publish(DISK_KEY, DISK)

    assert await take_events(events, 2) == [kazoo.decode(LOGIN), kazoo.decode(DISK)]
    assert link.statistics().refused == {"invalid": 7}
    assert "Severity" in link.statistics().last_error
    assert is_balanced(link.statistics())
    await link.aclose()
    assert await raw.messages_in("edr-test-bad") == 0
    assert link.statistics().reconnects == 0


async def test_a_key_that_amqp_cannot_carry_is_dropped_counted_and_said(rabbit, caplog):
    here, link = await rabbit()
    await emit(here, 1, app="x" * 300)
    await emit(here, 2, app="é" * 125)  # in characters it fits
    await emit(here, 3)
    await until(lambda: link.statistics().sent == 1)

    assert link.statistics().dropped == {"oversize_key": 2}
    assert link.statistics().reconnects == 0
    assert "255 bytes" in caplog.text


async def test_a_large_event_goes_through_in_many_frames(rabbit):
    async with edr.Bus(max_body=4_000_000) as here, edr.Bus(max_body=4_000_000) as there:
        await rabbit(bus=here)
        _, other = await rabbit(bus=there)
        events = there.subscribe()
        await other.ready()
        await here.emit("app", "1", "ok", "info", {"text": "x" * 3_000_000})

        (event,) = await take_events(events, 1)
        assert len(event.body["text"]) == 3_000_000
        await events.aclose()


async def test_a_durable_queue_keeps_what_is_published_while_nobody_is_there(rabbit, raw):
    options = {"receive": [edr.Binding()], "queue": "edr-test-durable", "durable": True}
    _, first = await rabbit(**options)
    await first.aclose()
    await raw.publish_event(body={"n": 1})
    await raw.publish_event(body={"n": 2})
    bus, link = await rabbit(start=False, **options)
    events = bus.subscribe()
    await link.start()

    assert [event.body["n"] for event in await take_events(events, 2)] == [1, 2]
    await link.aclose()
    assert await raw.messages_in("edr-test-durable") == 0


async def test_a_named_queue_is_shared_so_that_each_event_goes_to_one(rabbit, raw):
    options = {"receive": [edr.Binding()], "queue": "edr-test-shared", "prefetch": 10}
    parts = [await rabbit(**options) for _ in range(2)]
    for n in range(100):
        await raw.publish_event(body={"n": n})
    await until(lambda: sum(link.statistics().delivered for _, link in parts) == 100)

    assert all(link.statistics().delivered for _, link in parts)


async def test_connect_makes_a_bus_of_an_amqp_url(rabbit, exchange):
    there, link = await rabbit()
    events = there.subscribe()
    await link.ready()
    async with edr.connect(URL, exchange=exchange, receive=[]) as (bus, link):
        await emit(bus, 1)

    assert len(await take_events(events, 1)) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"durable": True}, "durable=True needs"),
        ({"durable": True, "queue": "q"}, "durable=True needs"),
        ({"durable": True, "queue": "q", "receive": []}, "durable=True needs"),
        ({"prefetch": 0}, "prefetch"),
        ({"ack": "stored"}, "needs a bus with a journal"),
        ({"ack": "done"}, "ack must be"),
        ({"max_keys": 0}, "max_keys"),
        ({"receive": "all"}, "receive"),
        ({"overflow": "block"}, "overflow"),
        ({"url": "http://127.0.0.1"}, "must be amqp://"),
        ({"url": "127.0.0.1"}, "must be amqp://"),
    ],
)
async def test_options_that_cannot_work_are_refused(bus, options, words):
    with pytest.raises(ValueError, match=words):
        RabbitLink(bus, **{"url": URL, **options})


async def test_a_wrong_password_is_refused_and_stands_nowhere(bus, caplog):
    parts = urlsplit(URL)
    wrong = parts._replace(netloc=f"{parts.username}:s3cret@{parts.netloc.split('@')[-1]}").geturl()
    link = RabbitLink(bus, wrong, exchange="edr-test")
    with pytest.raises(LinkRefusedError, match="ACCESS_REFUSED"):
        await link.start()

    assert "s3cret" not in caplog.text + repr(link) + repr(link.statistics())


async def test_another_kind_of_exchange_under_that_name_is_refused(bus, raw, exchange):
    await raw.channel.exchange_delete(exchange)
    await raw.channel.exchange_declare(exchange, exchange_type="topic", durable=True)
    with pytest.raises(LinkRefusedError, match="durable"):
        await RabbitLink(bus, URL, exchange=exchange).start()


async def test_beside_a_kazoo_cluster_the_exchange_is_its_own(vhost, raw_at, bus):
    kazoo_side = await raw_at(vhost, "kapps")
    await kazoo_side.channel.exchange_declare("kapps", exchange_type="topic", durable=False)
    events = bus.subscribe()
    async with RabbitLink(bus, vhost) as link:
        await link.ready()
        await kazoo_side.publish(LOGIN_KEY, LOGIN, timestamp=GREGORIAN)
        assert await take_events(events, 1) == [kazoo.decode(LOGIN)]

    assert link.statistics().refused == {}


async def test_a_link_part_delivers_a_backlog_after_an_outage(
    rabbit, rabbit_proxy, exchange, tmp_path
):
    there, other = await rabbit()
    events = there.subscribe()
    await other.ready()
    async with SqliteJournal(tmp_path / "journal") as journal, edr.Bus(journal=journal) as bus:

        def make(send):
            return RabbitLink(
                bus,
                rabbit_proxy.url,
                name="out",
                send=send,
                receive=(),
                journal=journal,
                exchange=exchange,
            )

        part = LinkPart("out", make, (edr.Binding(app_name="app"),), journal=journal, bus=bus)
        await part.start()
        await emit(bus, 1)
        assert [event.body["n"] for event in await take_events(events, 1)] == [1]
        await rabbit_proxy.cut()
        await part.pause()
        await emit(bus, 2, 3)
        await bus.journal.flush()
        await part.resume()
        assert [event.body["n"] for event in await take_events(events, 2)] == [2, 3]
        assert await part.drain(20) == 0
        assert part.status()["delivered"] == 3
        await part.aclose()
