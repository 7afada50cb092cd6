import asyncio

import pytest

import edr
import edr.control
from edr.cli.status import losses, rows_of
from edr.journal import SqliteJournal

QUIET = {
    "emits": 5,
    "dropped": {},
    "pending": 0,
    "stalled": 0,
    "callback_errors": 0,
    "refused": 0,
    "account_failures": 0,
    "tap_errors": 0,
}
SUBSCRIPTION = {
    "name": "board",
    "kind": "subscription",
    "overflow": "block",
    "offered": 7,
    "delivered": 7,
    "in_flight": 0,
    "dropped": {},
    "pending": 0,
    "capacity": 256,
    "oldest_age": 0.0,
    "stalled": False,
    "failed": 0,
    "last_error": None,
}
JOURNAL = {
    "first": 3,
    "last": 12,
    "bytes": 2048,
    "waiting": 0,
    "failed": 0,
    "corrupt": 0,
    "error": None,
    "consumers": [],
}
CONSUMER = {"name": "audit", "lag": 3, "unacked": 1, "missed": 0, "open": True}


def row(*, lag=0.001, bus=None, subscription=None, journal=None, consumer=None, part=None):
    """Return the row of the given component in a state without other faults."""
    state = {"bus": {**QUIET, **(bus or {})}, "loop_lag": lag, "subscriptions": [], "parts": []}
    if subscription is not None:
        state["subscriptions"] = [{**SUBSCRIPTION, **subscription}]
    if journal is not None or consumer is not None:
        consumers = [] if consumer is None else [{**CONSUMER, **consumer}]
        state["journal"] = {**JOURNAL, "consumers": consumers, **(journal or {})}
    if part is not None:
        state["parts"] = [{"kind": "sink", "name": "alarms", **part}]
    return list(rows_of(state))[-1]


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({}, ""),
        ({"lag": 0.7}, "the event loop is held up for 0.7 s"),
        ({"bus": {"stalled": 2}}, "2 further stalled subscriptions"),
        ({"subscription": {}}, ""),
        ({"subscription": {"stalled": True, "pending": 256}}, "stalled with 256 of 256 queued"),
        ({"journal": {}}, ""),
        ({"journal": {"error": "disk full"}}, "cannot store events: disk full"),
        ({"part": {"state": "open"}}, ""),
        ({"part": {"state": "retrying", "error": "503"}}, "retrying: 503"),
        ({"part": {"error": "503"}}, "503"),
        ({"part": {"state": "failed"}}, "failed"),
    ],
)
def test_fault_is_a_state_of_this_moment(given, fault):
    assert row(**given).fault == fault


@pytest.mark.parametrize(
    ("given", "warning"),
    [
        ({"bus": {"dropped": {"overflow": 1902}}}, "1,902 lost (overflow)"),
        (
            {"bus": {"callback_errors": 1, "refused": 2, "account_failures": 3, "tap_errors": 4}},
            "1 failed callback, 2 refused events, 3 failed account look-ups, 4 failed tap calls",
        ),
        (
            {"subscription": {"dropped": {"overflow": 2, "closed": 1}}},
            "3 lost (2 overflow, 1 closed)",
        ),
        (
            {"subscription": {"failed": 2, "last_error": "ValueError: x"}},
            "2 failed calls, last: ValueError: x",
        ),
        (
            {"subscription": {"pending": 258, "oldest_age": 1.2}},
            "full: 2 emits waiting for it",
        ),
        ({"subscription": {"pending": 9, "oldest_age": 7.4}}, "behind by 7.4 s"),
        ({"journal": {"failed": 1}}, "1 event not stored"),
        ({"journal": {"corrupt": 2}}, "2 unreadable entries"),
        ({"journal": {"consumers_error": "timeout"}}, "consumers unknown: timeout"),
        ({"consumer": {"missed": 2}}, "2 missed entries"),
        ({"part": {"lost": {"dead": 2}}}, "2 lost (dead)"),
        ({"part": {"lost": 1}}, "1 lost event"),
    ],
)
def test_loss_is_a_warning(given, warning):
    assert (row(**given).fault, row(**given).warning) == ("", warning)


@pytest.mark.parametrize(
    ("given", "detail"),
    [
        ({}, "5 events emitted, 0 pending, loop lag 1 ms"),
        ({"subscription": {}}, "7 events delivered"),
        (
            {"subscription": {"pending": 3, "oldest_age": 0.9}},
            "7 events delivered, 3 of 256 queued, oldest 0.9 s",
        ),
        (
            {"subscription": {"pending": 3, "oldest_age": 9.0}},
            "7 events delivered, 3 of 256 queued",
        ),
        (
            {"subscription": {"pending": 256, "stalled": True, "oldest_age": 9.0}},
            "7 events delivered",
        ),
        (
            {"subscription": {"pending": 257, "oldest_age": 1.0}},
            "7 events delivered, 256 of 256 queued, oldest 1.0 s",
        ),
        (
            {"subscription": {"kind": "callback", "in_flight": 1}},
            "7 events delivered, 1 call running",
        ),
        ({"subscription": {"offered": 0, "delivered": 0}}, "no event has matched"),
        ({"journal": {"waiting": 2}}, "10 entries, 2.0 KiB, 2 waiting"),
        ({"journal": {"first": 0, "last": 0, "bytes": 0}}, "0 entries, 0 B"),
        ({"consumer": {}}, "lag 3, 1 unacknowledged"),
        ({"consumer": {"open": False}}, "lag 3, 1 unacknowledged, not open"),
        (
            {"part": {"state": "open", "delivered": 5, "backlog": 1902, "oldest_age": 41}},
            "open, 5 delivered, backlog 1,902, oldest 41 s",
        ),
    ],
)
def test_detail_has_the_counts(given, detail):
    assert row(**given).detail == detail


