import asyncio
import os
import sys

import pytest
from support.pseudo_terminal import PseudoTerminal

import edr
import edr.control
from edr.cli.exits import Exit
from edr.cli.main import main


@pytest.fixture
async def busy(bus, exposed):
    """An exposed bus with two subscriptions, one of which loses events."""
    full = bus.subscribe(name="wallboard", capacity=2, overflow="drop_oldest")
    idle = bus.subscribe(edr.Binding(app_name="none"), name="idle")
    for n in range(5):
        await bus.emit("acdc", "1", "ok", "info", {"n": n})
    yield bus
    await full.aclose()
    await idle.aclose()


async def test_samples_in_a_pipe_are_json(busy, command):
    result = await command("top", "--every", "0.2", "--count", "2")

    assert result.code == Exit.DONE
    first, second = result.records
    assert first["emits_per_second"] is None
    assert second["emits_per_second"] == 0
    assert second["bus"]["emits"] == 5
    names = {each["name"]: each["in_per_second"] for each in second["subscriptions"]}
    assert names == {"wallboard": 0, "idle": 0}


async def test_text_in_a_pipe_is_the_table(busy, command):
    result = await command("top", "calls-api", "--count", "1", "-o", "text")

    title, head, *rows = result.lines
    assert title.startswith(f"calls-api@{busy.node}   up ")
    assert head.split()[0] == "PART"
    assert rows[0].startswith("▲sub wallboard")
    assert "3 overflow" in rows[0]
    assert rows[1].startswith(" sub idle")


async def test_part_has_its_rate(bus, command):
    class Sink:
        kind, name, bindings = "sink", "alarms", ()

        def status(self):
            return {"state": "ok", "offered": 5, "lost": {}}

    async with edr.control.expose(bus, name="calls-api", parts=[Sink()]):
        result = await command("top", "--every", "0.2", "--count", "2")
    assert [each["parts"][0]["in_per_second"] for each in result.records] == [None, 0]


async def test_end_of_the_process_is_unavailable(bus, command):
    exposed = await edr.control.expose(bus, name="calls-api")
    running = asyncio.create_task(command("top", "--every", "0.2"))
    while not bus_is_watched(exposed):
        await asyncio.sleep(0.01)
    await exposed.aclose()

    assert (await running).code == Exit.UNAVAILABLE


def bus_is_watched(exposed):
    return any(task.get_name().startswith("edr control") for task in asyncio.all_tasks())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--every", "0.1"], "--every must be 0.2 to 3600 seconds, got 0.1"),
        (["--every", "nan"], "--every must be 0.2 to 3600 seconds, got nan"),
        (["--count", "0"], "--count must be 1 or more, got 0"),
        (["--sort", "rate"], 'invalid value "rate" for --sort'),
    ],
)
def test_wrong_option_is_one_line(arguments, message, capsys):
    assert main(["top", *arguments]) == Exit.USAGE
    assert message in capsys.readouterr().err


def test_missing_process_is_unavailable(capsys):
    assert main(["top", "nothing"]) == Exit.UNAVAILABLE


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "code"), [(b"q", Exit.DONE), (b"\x03", Exit.INTERRUPTED)], ids=["q", "ctrl-c"]
)
async def test_live_table_ends_with_a_key(busy, key, code):
    shown = PseudoTerminal([sys.executable, "-m", "edr", "top"], environ=dict(os.environ))
    try:
        await asyncio.to_thread(shown.wait_for, b"wallboard")
        shown.type(b"b")
        await asyncio.to_thread(shown.wait_for, b"sort by")
        shown.type(key)

        assert await asyncio.to_thread(shown.end) == code
        assert shown.is_restored
    finally:
        shown.close()
