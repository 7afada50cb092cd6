import json
import re

import pytest

import edr
import edr.control
from edr.journal import SqliteJournal


async def emitted(bus, command, *arguments, stdin=""):
    """Return the result of ``edr emit``, and the events that the bus received."""
    async with bus.subscribe(name="all") as events:
        result = await command("emit", *arguments, stdin=stdin)
        return result, events.take(100) if events.statistics().pending else []


async def test_emit_emits_an_event(bus, exposed, command):
    result, (event,) = await emitted(
        bus, command, "calls-api", "-a", "acdc", "-s", "warning", "-v", "warn", "-A", "acme", "n=3"
    )

    assert (event.app_name, event.severity, event.verbosity) == ("acdc", "warning", "warn")
    assert (event.account_id, event.body, event.app_version) == ("acme", {"n": 3}, "cli")
    assert event.node == bus.node
    assert result.records == [{"event_id": event.id, "matched": 1}]


@pytest.mark.parametrize(
    ("words", "body"),
    [
        ((), {}),
        (("a=text", "b=3", "c=true", "d=null"), {"a": "text", "b": 3, "c": True, "d": None}),
        (('a="3"', "b=[1,2]", 'c={"x":1}'), {"a": "3", "b": [1, 2], "c": {"x": 1}}),
        (("queue.id=q7", "queue.n=1"), {"queue": {"id": "q7", "n": 1}}),
        (("a=b=c", "d="), {"a": "b=c", "d": ""}),
        (("-b", '{"a": 1, "q": {"x": 1}}', "q.id=2"), {"a": 1, "q": {"x": 1, "id": 2}}),
    ],
)
async def test_words_are_the_body(bus, exposed, command, words, body):
    _, (event,) = await emitted(bus, command, "-a", "app", *words)

    assert event.body == body


async def test_events_of_stdin_keep_their_fields(bus, exposed, command, make_event):
    events = [make_event(body={"n": n}) for n in range(3)]
    lines = "\n".join(event.to_json().decode() for event in events)
    gap = '\n{"is":"gap","missed":1,"reason":"slow"}\n\n'
    result, received = await emitted(bus, command, "-e", "-", stdin=lines + gap)

    assert received == events
    assert [record["event_id"] for record in result.records] == [event.id for event in events]


async def test_events_of_a_file_are_emitted(bus, exposed, command, make_event, tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_bytes(make_event().to_json() + b"\n")
    _, received = await emitted(bus, command, "-e", str(path))

    assert len(received) == 1


async def test_emit_prints_a_line_of_text(bus, exposed, command):
    result, (event,) = await emitted(bus, command, "-a", "app", "-o", "text")

    assert result.out == f"{event.id}  1 subscription\n"


async def test_emit_says_that_the_journal_stores_the_event(tmp_path, command):
    journal = SqliteJournal(tmp_path / "journal", edr.Binding(severity="warning"))
    async with edr.Bus(journal=journal) as bus, edr.control.expose(bus, name="j", allow={"emit"}):
        stored = await command("emit", "j", "-a", "app", "-s", "critical", "-o", "text")
        other = await command("emit", "j", "-a", "app", "-o", "text")
        record = await command("emit", "j", "-a", "app", "--durable")

    assert stored.out.endswith("  journal\n")
    assert other.out.endswith("  0 subscriptions\n")
    assert record.records[0]["journal"] is True


async def test_dry_run_prints_the_event(command):
    result = await command("emit", "-a", "app", "n=1", "--dry-run")

    assert result.records[0]["body"] == {"n": 1}
    assert edr.Event.model_validate({"node": "n", **result.records[0]})


async def test_process_that_does_not_permit_it_exits_with_77(bus, command):
    async with edr.control.expose(bus, name="plain"):
        result = await command("emit", "-a", "app")

    assert result.code == 77
    assert result.err == ("edr: the process does not permit it; expose(allow={'emit'}) does\n")


async def test_wrong_event_is_reported_with_its_line(bus, exposed, command, make_event):
    lines = make_event().to_json().decode() + '\n{"app_name": "a"}\n'
    result, received = await emitted(bus, command, "-e", "-", stdin=lines)

    assert (result.code, len(received)) == (65, 1)
    assert result.err.startswith(
        "1 event emitted before this\nedr: stdin, line 2: event.app_version"
    )


async def test_process_that_ends_before_the_last_event_exits_with_75(
    bus, exposed, command, make_event
):
    async def end(event):
        if event.body["n"] == 1:
            await exposed.aclose()

    bus.bind(edr.Binding(), end)
    lines = "\n".join(make_event(body={"n": n}).to_json().decode() for n in range(1000))
    result = await command("emit", "-e", "-", stdin=lines)

    assert result.code == 75
    assert re.match(
        r"[0-9]+ events? emitted before this\nedr: .*the (process|connection) ", result.err
    )


async def test_durable_emit_without_a_journal_is_unavailable(exposed, command):
    result = await command("emit", "-a", "app", "--durable")

    assert result.code == 69
    assert "a durable emit needs a journal" in result.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["n=1"], 2, "an app must be given: -a NAME"),
        (["-a", "x", "-s", "warn"], 2, "-s must be one of ok, warning, critical, got 'warn'"),
        (["-a", "x", "-v", "loud"], 2, "-v must be one of trace, debug"),
        (["-a", "x", "p", "word"], 2, "'word' must be KEY=VALUE"),
        (["-a", "x", "a..b=1"], 2, "'a..b=1' must be KEY=VALUE"),
        (["-a", "x", "a=1", "a.b=1"], 2, "'a.b=1': 'a' has a value already"),
        (["-e", "{}", "n=1"], 2, "--event is a whole event"),
        (["-a", "x", "-b", "[1]"], 65, "-b must be a JSON object, got '[1]'"),
        (["-a", "x", "-b", "{"], 65, "-b must be a JSON object: "),
        (["-e", "{"], 65, "the event: must be JSON: "),
        (["-e", "absent.jsonl"], 65, "absent.jsonl: No such file or directory"),
    ],
)
async def test_wrong_input_is_an_error(exposed, command, arguments, code, message):
    result = await command("emit", *arguments)

    assert result.code == code
    assert message in result.err


async def test_body_that_is_too_large_is_bad_input(exposed, command):
    event = {"app_name": "a", "app_version": "1", "severity": "ok", "verbosity": "info"}
    big = await command("emit", "-e", json.dumps({**event, "body": {"x": "y" * 300_000}}))
    bigger = await command("emit", "-e", json.dumps({**event, "body": {"x": "y" * 1_100_000}}))

    assert (big.code, bigger.code) == (65, 65)
    assert "body" in big.err
    assert "must have at most 1,048,576 bytes" in bigger.err
