import asyncio
import json

import pytest

import edr
import edr.control
from edr.journal import SqliteJournal


async def emit(bus, n, severity="ok", app="acdc", **fields):
    await bus.emit(app, "1", severity, "info", {"n": n, **fields})


async def attached(exposed):
    """Wait until the request of a client has begun."""
    while not exposed.statistics().requests:
        await asyncio.sleep(0)
    for _ in range(3):  # its task runs in the next turn of the loop
        await asyncio.sleep(0)


async def test_tail_prints_existing_events(bus, exposed, command):
    for n in range(3):
        await emit(bus, n)
    result = await command("tail", "--no-follow")

    assert result.code == 0
    assert [event["body"]["n"] for event in result.records] == [0, 1, 2]


async def test_tail_prints_the_events_themselves(bus, exposed, command):
    event = edr.Event(app_name="a", app_version="1", severity="ok", verbosity="info", body={"ü": 1})
    await bus.publish(event)
    result = await command("tail", "--no-follow")

    assert edr.Event.from_json(result.lines[0]) == event


async def test_tail_prints_the_last_events(bus, exposed, command):
    for n in range(5):
        await emit(bus, n)
    result = await command("tail", "-n", "2", "--no-follow")

    assert [event["body"]["n"] for event in result.records] == [3, 4]


async def test_tail_prints_events_as_they_are_emitted(bus, exposed, command):
    result = asyncio.create_task(command("tail", "calls-api", "--count", "2"))
    await attached(exposed)
    for n in range(3):
        await emit(bus, n)

    assert [event["body"]["n"] for event in (await result).records] == [0, 1]
    assert (await result).code == 0


async def test_tail_prints_only_events_of_the_filter(bus, exposed, command):
    for n, severity in enumerate(("ok", "warning", "critical")):
        await emit(bus, n, severity, queue={"id": f"q{n}"})
    result = await command("tail", "--no-follow", "-s", "warning", "-b", "queue.id=q1")

    assert [event["body"]["n"] for event in result.records] == [1]


async def test_tail_without_an_event_exits_with_1(bus, exposed, command):
    await emit(bus, 1)
    result = await command("tail", "--no-follow", "-s", "critical")

    assert (result.code, result.out) == (1, "")


async def test_tail_continues_after_a_cursor(bus, exposed, command):
    for n in range(3):
        await emit(bus, n)
    async with edr.control.connect(exposed.path) as client:
        messages = client.request("tail", last=3, follow=False)
        cursors = [m["cursor"] async for m in messages if m["is"] == "event"]
    result = await command("tail", "--after", cursors[0], "--no-follow")

    assert [event["body"]["n"] for event in result.records] == [1, 2]


async def test_tail_reports_lost_events_at_their_place(bus, exposed, command):
    for n in range(5000):
        await emit(bus, n)
    result = await command("tail", "--after", await first_cursor(exposed), "--no-follow")

    assert result.records[0]["is"] == "gap"
    assert result.records[0]["missed"] + len(result.records) - 1 >= 4999


async def first_cursor(exposed):
    """Return a cursor of the same run, from before the first event."""
    async with edr.control.connect(exposed.path) as client:
        async for message in client.request("tail", last=1, follow=False):
            if message["is"] == "event":
                return message["cursor"].rpartition("-")[0] + "-0"


@pytest.mark.parametrize("form", ["text", "logfmt"])
async def test_tail_prints_a_line_for_each_event(bus, exposed, command, form):
    for n in range(3):
        await emit(bus, n, note="a\nb")
    result = await command("tail", "--no-follow", "-o", form)

    assert len(result.lines) == 3
    assert all('note="a' in line for line in result.lines)


async def test_tail_ends_with_69_when_the_process_ends(bus, exposed, command):
    result = asyncio.create_task(command("tail"))
    await attached(exposed)
    await emit(bus, 1)
    await bus.aclose()

    assert (await result).code == 69
    assert "shown, 0 lost" in (await result).err


async def test_tail_of_0_events_ends_at_once(exposed, command):
    assert (await command("tail", "--count", "0")).code == 0


