import json

import pytest

import edr
import edr.control

EVENT = {
    "app_name": "acdc",
    "app_version": "1",
    "severity": "warning",
    "verbosity": "info",
    "body": {"queue": {"id": "q7"}},
}


@pytest.fixture
async def subscribed(bus, exposed):
    async with (
        bus.subscribe(severity="critical", name="alarms"),
        bus.subscribe(app_name="acdc", body={"queue": {"id": ["q7"]}}, name="wallboard"),
    ):
        yield


async def test_explain_prints_who_receives_an_event(subscribed, command):
    result = await command("explain", "-e", json.dumps(EVENT), "-o", "text")

    assert result.code == 0
    assert result.lines == [
        '✗ sub alarms     severity: wanted ["critical"], found "warning"',
        "✓ sub wallboard",
    ]


async def test_explain_prints_records(subscribed, command):
    result = await command("explain", "-e", json.dumps({**EVENT, "id": "e1"}))

    alarms, wallboard = result.records
    assert (alarms["event_id"], alarms["kind"], alarms["name"]) == ("e1", "subscription", "alarms")
    assert (alarms["matches"], wallboard["matches"]) == (False, True)
    assert alarms["mismatches"][0]["path"] == "severity"


async def test_explain_reads_events_from_stdin(subscribed, command):
    lines = f"{json.dumps(EVENT)}\n{json.dumps({**EVENT, 'severity': 'critical'})}\n"
    result = await command("explain", stdin=lines)

    assert [record["matches"] for record in result.records] == [False, True, True, True]


async def test_explain_last_is_the_last_event_of_the_filter(bus, subscribed, command):
    for severity in ("critical", "warning", "ok"):
        await bus.emit("acdc", "1", severity, "info", {"from": severity})
    result = await command("explain", "--last", "-s", "warning", "-o", "text")

    assert " ▲ warning" in result.lines[0]
    assert "✗ sub alarms" in result.lines[1]
    assert result.code == 1


async def test_explain_of_the_last_n_events(bus, subscribed, command):
    for n in range(3):
        await bus.emit("acdc", "1", "ok", "info", {"n": n})
    result = await command("explain", "-n", "2")

    assert len({record["event_id"] for record in result.records}) == 2
    assert len(result.records) == 4


async def test_explain_one_subscription(subscribed, command):
    event = json.dumps(EVENT)
    alarms = await command("explain", "-e", event, "--to", "alarms")
    board = await command("explain", "-e", event, "--to", "sub wallboard")
    other = await command("explain", "-e", event, "--to", "none")

    assert (alarms.code, board.code, other.code) == (1, 0, 1)
    assert [record["name"] for record in alarms.records] == ["alarms"]
    assert "there is no subscription, part or consumer 'none'" in other.err


async def test_event_that_no_one_receives_exits_with_1(exposed, command):
    result = await command("explain", "-e", json.dumps(EVENT), "-o", "text")

    assert result.code == 1
    assert "no subscription, part or consumer" in result.err


async def test_part_without_a_binding_does_not_receive(bus, command):
    class Source:
        name = "http"
        kind = "source"
        bindings = ()

        def status(self):
            return {}

    async with edr.control.expose(bus, name="parts", parts=[Source()]):
        result = await command("explain", "-e", json.dumps(EVENT), "-o", "text")

    assert (result.code, result.lines) == (1, ["· source http  has no binding"])


async def test_wrong_event_is_bad_input(exposed, command):
    result = await command("explain", "-e", '{"app_name": "a"}')

    assert result.code == 65
    assert result.err.startswith("edr: the event: event.app_version: ")


async def test_event_without_a_history_is_unavailable(bus, command):
    async with edr.control.expose(bus, name="plain"):
        result = await command("explain", "--last")

    assert result.code == 69
    assert "keeps no earlier events" in result.err


async def test_no_event_of_the_history_exits_with_1(exposed, command):
    assert (await command("explain", "--last", "-s", "critical")).code == 1


async def test_print_binding_ends_before_a_process_is_asked(command):
    result = await command("explain", "-s", "critical", "--print-binding")

    assert result.records == [{"severity": "critical"}]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-n", "0"], "-n must be 1 to 20, got 0"),
        (["-n", "21"], "-n must be 1 to 20, got 21"),
        (["--last", "-e", "{}"], "--event and --last exclude each other"),
        (["-e", "{}", "-s", "ok"], "filter flags choose an earlier event: add --last"),
    ],
)
async def test_wrong_flags_are_usage_errors(command, arguments, message):
    result = await command("explain", *arguments)

    assert (result.code, result.err) == (2, f"edr: {message}\n")
