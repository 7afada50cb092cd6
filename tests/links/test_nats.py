"""NatsLink with real servers: what is subscribed here arrives from there, once and in order."""

import os
import random

import pytest
from links.test_subject import random_binding, random_event
from support.consuming import ready, take, take_ready, ticks, until
from support.forking import fork

import edr
from edr.journal import SqliteJournal
from edr.links import ConnectionState, LinkRefusedError
from edr.sinks import LinkPart

nats = pytest.importorskip("nats", reason="needs nats: pip install 'edr[nats]'")


async def emit(bus, *numbers, app="app", **fields):
    for n in numbers:
        await bus.emit(app, "1", "ok", "info", {"n": n}, **fields)


async def raw(stack_url, *messages):
    """Publish what no link would."""
    client = await nats.connect(stack_url)
    for subject, payload in messages:
        await client.publish(subject, payload)
    await client.flush()
    await client.close()


async def test_an_event_arrives_as_it_was_emitted(machine):
    here, _ = await machine("here")
    there, link = await machine("there")
    arrives, stays = there.subscribe(), here.subscribe()
    await link.ready()
    await here.emit("app", "1", "critical", "error", {"a": [1, None, "é"]}, account_id="x.y")

    assert await anext(arrives) == await anext(stays)


async def test_connect_makes_a_bus_that_is_joined(machine, nats_server):
    here, link = await machine("here")
    events = here.subscribe()
    await link.ready()
    async with edr.connect(nats_server.url, bus={"node": "there"}) as (there, link):
        await emit(there, 1)

    assert await take(events, 1) == [1]


async def test_what_nobody_wants_is_not_sent_here(machine):
    here, _ = await machine("here")
    there, link = await machine("there")
    events = there.subscribe(edr.Binding(account_id="a7"))
    await link.ready()
    for n in range(100):
        await emit(here, n, account_id=f"a{n}")
    await emit(here, 100, account_id="a7")

    assert await take(events, 2) == [7, 100]
    assert link.statistics().received == 2
    assert link.statistics().patterns == 1


async def test_interest_follows_subscriptions_as_they_come_and_go(machine):
    here, _ = await machine("here")
    there, link = await machine("there", linger=0.05)
    first = there.subscribe(edr.Binding(app_name="a"))
    second = there.subscribe(edr.Binding(app_name="b"))
    await link.ready()
    first.shutdown()
    await until(lambda: link.statistics().patterns == 1)
    await emit(here, 1, app="a")
    await emit(here, 2, app="b")

    assert await take(second, 1) == [2]
    assert link.statistics().received == 1
    second.shutdown()
    await until(lambda: link.statistics().patterns == 0)


async def test_what_comes_back_within_the_linger_is_asked_for_all_the_time(machine):
    here, _ = await machine("here")
    there, link = await machine("there", linger=60.0)
    there.subscribe(edr.Binding(app_name="a")).shutdown()
    there.subscribe(edr.Binding(app_name="a")).shutdown()
    await until(lambda: link.statistics().patterns == 0 or link._transport._subscribed)
    kept = there.subscribe(edr.Binding(app_name="a"))
    await link.ready()
    before = dict(link._transport._subscribed)
    kept.shutdown()
    again = there.subscribe(edr.Binding(app_name="a"))
    await link.ready()
    await emit(here, 1, app="a")

    assert await take(again, 1) == [1]
    assert link._transport._subscribed == before


async def test_an_own_event_comes_once_and_does_not_come_back(machine):
    here, link = await machine("here")
    there, other = await machine("there")
    own, far = here.subscribe(), there.subscribe()
    await link.ready()
    await other.ready()
    await emit(here, 1)
    await take(far, 1)
    await emit(there, 2)

    assert await take(own, 2) == [1, 2]
    assert link.statistics().received == 1
    assert link.statistics().duplicates == other.statistics().duplicates == 0
    assert other.statistics().offered == 1


async def test_the_order_of_an_emitter_holds_through_several_patterns(machine):
    here, _ = await machine("here")
    there, link = await machine("there")
    bindings = [edr.Binding(app_name=f"app{n}") for n in range(7)]
    events = there.subscribe(*bindings, capacity=10_000)
    await link.ready()
    for n in range(3000):
        await emit(here, n, app=f"app{n % 7}")

    assert await take(events, 3000) == list(range(3000))
    assert link.statistics().patterns == 7


