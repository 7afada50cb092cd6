"""The table of exit codes in docs/cli.md, with a command that ends with each of them."""

import re
from pathlib import Path

import pytest

import edr
import edr.control
from edr.cli.exits import Exit
from edr.cli.main import COMMANDS

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"

CASES = [
    (Exit.DONE, "ls"),
    (Exit.DONE, "status calls-api"),
    (Exit.DONE, "tail --no-follow -s ok"),
    (Exit.DONE, "emit -a app n=1"),
    (Exit.NO, "tail --no-follow -s critical"),
    (Exit.NO, "explain -n 1"),
    (Exit.NO, "explain --last -s critical"),
    (Exit.USAGE, "tail --no-such-flag"),
    (Exit.USAGE, "no-such-command"),
    (Exit.USAGE, "tail -s loud"),
    (Exit.USAGE, "status a"),
    (Exit.BAD_INPUT, "emit -e {}"),
    (Exit.BAD_INPUT, 'tail -b {"n":5}'),
    (Exit.BAD_INPUT, "explain -e no-such-file"),
    (Exit.UNAVAILABLE, "status no-such-process"),
    (Exit.UNAVAILABLE, "tail ./no-such.sock"),
    (Exit.UNAVAILABLE, "emit -a app --durable"),
    (Exit.NOT_PERMITTED, "emit audit -a app"),
]


@pytest.fixture
async def processes(bus, exposed):
    await bus.emit("app", "1", "ok", "info", {})
    async with (
        edr.Bus() as other,
        edr.control.expose(other, name="audit"),
        edr.control.expose(other, name="archive"),
    ):
        yield


@pytest.mark.parametrize(("code", "line"), CASES, ids=[line for _, line in CASES])
async def test_exit_code(processes, command, code, line):
    words = line.split()
    if words[0] in {"tail", "explain", "emit"} and words[1].startswith("-"):
        words.insert(1, "calls-api")

    assert (await command(*words)).code == code


ELSEWHERE = {
    Exit.UNFINISHED: "cli/test_emit.py",
    Exit.CONFIGURATION: "package/test_command.py",
    Exit.INTERRUPTED: "cli/test_processes.py",
    Exit.BROKEN_PIPE: "cli/test_processes.py",
}
"""Codes of commands that must be processes, and their test files."""


def test_each_exit_code_has_a_test():
    assert {code for code, _ in CASES} | set(ELSEWHERE) == set(Exit)


@pytest.mark.parametrize(("code", "file"), ELSEWHERE.items())
def test_test_elsewhere_has_the_exit_code(code, file):
    path = Path(__file__).parents[1] / file

    assert re.search(rf"\b({int(code)}|{code.name})\b", path.read_text(encoding="utf-8"))


def test_each_exit_code_is_in_the_manual():
    rows = re.findall(r"^\| `(\d+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)

    assert rows == [str(int(code)) for code in Exit]


JSON_LINES = {
    "ls": "ls",
    "status": "status calls-api",
    "tail": "tail calls-api --no-follow",
    "explain": "explain calls-api --last",
    "emit": "emit calls-api -a app n=1",
}


@pytest.mark.parametrize("line", JSON_LINES.values(), ids=JSON_LINES)
async def test_json_of_each_command_parses(bus, processes, command, line):
    async with bus.subscribe(name="all"):
        result = await command(*line.split(), "-o", "json")

    assert result.records
    assert all(isinstance(record, dict) for record in result.records)


@pytest.mark.parametrize("line", JSON_LINES.values(), ids=JSON_LINES)
async def test_logfmt_of_each_command_has_a_pair_in_each_word(bus, processes, command, line):
    async with bus.subscribe(name="all"):
        result = await command(*line.split(), "-o", "logfmt")

    for printed in result.lines:
        without_strings = re.sub(r'"(?:[^"\\]|\\.)*"', "", printed)
        assert all("=" in word for word in without_strings.split())


def test_json_of_each_command_is_tested_somewhere():
    # In their own test files; run and sink print nothing.
    elsewhere = {"journal", "top", "bindings", "replay", "check", "init"}
    elsewhere |= {"run", "reload", "sink", "dead"}

    assert set(COMMANDS) <= set(JSON_LINES) | elsewhere
