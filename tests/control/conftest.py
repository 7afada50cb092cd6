"""A runtime folder for each test, an exposed bus, and clients of it.

The path of the folder is short, because a socket's path is limited.
"""

import shutil
import tempfile
from contextlib import AsyncExitStack

import pytest

from edr.control import connect, expose


@pytest.fixture
def folder(monkeypatch):
    path = tempfile.mkdtemp(prefix="edr-", dir="/tmp")
    monkeypatch.setenv("EDR_RUNTIME_DIR", path)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
async def stack():
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def exposed(folder, bus, stack):
    """Expose the bus of the test, with these options."""

    async def exposed(**options):
        return await stack.enter_async_context(expose(bus, name="x", **options))

    return exposed


@pytest.fixture
def client_of(exposed, stack):
    """Expose the bus with these options, and connect to it."""

    async def client_of(**options):
        one = await exposed(**options)
        return await stack.enter_async_context(connect(one.path))

    return client_of
