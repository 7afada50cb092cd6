"""A real application in the loop of a test: journal, file sink and socket source."""

import asyncio
import contextlib
import json

import pytest

from edr.app.config import read
from edr.app.setup import make_application

BASIC = """
[sources.local]
type = "socket"
path = "in.sock"
[sinks.audit]
type = "file"
path = "audit.jsonl"
"""


@pytest.fixture(autouse=True)
def runtime_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("EDR_RUNTIME_DIR", str(tmp_path / "run"))


@pytest.fixture
def configured(tmp_path):
    """Return the configuration of a text; its paths are in ``tmp_path``."""
    return lambda text: read(text.encode(), folder=tmp_path).configuration


@pytest.fixture
def running(configured):
    """Run the application of a text for the time of a block."""

    @contextlib.asynccontextmanager
    async def run(text=BASIC):
        async def reload():
            return {"changed": [], "failed": []}

        application = make_application(configured(text), reload=reload)
        task = asyncio.create_task(application.run())
        started = asyncio.create_task(application.wait_started())
        await asyncio.wait([task, started], return_when=asyncio.FIRST_COMPLETED)
        application.running = task
        try:
            yield application
        finally:
            started.cancel()
            application.stop()
            await task

    return run


def line(n, **fields):
    """Return the JSON of an event."""
    event = {
        "app_name": "acdc",
        "app_version": "1",
        "severity": "ok",
        "verbosity": "info",
        "body": {"n": n},
        **fields,
    }
    return json.dumps(event).encode() + b"\n"


async def send(path, *lines):
    """Send lines to a socket source, and return its answer."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"".join(lines))
    writer.write_eof()
    answer = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return json.loads(answer)


def numbers_in(path):
    """Return the numbers of the events in a file, without the alerts of edr.

    A line that is being written has no end yet, and is left out.
    """
    with contextlib.suppress(FileNotFoundError):
        *lines, _ = path.read_bytes().split(b"\n")
        bodies = [json.loads(each)["body"] for each in lines]
        return [body["n"] for body in bodies if "n" in body]
    return []