async def test_an_event_that_two_patterns_match_comes_once(machine):
    here, _ = await machine("here")
    there, link = await machine("there")
    events = there.subscribe(edr.Binding(app_name="a"), edr.Binding(account_id="x"))
    await link.ready()
    await emit(here, 1, app="a", account_id="x")
    await emit(here, 2, app="b", account_id="x")

    assert await take(events, 2) == [1, 2]
    assert link.statistics().received == 2
    assert link.statistics().duplicates == 0


async def test_who_gets_an_event_is_what_bindings_say_whatever_the_names(machine):
    draw = random.Random(7)
    here, _ = await machine("here", send=[edr.Binding(verbosity="trace")])
    there, link = await machine("there")
    bindings = [random_binding(draw) for _ in range(60)]
    events = [random_event(draw) for _ in range(300)]
    subscriptions = [there.subscribe(binding, name=str(binding)) for binding in bindings]
    await link.ready()
    for event in events:
        await here.publish(event)
    end = there.subscribe(edr.Binding(app_name="end"))
    await link.ready()
    await emit(here, 0, app="end")
    await take(end, 1)

    for binding, subscription in zip(bindings, subscriptions, strict=True):
        expected = [event for event in events if binding.matches(event)]
        assert [event for event in ready(subscription) if event.app_name != "end"] == expected
    assert link.statistics().refused == {}


async def test_beyond_the_limit_of_patterns_the_bus_decides(machine):
    here, _ = await machine("here")
    there, link = await machine("there", max_patterns=10)
    events = [there.subscribe(edr.Binding(account_id=f"a{n}")) for n in range(300)]
    await link.ready()
    await emit(here, 1, account_id="a299")
    await emit(here, 2, account_id="nobody's")
    await emit(here, 3, account_id="a0")

    assert await take(events[0], 1) == [3]
    assert take_ready(events[299]) == [1]
    assert link.statistics().patterns == 1
    assert link.statistics().received == 3


async def test_a_link_may_ask_for_fixed_bindings_or_nothing(machine):
    here, _ = await machine("here")
    there, fixed = await machine("there", receive=[edr.Binding(app_name="a")])
    deaf, none = await machine("deaf", receive=())
    events, unheard = there.subscribe(), deaf.subscribe()
    await emit(here, 1, app="b")
    await emit(here, 2, app="a")

    assert await take(events, 1) == [2]
    assert (fixed.statistics().patterns, none.statistics().patterns) == (1, 0)
    assert take_ready(unheard) == []


async def test_only_what_send_says_is_sent(machine):
    here, link = await machine("here", send=[edr.Binding(severity="critical")])
    await emit(here, 1)
    await here.emit("app", "1", "critical", "info", {"n": 2})

    assert await link.drain() == 0
    assert link.statistics().sent == link.statistics().offered == 1


async def test_two_prefixes_are_two_worlds(machine):
    here, _ = await machine("here", prefix="blue")
    there, link = await machine("there", prefix="blue.green")
    events = there.subscribe()
    await link.ready()
    await emit(here, 1)
    same, other = await machine("same", prefix="blue.green")
    await emit(same, 2)

    assert await take(events, 1) == [2]
    assert other.statistics().state is ConnectionState.UP


# What is not for this bus


async def test_what_is_no_event_is_counted_and_nothing_breaks(machine, nats_server, caplog):
    there, link = await machine("there")
    events = there.subscribe()
    await link.ready()
    good = random_event(random.Random(1)).model_copy(
        update={"account_id": None, "account_tree": (), "app_name": "a", "body": {"n": 1}}
    )
    document = good.model_copy(update={"severity": "ok", "verbosity": "info"}).to_json()
    subject = "edr.~.a.-.-.d.i.-.-.-.1"
    await raw(
        nats_server.url,
        (subject, b"no JSON"),
        (subject, b"[" * 100_000),
        (subject, b"\xff\xfe"),
        (subject, document.replace(b'"ok"', b'"worse"')),
        (subject, document.replace(b'"body"', b'"boty"')),
        (subject, document[:-1] + b',"of the future":1}'),
    )

    assert await take(events, 1) == [1]
    assert link.statistics().refused == {"invalid": 5}
    assert "refused a message (invalid)" in caplog.text