def test_callback_is_named_as_one():
    assert row(subscription={"kind": "callback"}).kind == "callback"


def test_losses_without_a_loss_are_empty():
    assert losses({"overflow": 0}) == ""


async def test_status_of_a_healthy_process(bus, exposed, command):
    async with bus.subscribe(name="board") as events:
        await bus.emit("a", "1", "ok", "info", {})
        events.take(1)
        result = await command("status", "-o", "text")

    assert result.code == 0
    assert result.lines[0].startswith("calls-api@test   up ")
    assert "· sub board  1 event delivered" in result.lines


async def test_losses_are_shown_first_and_are_warnings(bus, exposed, command):
    async with (
        bus.subscribe(name="fine"),
        bus.subscribe(name="full", capacity=1, overflow="drop_oldest"),
    ):
        for _ in range(3):
            await bus.emit("a", "1", "ok", "info", {})
        result = await command("status", "-o", "text")
        record = (await command("status")).records[0]

    assert result.code == 0
    assert result.lines[2].startswith("▲ sub full  2 lost (overflow); ")
    assert record["health"] == "warning"
    assert record["warnings"][1] == {"kind": "sub", "name": "full", "reason": "2 lost (overflow)"}


async def test_stalled_subscription_is_a_fault(exposed, command):
    async with edr.Bus(stall_timeout=0.001) as bus, edr.control.expose(bus, name="stalling"):
        subscription = bus.subscribe(name="stuck", capacity=1)
        for _ in range(3):
            await bus.emit("a", "1", "ok", "info", {})
        result = await command("status", "stalling")
        await subscription.aclose()

    assert result.code == 1
    assert result.records[0]["health"] == "fault"
    assert result.records[0]["faults"][0]["name"] == "stuck"


@pytest.mark.parametrize(
    ("name", "omitted", "is_warned"),
    [("sink:old", 0, True), ("sink:alarms", 0, False), ("old", 0, False), ("sink:old", 1, False)],
)
def test_a_consumer_of_no_part_is_a_warning(name, omitted, is_warned):
    consumers = [{**CONSUMER, "name": name, "open": False}]
    state = {
        "bus": QUIET,
        "loop_lag": 0.0,
        "subscriptions": [],
        "parts_omitted": omitted,
        "parts": [{"kind": "sink", "name": "alarms", "state": "running"}],
        "journal": {**JOURNAL, "consumers": consumers},
    }

    found = {row.kind: row.warning for row in rows_of(state)}

    assert ("edr journal forget" in found["consumer"]) is is_warned


async def test_journal_and_consumers_are_shown(tmp_path, command):
    journal = SqliteJournal(tmp_path / "journal")
    async with edr.Bus(journal=journal) as bus, edr.control.expose(bus, name="stored"):
        consumer = await journal.consumer("audit")
        await bus.emit("a", "1", "ok", "info", {}, durable=True)
        result = await command("status", "-o", "text")
        await consumer.aclose()

    assert any(line.startswith("· journal") and "1 entry" in line for line in result.lines)
    assert any(line.startswith("· consumer audit  lag 1") for line in result.lines)


async def test_parts_are_shown(bus, command):
    class Sink:
        name = "alarms"
        kind = "sink"
        bindings = ()

        def status(self):
            return {"state": "retrying", "error": "503\x1b[2J", "backlog": 3}

    async with edr.control.expose(bus, name="parts", parts=[Sink()]):
        result = await command("status", "-o", "text")

    assert result.code == 1
    assert result.lines[1].startswith(r"■ sink alarms  retrying: 503\u001b[2J; retrying, backlog 3")


async def test_clients_of_a_gateway_are_counted_by_account(bus, command):
    class Gateway:
        name = "web"
        kind = "gateway"
        bindings = ()

        def status(self):
            accounts = {f"a{n}": n for n in range(1, 8)}
            return {"state": "running", "clients": 28, "accounts": accounts, "missed": 5}

    async with edr.control.expose(bus, name="parts", parts=[Gateway()]):
        result = await command("status", "-o", "text")

    assert result.code == 0
    assert "28 clients (a7 7, a6 6, a5 5, a4 4, a3 3, 2 more)" in result.out


async def test_many_healthy_subscriptions_are_counted(bus, exposed, command):
    subscriptions = [bus.subscribe(name=f"s{n}") for n in range(30)]
    result = await command("status", "-o", "text")
    for subscription in subscriptions:
        await subscription.aclose()

    assert len(result.lines) == 22
    assert result.lines[-1] == "  and 11 more without a fault"


async def test_process_that_ends_while_it_is_asked_is_unavailable(command, runtime_folder):
    runtime_folder.mkdir(mode=0o700)
    server = await asyncio.start_unix_server(
        lambda _, writer: writer.close(), runtime_folder / "gone.1.sock"
    )
    async with server:
        result = await command("status")

    assert result.code == 69
    assert "closed the connection" in result.err
