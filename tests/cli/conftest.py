"""Commands against a bus that is exposed in the same process."""

import asyncio
import contextlib
import io
import json
import sys
from dataclasses import dataclass

import pytest

import edr.control
from edr.cli.main import main


@dataclass
class Result:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def lines(self):
        return self.out.splitlines()

    @property
    def records(self):
        return [json.loads(line) for line in self.lines]


@pytest.fixture(autouse=True)
def runtime_folder(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    monkeypatch.setenv("EDR_RUNTIME_DIR", str(folder))
    return folder


@pytest.fixture
async def exposed(bus):
    """Expose ``bus`` as calls-api, with a history, and permit emits."""
    async with edr.control.expose(bus, name="calls-api", history=100, allow={"emit"}) as exposed:
        yield exposed


@pytest.fixture
def command(monkeypatch):
    """Run a command line in a thread; its event loop is its own."""

    async def run(*arguments, stdin=""):
        out, err = io.StringIO(), io.StringIO()
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))

        def call():
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                return main(arguments)

        code = await asyncio.to_thread(call)
        return Result(int(code), out.getvalue(), err.getvalue())

    return run