async def test_an_event_under_a_subject_that_is_not_its_own_is_refused(machine, nats_server):
    there, link = await machine("there")
    events = there.subscribe()
    await link.ready()
    event = edr.Event(
        app_name="a", app_version="1", severity="ok", verbosity="info", body={}, account_id="victim"
    )
    await raw(
        nats_server.url,
        ("edr.attacker.a.-.-.d.i.-.-.-.1", event.to_json()),
        ("edr.victim.a.-.-.d.i.-.-.-.root.1", event.to_json()),
        ("edr.victim.a.-.-.d.i.-.-.-.9", event.to_json()),
        ("edr.victim.a.-.-.d.i.-.-.-.x", event.to_json()),
    )
    await until(lambda: link.statistics().received == 4)

    assert link.statistics().refused == {"mismatch": 2, "hops": 2}
    assert "edr.victim" in link.statistics().last_error
    assert take_ready(events) == []


async def test_an_event_that_is_too_large_for_the_server_is_dropped_and_named(machine, caplog):
    async with edr.Bus(node="here", max_body=2_000_000) as here:
        _, link = await machine("here", bus=here)
        await here.emit("big", "1", "ok", "info", {"n": "x" * 1_100_000})
        await emit(here, 2)
        await link.drain()

    assert link.statistics().dropped == {"too_large": 1}
    assert link.statistics().sent == 1
    assert "of 'big' (too_large): its" in caplog.text


# Many buses


async def test_two_buses_joined_by_two_brokers_have_each_event_once(machine, own_server):
    second = own_server()
    here, by_first = await machine("here")
    there, from_first = await machine("there")
    _, by_second = await machine("here", second.url, bus=here)
    _, from_second = await machine("there", second.url, bus=there)
    events = there.subscribe(capacity=1000)
    for link in (by_first, by_second, from_first, from_second):
        await link.ready()
    await emit(here, *range(100))
    end = await take(events, 100)
    for link in (by_first, by_second):
        await link.drain()

    assert sorted(end) == list(range(100))
    await until(lambda: sum(x.statistics().received for x in (from_first, from_second)) == 200)
    assert sum(x.statistics().duplicates for x in (from_first, from_second)) == 100
    assert take_ready(events) == []


async def test_a_ring_of_three_buses_has_each_event_once(machine, own_server):
    urls = [own_server().url for _ in range(3)]
    buses = [edr.Bus(node=f"bus{n}") for n in range(3)]
    links = []
    for n, bus in enumerate(buses):
        for url in (urls[n], urls[n - 1]):
            links.append((await machine(bus.node, url, bus=bus))[1])
    heard = [bus.subscribe(capacity=1000) for bus in buses]
    for link in links:
        await link.ready()
    for n, bus in enumerate(buses):
        await emit(bus, *range(100 * n, 100 * n + 50))
    arrived = [sorted(await take(events, 150)) for events in heard]
    for link in links:
        await link.drain()

    assert arrived == [[n for n in range(300) if n % 100 < 50]] * 3
    assert [take_ready(events) for events in heard] == [[], [], []]
    for bus in buses:
        await bus.aclose()


async def test_an_event_crosses_so_many_links_and_no_more(machine, own_server):
    """A chain of buses over a chain of servers; each bus passes on what it hears."""
    urls = [own_server().url for _ in range(3)]
    buses = [edr.Bus(node=f"bus{n}") for n in range(4)]
    links = []
    for url, left, right in zip(urls, buses[:-1], buses[1:], strict=True):
        for bus in (left, right):
            links.append((await machine(bus.node, url, bus=bus, max_hops=2))[1])
    second, last = buses[2].subscribe(), buses[3].subscribe()
    for link in links:
        await link.ready()
    await emit(buses[0], 1)
    await emit(buses[1], 2)

    assert sorted(await take(second, 2)) == [1, 2]
    assert await take(last, 1) == [2]
    assert links[4].statistics().dropped == {"hops": 1}
    for bus in buses:
        await bus.aclose()


# What a server does not permit


PERMISSIONS = """
authorization {
  users = [
    { user: acme, password: s3cret, permissions: {
        publish: "edr.acme.>"
        subscribe: ["edr.acme.>", "_INBOX.>"] } }
    { user: all, password: s3cret }
  ]
}
"""


