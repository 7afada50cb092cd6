"""One program with a web gateway: its clients across restarts, reloads and the stop."""

import asyncio
import contextlib
import hashlib
import json
import re
import signal
import sys

import pytest
from support.sse_client import HttpClient

from app.conftest import BASIC, line, send

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

WEB = BASIC + '[web]\nlisten = "127.0.0.1:0"\ntokens_file = "tokens.jsonl"\n'


def write_tokens(folder, *tokens):
    path = folder / "tokens.jsonl"
    digests = [hashlib.sha256(token.encode()).hexdigest() for token in tokens]
    documents = [{"sha256": each, "rights": ["watch_everything"]} for each in digests]
    path.write_text("".join(json.dumps(each) + "\n" for each in documents))
    path.chmod(0o600)


@contextlib.asynccontextmanager
async def running_program(folder):
    """Run the program; its ``port`` is that of the gateway. It is killed at the end."""
    (folder / "edr.toml").write_text(WEB)
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "edr", "run", str(folder / "edr.toml")),
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        log = await logged(program, "the application runs")
        program.port = int(re.search(r"listens on http://127\.0\.0\.1:(\d+)", log)[1])
        yield program
    finally:
        with contextlib.suppress(ProcessLookupError):
            program.kill()
        await program.communicate()


async def logged(program, text):
    """Return the log until a line with ``text``."""
    log = ""
    while text not in log:
        read = await program.stderr.readline()
        assert read, log
        log += read.decode()
    return log


@contextlib.asynccontextmanager
async def watching(program, after=None, token="one"):
    """Open a stream of the sender's events, after a cursor."""
    client = HttpClient(program.port, token)
    try:
        headers = {} if after is None else {"Last-Event-ID": after}
        yield (await client.events(headers, app_name="acdc"))[0]
    finally:
        client.close()


async def test_a_client_misses_nothing_through_a_kill_and_a_restart(tmp_path):
    write_tokens(tmp_path, "one")
    received, cursor = [], None
    for n, end in ((1, signal.SIGKILL), (4, signal.SIGTERM), (7, signal.SIGKILL)):
        async with running_program(tmp_path) as program, watching(program, cursor) as stream:
            await send(tmp_path / "in.sock", line(n), line(n + 1))
            last = [await stream.block()]
            while last[-1].n < n + 1:
                last.append(await stream.block())
            received += [each.n for each in last]
            cursor = stream.last_id
            stream.close()
            await send(tmp_path / "in.sock", line(n + 2))  # nobody receives it now
            program.send_signal(end)
            await program.wait()

    assert received == [1, 2, 3, 4, 5, 6, 7, 8]


async def test_a_reload_ends_the_client_whose_token_was_removed(tmp_path):
    write_tokens(tmp_path, "one", "two")
    async with (
        running_program(tmp_path) as program,
        watching(program) as kept,
        watching(program, token="two") as ended,
    ):
        write_tokens(tmp_path, "one")
        program.send_signal(signal.SIGHUP)
        await logged(program, "was reloaded; parts changed: 0, failed: 0")
        await send(tmp_path / "in.sock", line(1))

        assert (await ended.block()).data == {"reason": "grant"}
        assert (await kept.block()).n == 1


async def test_sigterm_says_bye_after_the_accepted_events(tmp_path):
    write_tokens(tmp_path, "one")
    async with running_program(tmp_path) as program, watching(program) as stream:
        await send(tmp_path / "in.sock", line(1))
        program.send_signal(signal.SIGTERM)
        event, bye = await stream.rest()
        code = await program.wait()

    assert (event.n, bye.event, bye.data, code) == (1, "bye", {"reason": "stopping"}, 0)
