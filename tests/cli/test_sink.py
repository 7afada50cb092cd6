"""edr sink: commands for the sinks of a process."""

import pytest

import edr.control
from edr.cli.exits import Exit


class FakeSink:
    name, kind, bindings = "audit", "sink", ()

    def __init__(self):
        self.calls = []

    def status(self):
        return {"state": "running"}

    async def pause(self):
        self.calls.append("pause")

    async def resume(self):
        self.calls.append("resume")

    async def restart(self):
        self.calls.append("restart")


@pytest.fixture
async def sink(bus):
    sink = FakeSink()
    async with edr.control.expose(bus, name="edr", allow={"sinks"}, parts=[sink]):
        yield sink


@pytest.mark.parametrize(
    ("action", "done"), [("pause", "paused"), ("resume", "resumed"), ("restart", "restarted")]
)
async def test_sink_asks_the_process(command, sink, action, done):
    result = await command("sink", "edr", action, "audit")

    assert (result.code, result.err) == (Exit.DONE, f"audit is {done}\n")
    assert sink.calls == [action]


async def test_sink_names_the_nearest_part(command, sink):
    result = await command("sink", "edr", "pause", "adit")

    assert result.code == Exit.NO
    assert "audit" in result.err
    assert sink.calls == []


async def test_sink_refuses_another_action(command, sink):
    assert (await command("sink", "edr", "drop", "audit")).code == Exit.USAGE


async def test_sink_must_be_permitted(command, exposed):
    assert (await command("sink", "calls-api", "pause", "audit")).code == Exit.NOT_PERMITTED