async def test_what_is_not_permitted_is_named_in_state_and_log(machine, own_server, caplog):
    server = own_server(config=PERMISSIONS)
    tenant, link = await machine("t", server.url.replace("//", "//acme:s3cret@"))
    watcher, watching = await machine("w", server.url.replace("//", "//all:s3cret@"))
    heard, own, others = (
        watcher.subscribe(),
        tenant.subscribe(edr.Binding(account_id="acme")),
        tenant.subscribe(edr.Binding(account_id="rival")),
    )
    await link.ready()
    await watching.ready()
    await emit(tenant, 1, account_id="rival")
    await emit(tenant, 2, account_id="acme")
    await emit(watcher, 3, account_id="rival")
    await emit(watcher, 4, account_id="acme")

    assert sorted(await take(heard, 3)) == [2, 3, 4]
    assert await take(own, 2) == [2, 4]
    assert take_ready(others) == [1]
    await until(lambda: link.statistics().pending == 0)
    counts = link.statistics()
    assert (counts.sent, counts.dropped, counts.state) == (1, {"not_permitted": 1}, "up")
    assert counts.patterns == 1
    assert 'violation for publish to "edr.rival.app' in counts.last_error
    assert (
        'is not permitted to receive: permissions violation for subscription to "edr.rival'
        in caplog.text
    )
    assert (
        'is not permitted to send: permissions violation for publish to "edr.rival' in caplog.text
    )


async def test_a_denied_subscription_named_publish_denies_no_event(machine, own_server):
    server = own_server(config=PERMISSIONS)
    tenant, link = await machine("t", server.url.replace("//", "//acme:s3cret@"))
    tenant.subscribe(edr.Binding(account_id="rival", app_name="publisher"))
    await link.ready()
    await until(lambda: "publisher" in str(link.statistics().last_error))
    await emit(tenant, *range(3), account_id="acme")
    await until(lambda: link.statistics().pending == 0)

    assert (link.statistics().sent, link.statistics().dropped) == (3, {})
    assert link.statistics().patterns == 0


async def test_a_wrong_password_is_raised_at_the_start_and_nowhere_shown(bus, own_server, caplog):
    from edr.links import NatsLink

    url = own_server(config=PERMISSIONS).url.replace("//", "//acme:wr0ng@")
    link = NatsLink(bus, url)
    with pytest.raises(LinkRefusedError, match="does not let this link in"):
        await link.start()

    assert link.statistics().state is ConnectionState.CLOSED
    assert "wr0ng" not in caplog.text + repr(link) + str(link.statistics())


async def test_an_old_server_is_refused(bus, own_server):
    from support.nats_server import OLD_SERVER

    from edr.links import NatsLink

    if not OLD_SERVER.exists():
        pytest.skip(f"needs nats: no old server at {OLD_SERVER}")
    with pytest.raises(LinkRefusedError, match=r"the server is NATS 2\.9, and links need 2\.10"):
        await NatsLink(bus, own_server(binary=str(OLD_SERVER)).url).start()


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "http://x"},
        {"url": "nats://"},
        {"max_patterns": 0},
        {"max_hops": 0},
        {"receive": "all"},
        {"client": {"no_echo": False}},
        {"prefix": "a b"},
    ],
    ids=str,
)
async def test_wrong_arguments_are_refused(bus, wrong):
    from edr.links import NatsLink

    with pytest.raises(ValueError, match="must|not|itself"):
        NatsLink(**{"bus": bus, "url": "nats://x"} | wrong)


async def test_a_fork_leaves_the_link_to_its_parent(machine):
    here, link = await machine("here")
    there, other = await machine("there")
    events = there.subscribe()
    await other.ready()
    pid = fork()
    if pid == 0:
        coroutine = link.aclose()
        try:
            coroutine.send(None)
        except StopIteration:
            os._exit(7)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    await emit(here, 1)

    assert await take(events, 1) == [1]
    assert link.statistics().reconnects == 0
    await ticks()


@pytest.mark.slow
async def test_a_link_part_delivers_a_backlog_after_a_restart(machine, nats_server, tmp_path):
    there, other = await machine("there")
    events = there.subscribe()
    await other.ready()
    async with SqliteJournal(tmp_path / "journal") as journal, edr.Bus(journal=journal) as bus:

        def make(send):
            return edr.links.NatsLink(
                bus, nats_server.url, name="out", send=send, receive=(), journal=journal
            )

        part = LinkPart("out", make, (edr.Binding(app_name="app"),), journal=journal, bus=bus)
        await part.prepare()
        await emit(bus, 1, 2)
        await journal.flush()
        await part.start()
        assert await take(events, 2) == [1, 2]
        await part.restart()
        await emit(bus, 3)
        assert await take(events, 1) == [3]
        assert await part.drain(20) == 0
        assert part.status()["delivered"] == 3
        await part.aclose()
