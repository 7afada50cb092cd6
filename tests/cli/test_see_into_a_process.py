"""The examples of docs/see-into-a-process.md print what the page shows, on 80 columns."""

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
from edr.cli.main import main

PAGE = (Path(__file__).parents[2] / "docs" / "see-into-a-process.md").read_text(encoding="utf-8")
EXAMPLES = [
    (line, output)
    for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
    for line, output in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)
]


@pytest.fixture
async def shop(runtime_folder):
    async with (
        edr.Bus() as bus,
        edr.control.expose(bus, name="shop", history=500),
        bus.subscribe(name="archive"),
        bus.subscribe(name="ledger", capacity=100),
        bus.subscribe(name="fraud", app_name="orders", body={"cents": [{"numeric": [">", 5000]}]}),
    ):
        bus.bind(edr.Binding(severity="warning"), print, name="charger")
        body = {"order": "o523", "cents": "5731", "currency": "EUR"}
        await bus.emit("orders", "1.4", "ok", "info", body, account_id="acme-berlin")
        yield bus


def run_on(terminal, words):
    with contextlib.redirect_stdout(terminal), contextlib.redirect_stderr(terminal):
        main(words)


@pytest.mark.parametrize(("line", "output"), EXAMPLES, ids=[line for line, _ in EXAMPLES])
async def test_example_prints_what_the_page_shows(shop, monkeypatch, line, output):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys, "stdin", None)
    terminal = Terminal()
    await asyncio.to_thread(run_on, terminal, shlex.split(line)[1:])

    assert without_time(terminal.written) == without_time(output)


def without_time(text):
    return re.sub(r"\d\d:\d\d:\d\d\.\d{3}", "TIME", text)


def test_the_page_has_examples():
    assert len(EXAMPLES) >= 2


@pytest.mark.parametrize("screen", re.findall(r"```(?:text|console)\n(.*?)```", PAGE, re.DOTALL))
def test_screen_has_80_columns(screen):
    assert max(map(len, screen.splitlines())) <= 80
