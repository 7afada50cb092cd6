import asyncio
import json
import re
import signal
import subprocess
import sys

import pytest
from contracts.journal import events
from support.shuffled_loop import ShuffledLoop

import edr
from edr.cli.exits import Exit
from edr.cli.main import main
from edr.cli.replay import _Pace
from edr.journal import SqliteJournal


def event(n, second=0, **fields):
    return {
        "app_name": "acdc",
        "app_version": "1",
        "severity": "ok",
        "verbosity": "info",
        "body": {"n": n},
        "id": f"id{n}",
        "node": "old",
        "timestamp": f"2026-01-31T12:00:{second:02}+00:00",
        **fields,
    }


@pytest.fixture
def file(tmp_path):
    """Make a file of lines."""

    def write(*lines):
        path = tmp_path / "events.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        return str(path)

    return write


async def test_events_keep_their_identity(bus, exposed, command, file):
    async with bus.subscribe() as received:
        result = await command("replay", file(event(1), event(2)), "--to", "calls-api")

        assert result.records == [{"emitted": 2, "matched": 2}]
        first, second = [await anext(received) for _ in range(2)]
    assert (first.id, first.node, second.id) == ("id1", "old", "id2")
    assert first.timestamp.isoformat() == "2026-01-31T12:00:00+00:00"


async def test_events_as_new_are_those_of_the_process(bus, exposed, command, file):
    async with bus.subscribe() as received:
        await command("replay", file(event(1)), "--to", "calls-api", "--as-new")
        found = await anext(received)

    assert found.body == {"n": 1}
    assert found.id != "id1"
    assert found.node == bus.node
    assert found.timestamp.year >= 2026
    assert found.timestamp.isoformat() != "2026-01-31T12:00:00+00:00"


async def test_lines_of_tail_and_journal_are_events(bus, exposed, command, file):
    lines = [
        {"position": 7, "recorded_at": "…", "event": event(1)},
        {"is": "gap", "missed": 3, "reason": "slow"},
        {"is": "event", "cursor": "x-1", "event": event(2)},
    ]
    async with bus.subscribe() as received:
        await command("replay", file(*lines), "--to", "calls-api")

        assert [(await anext(received)).id for _ in range(2)] == ["id1", "id2"]


async def test_journal_is_replayed_through_the_filter(bus, exposed, command, tmp_path):
    async with SqliteJournal(tmp_path / "journal") as journal:
        await journal.append(*events(0, 1, 2), *events(3, severity="critical"))
        arguments = ["replay", str(journal.path), "--to", "calls-api", "--speed", "max"]
        async with bus.subscribe() as received:
            result = await command(*arguments, "-s", "critical")

            assert result.records == [{"emitted": 1, "matched": 1}]
            assert (await anext(received)).body == {"n": 3}


async def test_event_that_the_process_refuses_ends_it(bus, exposed, command, file):
    path = file(event(1), event(2, severity="bad"), event(3))
    result = await command("replay", path, "--to", "calls-api")

    assert result.code == Exit.BAD_INPUT
    assert result.err.startswith("1 event emitted before this\n")
    assert f"{path}, line 2: event.severity" in result.err


async def test_process_that_ends_before_the_last_event_exits_with_75(bus, exposed, command, file):
    async def end(event):
        if event.body["n"] == 1:
            await exposed.aclose()

    bus.bind(edr.Binding(), end)
    result = await command("replay", file(*map(event, range(100))), "--to", "calls-api")

    assert result.code == Exit.UNFINISHED
    assert re.match(r"[0-9]+ events? emitted before this\nedr: ", result.err)


async def test_permission_is_needed(bus, command, file):
    async with edr.control.expose(bus, name="calls-api"):
        result = await command("replay", file(event(1)), "--to", "calls-api")
    assert result.code == Exit.NOT_PERMITTED


def dry(capsys, *arguments):
    code = main(["replay", *arguments, "--dry-run", "--speed", "max"])
    printed = capsys.readouterr()
    return code, [json.loads(line)["body"]["n"] for line in printed.out.splitlines()], printed.err


def test_dry_run_prints_the_events(file, capsys):
    path = file(event(1), event(2), event(3, severity="warning"))

    assert dry(capsys, path) == (Exit.DONE, [1, 2, 3], "3 events not emitted (--dry-run)\n")
    assert dry(capsys, path, "--count", "2")[1] == [1, 2]
    assert dry(capsys, path, "--count", "0")[1] == []
    assert dry(capsys, path, "-s", "warning")[1] == [3]
    assert dry(capsys, path, "-b", "n=2")[1] == [2]


def test_line_that_is_not_an_event_ends_a_filtered_replay(file, capsys):
    code, numbers, message = dry(capsys, file(event(1), {"app_name": 5}), "-s", "ok")

    assert (code, numbers) == (Exit.BAD_INPUT, [1])
    assert "line 2: " in message


@pytest.mark.slow
def test_interrupt_does_not_wait_for_the_next_line_of_stdin():
    command = [sys.executable, "-m", "edr", "replay", "-", "--dry-run"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as replaying:
        replaying.stdin.write(json.dumps(event(1)).encode() + b"\n")
        replaying.stdin.flush()
        replaying.stdout.readline()
        replaying.send_signal(signal.SIGINT)

        assert replaying.wait(20) == Exit.INTERRUPTED  # stdin is still open
        assert replaying.stderr.read() == b""


@pytest.mark.parametrize(
    ("factor", "seconds"), [(1.0, [0, 2, 2, 5]), (10.0, [0, 0.2, 0.2, 0.5]), (None, [0] * 4)]
)
def test_pace_is_that_of_the_timestamps(factor, seconds):
    async def times():
        pace = _Pace(factor)
        loop = asyncio.get_running_loop()
        started = loop.time()
        found = []
        for second in (0, 2, 1, 5):
            await pace.wait_for(event(0, second))
            found.append(loop.time() - started)
        return found

    with asyncio.Runner(loop_factory=lambda: ShuffledLoop(0)) as runner:
        assert runner.run(times()) == pytest.approx(seconds, abs=0.01)


@pytest.mark.parametrize("timestamp", [None, 5, "yesterday", "2026-01-31T12:00:00"])
async def test_event_without_a_time_does_not_wait(timestamp):
    pace = _Pace(1.0)
    await pace.wait_for(event(0))
    async with asyncio.timeout(1):
        await pace.wait_for({**event(1, 30), "timestamp": timestamp})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x.jsonl"], "--to PROCESS; or use --dry-run"),
        (["x.jsonl", "--to", "a", "--speed", "fast"], "--speed must be a multiple such as 10x"),
        (["x.jsonl", "--to", "a", "--speed", "0x"], "--speed must be a multiple such as 10x"),
        (["x.jsonl", "--to", "a", "--speed", "nan"], "--speed must be a multiple such as 10x"),
        (["x.jsonl", "--to", "a", "--count", "-1"], "--count must be 0 or more"),
    ],
)
def test_wrong_option_is_one_line(arguments, message, capsys):
    assert main(["replay", *arguments]) == Exit.USAGE

    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1
