"""The examples of docs/cli.md print what the page shows, on a terminal of 120 columns."""

import asyncio
import contextlib
import re
import shlex
import sys
from pathlib import Path

import pytest
from support.terminal import Terminal

import edr
import edr.control
from edr.cli.main import COMMANDS, main

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")

EXAMPLES = [
    (line, output)
    for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
    for line, output in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)
]

CHANGING = [
    (r"\d\d:\d\d:\d\d\.\d{3}", "TIME"),
    (r"\b[0-9a-f]{32}\b", "ID"),
    (r"\d+(\.\d)? m?s\b|\d+[dhm] \d+[hms]", "DURATION"),
    (r"/\S*(calls-api)\.\d+\.sock", "PATH"),
    (r"(calls-api +)\d+", r"\1PID"),
    (r" +", " "),
]
"""Parts of the output that differ in each run."""


@pytest.fixture
async def service():
    async with (
        edr.Bus(node="apps1:4123") as bus,
        edr.control.expose(bus, name="calls-api", history=100, allow={"emit"}),
        bus.subscribe(severity="critical", name="alarms"),
        bus.subscribe(
            app_name="acdc",
            body={"queue": {"id": ["q7"]}},
            name="wallboard",
            capacity=1,
            overflow="drop_oldest",
        ),
    ):
        for n in range(2):
            await emit(bus, "ok", "info", {"queue": {"id": "q7"}, "n": n})
        for n in range(2):
            await emit(bus, "ok", "info", {"n": n}, app="callflow")
        body = {"event": "agent_status_change", "status": "wrapup", "queue": {"id": "q7"}}
        await emit(bus, "warning", "info", {**body, "wait_time": 184})
        body = {"event": "queue_full", "queue": {"id": "q9"}, "waiting": 120}
        await emit(bus, "critical", "error", body)
        yield bus


async def emit(bus, severity, verbosity, body, app="acdc"):
    await bus.emit(app, "5.1", severity, verbosity, body, account_id="branch_07")


@pytest.mark.parametrize(("line", "output"), EXAMPLES, ids=[line for line, _ in EXAMPLES])
async def test_example_prints_what_the_page_shows(service, monkeypatch, line, output):
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal()
    program, *words = shlex.split(line)
    assert program == "edr"

    def run():
        with contextlib.redirect_stdout(terminal), contextlib.redirect_stderr(terminal):
            main(words)

    monkeypatch.setattr(sys, "stdin", None)
    await asyncio.to_thread(run)

    assert same_in_each_run(terminal.written) == same_in_each_run(output)


def same_in_each_run(text):
    for pattern, name in CHANGING:
        text = re.sub(pattern, name, text)
    return text


def test_the_page_has_examples():
    assert len(EXAMPLES) >= 9


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_is_in_the_table(command):
    assert re.search(rf"^\| `edr {command}\b", PAGE, re.MULTILINE)