async def test_tail_without_a_history_says_so(bus, command):
    async with edr.control.expose(bus, name="plain"):
        live = asyncio.create_task(command("tail", "-n", "3", "--count", "1"))
        while not bus.subscriptions() and not live.done():
            await asyncio.sleep(0)
            await emit(bus, 1)
        ended = await command("tail", "-n", "3", "--no-follow")

    assert "keeps no earlier events" in (await live).err
    assert (await live).code == 0
    assert ended.code == 69


async def test_print_binding_needs_no_process(command):
    result = await command("tail", "-s", "=warning", "-a", "a,b", "--print-binding")

    assert result.records == [
        {"severity": "warning", "exact_severity": True, "app_name": ["a", "b"]}
    ]


async def test_binding_of_a_subscription_is_used(bus, exposed, command):
    async with bus.subscribe(app_name="acdc", body={"n": [1]}, name="board"):
        for n in range(3):
            await emit(bus, n)
        printed = await command("tail", "--binding", "@board", "--print-binding")
        result = await command("tail", "--binding", "@board", "--no-follow")

    assert edr.bindings_from_json(printed.out) == edr.Binding(app_name="acdc", body={"n": [1]})
    assert [event["body"]["n"] for event in result.records] == [1]


async def test_unknown_part_of_a_binding_is_bad_input(bus, exposed, command):
    async with bus.subscribe(name="board"):
        result = await command("tail", "--binding", "@bord")

    assert result.code == 65
    assert "--binding @bord: there is no such subscription or part; did you mean 'board'?" in (
        result.err
    )


async def test_binding_that_the_process_refuses_is_bad_input(exposed, command):
    result = await command("tail", "-b", '{"n": [{"numeric": ["=="]}]}')

    assert result.code == 65
    assert "bindings[0].body.n[0].numeric" in result.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-n", "1", "--after", "x-1"], "--last and --after exclude each other"),
        (["-n", "-1"], "--last must be 0 or more, got -1"),
        (["--count", "-1"], "--count must be 0 or more, got -1"),
    ],
)
async def test_wrong_flags_are_usage_errors(command, arguments, message):
    result = await command("tail", *arguments)

    assert (result.code, result.err) == (2, f"edr: {message}\n")


async def test_json_of_tail_can_be_emitted_again(bus, exposed, command):
    await emit(bus, 1)
    printed = await command("tail", "--no-follow")
    result = await command("emit", "-e", "-", stdin=printed.out)

    assert result.records == [{"event_id": json.loads(printed.out)["id"], "matched": 0}]


async def test_tail_prints_the_entries_of_a_journal(command, tmp_path, make_event):
    folder = tmp_path / "journal"
    async with SqliteJournal(folder) as journal:
        await journal.append(*[make_event(severity=s) for s in ("ok", "warning", "critical")])
    result = await command("tail", str(folder), "--no-follow", "-s", "warning")
    last = await command("tail", str(folder), "--no-follow", "-n", "1")

    assert [event["severity"] for event in result.records] == ["warning", "critical"]
    assert [event["severity"] for event in last.records] == ["critical"]


async def test_tail_follows_a_journal(command, tmp_path, make_event):
    folder = tmp_path / "journal"
    async with SqliteJournal(folder) as journal:
        await journal.append(make_event())
        result = asyncio.create_task(command("tail", str(folder), "-n", "1", "--count", "2"))
        while not result.done():
            await journal.append(make_event("later"))
            await asyncio.sleep(0)

    assert [event["app_name"] for event in (await result).records][1:] == ["later"]


async def test_path_without_a_socket_or_journal_is_unavailable(command, tmp_path):
    result = await command("tail", str(tmp_path / "none"))

    assert result.code == 69
    assert "no process accepts connections at" in result.err


async def test_part_of_a_binding_needs_a_process(command, tmp_path):
    result = await command("tail", f"{tmp_path}/", "--binding", "@alarms")

    assert result.code == 2
    assert "works only with a running process" in result.err
