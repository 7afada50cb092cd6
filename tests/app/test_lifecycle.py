"""The whole application: stops, crashes and reloads while events arrive.

Accepted events are delivered, or are in the journal and delivered after the next start.
"""

import asyncio
import contextlib
import json
import os
import random
import re
import signal
import sys
from pathlib import Path

import pytest

from app.conftest import BASIC, line, numbers_in, send
from edr.app.config import ConfigurationError

README = Path(__file__).parents[2] / "README.md"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

FIVE = (
    BASIC
    + """
[sinks.critical]
type = "file"
path = "critical.jsonl"
bindings = [{ severity = "critical" }]
[sinks.bad]
type = "file"
path = "no/such/folder/x.jsonl"
"""
)


class Sender:
    """Sends numbered events to the socket until it is stopped, and keeps the accepted ones."""

    def __init__(self, path, seed=0):
        self.path = path
        self.accepted = []
        self.next = 0
        self._random = random.Random(seed)
        self._is_stopped = False

    async def run(self):
        while not self._is_stopped:
            with contextlib.suppress(OSError, json.JSONDecodeError, asyncio.IncompleteReadError):
                await self._converse()
            await asyncio.sleep(0.02)

    async def _converse(self):
        reader, writer = await asyncio.open_unix_connection(self.path)
        try:
            while not self._is_stopped:
                count = self._random.randrange(1, 20)
                numbers = list(range(self.next, self.next + count))
                self.next += count
                writer.write(b"".join(map(line, numbers)) + b"\n")
                answer = json.loads(await reader.readline())
                self.accepted += numbers[: answer["accepted"]]
                if "not_stored" in answer:
                    return
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    @contextlib.asynccontextmanager
    async def sending(self):
        task = asyncio.create_task(self.run())
        try:
            yield
        finally:
            self._is_stopped = True
            await task
            self._is_stopped = False


# asyncio drops a connection whose sock_accept is cancelled in the step in which it was accepted.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_events_survive_a_stop_at_50_moments(running, tmp_path):
    moments = random.Random(7)
    sender = Sender(tmp_path / "in.sock")
    async with sender.sending():
        for _ in range(50):
            async with running(FIVE) as app:
                await asyncio.sleep(moments.uniform(0, 0.1))
                app.stop()
                result = await app.running
                assert result.lost == {}
    async with running(FIVE):  # delivers what is left
        pass

    delivered = numbers_in(tmp_path / "audit.jsonl")
    assert len(sender.accepted) > 10
    assert set(sender.accepted) <= set(delivered)
    assert delivered == sorted(set(delivered))  # in order, each once


async def test_random_reloads_lose_nothing(running, configured, tmp_path):
    choice = random.Random(3)
    sender = Sender(tmp_path / "in.sock")
    async with running(FIVE) as app:
        async with sender.sending():
            for n in range(40):
                text = FIVE
                if choice.random() < 0.5:
                    text = text.replace('severity = "critical"', 'severity = "warning"')
                if choice.random() < 0.3:
                    text = text.replace("[sinks.bad]", "[sinks.other]")
                if choice.random() < 0.3:
                    text = text.replace('"audit.jsonl"', '"audit.jsonl"\ntimeout = 5')
                if choice.random() < 0.2:
                    text += '[sinks.new]\ntype = "file"\npath = "new.jsonl"\n'
                if choice.random() < 0.2:
                    with pytest.raises(ConfigurationError):
                        await app.reload(configured('[app]\nname = "x"\n' + text))
                result = await app.reload(configured(text))
                assert result.failed == (), n
                await asyncio.sleep(choice.uniform(0, 0.03))
        app.stop()
        await app.running

    delivered = numbers_in(tmp_path / "audit.jsonl")
    assert len(sender.accepted) > 10
    assert set(sender.accepted) <= set(delivered)
    assert delivered == sorted(delivered)


# Processes


async def test_the_commands_of_the_readme_put_an_event_into_a_file(tmp_path):
    section = README.read_text(encoding="utf-8").partition("## Run it as an application")[2]
    commands = re.search(r"```sh\n(.*?)```", section, re.DOTALL)[1].splitlines()
    assert "pip install" in commands[0]
    script = "\n".join(commands[1:]).replace(".venv/bin/edr", f"{sys.executable} -m edr")

    program = await asyncio.create_subprocess_shell(
        f"set -e\n{script}",
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(README.parent)},
    )
    out, err = await program.communicate()

    assert program.returncode == 0, err.decode()
    assert json.loads(out)["body"] == {"hello": 1}


@contextlib.asynccontextmanager
async def process(tmp_path, text=FIVE):
    """Run ``edr run`` for the time of a block, and kill it at the end."""
    (tmp_path / "edr.toml").write_text(text)
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "edr", "run", str(tmp_path / "edr.toml")),
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        lines = []
        while not lines or "the application runs" not in lines[-1]:
            read = await program.stderr.readline()
            assert read, "".join(lines)
            lines.append(read.decode())
        yield program
    finally:
        with contextlib.suppress(ProcessLookupError):
            program.kill()
        await program.communicate()


async def test_sighup_reloads_and_sigterm_ends_in_order(tmp_path):
    async with process(tmp_path, BASIC) as program:
        changed = BASIC.replace("audit.jsonl", "other.jsonl")
        (tmp_path / "edr.toml").write_text(changed)
        program.send_signal(signal.SIGHUP)
        while b"was reloaded; parts changed: 1" not in await program.stderr.readline():
            pass
        await send(tmp_path / "in.sock", line(1))
        program.send_signal(signal.SIGTERM)
        _, rest = await program.communicate()

    assert program.returncode == 0
    assert b"the application has stopped" in rest
    assert numbers_in(tmp_path / "other.jsonl") == [1]


async def test_a_second_signal_ends_the_process_at_once(tmp_path):
    text = '[app]\nshutdown_timeout = "1h"\n[sinks.out]\ntype = "stdout"\ndurable = false\n'
    text += '[sources.local]\ntype = "socket"\npath = "in.sock"\n'
    (tmp_path / "edr.toml").write_text(text)
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "edr", "run", str(tmp_path / "edr.toml")),
        stderr=asyncio.subprocess.PIPE,
        stdout=(pipe := open_full_pipe())[1],
    )
    try:
        while b"the application runs" not in await program.stderr.readline():
            pass
        await send(tmp_path / "in.sock", line(1))
        program.send_signal(signal.SIGINT)
        while b"SIGINT received" not in await program.stderr.readline():
            pass
        program.send_signal(signal.SIGTERM)
        code = await program.wait()
    finally:
        pipe[0].close()
        pipe[1].close()
        with contextlib.suppress(ProcessLookupError):
            program.kill()
        await program.communicate()

    assert code == -signal.SIGTERM


def open_full_pipe():
    """Return a pipe that accepts no further byte."""
    import os

    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while os.write(writer, b"\n" * 4096):
            pass
    os.set_blocking(writer, True)
    return os.fdopen(reader, "rb"), os.fdopen(writer, "wb", buffering=0)
