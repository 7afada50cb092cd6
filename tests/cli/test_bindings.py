import pytest

import edr
import edr.control
from edr.cli.exits import Exit
from edr.cli.main import main


class Sink:
    """A part whose bindings can be changed."""

    kind, name = "sink", "alarms"

    def __init__(self):
        self.bindings = (edr.Binding(severity="critical"),)

    def status(self):
        return {"state": "ok"}

    async def rebind(self, *bindings):
        self.bindings = bindings


@pytest.fixture
async def sink(bus):
    sink = Sink()
    board = bus.subscribe(edr.Binding(app_name="acdc", body={"queue": ["q9"]}), name="board")
    async with edr.control.expose(bus, name="calls", parts=[sink], allow={"bindings"}):
        yield sink
    await board.aclose()


async def test_bindings_are_a_table(sink, command):
    result = await command("bindings", "-o", "text")

    assert [line.split(None, 2) for line in result.lines] == [
        ["KIND", "NAME", "BINDING"],
        ["sub", "board", "acdc queue=q9"],
        ["sink", "alarms", "critical"],
    ]


async def test_bindings_in_a_pipe_are_json(sink, command):
    result = await command("bindings", "calls")

    assert [each["name"] for each in result.records] == ["board", "alarms"]
    assert result.records[1]["bindings"][0]["severity"] == "critical"


@pytest.mark.parametrize("words", [["set", "alarms"], ["calls", "set", "sink alarms"]])
async def test_set_replaces_the_bindings_of_a_part(sink, command, words):
    result = await command("bindings", *words, "-s", "warning", "-a", "acdc", "-o", "text")

    assert (result.code, result.err) == (Exit.DONE, "")
    assert result.lines == [f"{words[-1]}  severity warning+, verbosity info+, app acdc"]
    assert sink.bindings == (edr.Binding(severity="warning", app_name="acdc"),)


async def test_set_copies_the_bindings_of_another_part(sink, command):
    result = await command("bindings", "set", "alarms", "--binding", "@board")

    assert result.records[0]["bindings"][0]["app_name"] == "acdc"
    assert sink.bindings[0].app_name == "acdc"


async def test_set_of_an_unknown_part_is_refused(sink, command):
    result = await command("bindings", "set", "alarm", "-s", "ok")

    assert result.code == Exit.NO
    assert "'alarms'" in result.err


async def test_set_without_permission_is_refused(bus, exposed, command):
    result = await command("bindings", "set", "alarms", "-s", "ok")

    assert result.code == Exit.NOT_PERMITTED
    assert "allow={'bindings'}" in result.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["set", "alarms"], "set needs a filter flag"),
        (["calls", "set"], "set must have the name of one part"),
        (["calls", "set", "a", "b", "-s", "ok"], "set must have the name of one part"),
        (["calls", "get"], "expected set PART after the process, got 'get'"),
        (["calls", "-s", "ok"], "filter flags change the bindings of a part"),
    ],
)
def test_wrong_words_are_one_line(arguments, message, capsys):
    assert main(["bindings", *arguments]) == Exit.USAGE

    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1
