"""What every test has: a bus, a leak check, and the event loop that EDR_LOOP names."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

import edr

sys.path.insert(0, str(Path(__file__).parent))


def pytest_asyncio_loop_factories(config, item):
    if os.environ.get("EDR_LOOP") == "uvloop":
        import uvloop

        return {"uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}


@pytest.fixture(autouse=True)
async def no_leaked_tasks():
    yield
    leaked = asyncio.all_tasks() - {asyncio.current_task()}
    assert not leaked, f"the test left tasks behind: {leaked}"


@pytest.fixture
async def bus():
    bus = edr.Bus(node="test")
    yield bus
    await bus.aclose()


@pytest.fixture
def make_event():
    def make(app_name="app", severity="ok", verbosity="info", body=None, **fields):
        return edr.Event(
            app_name=app_name,
            app_version="1",
            severity=severity,
            verbosity=verbosity,
            body=body or {},
            **fields,
        )

    return make


@pytest.fixture
def emit(bus):
    """Emit body {"n": n} at the default levels."""

    async def emit(n, app_name="app", severity="ok", verbosity="info", **fields):
        return await bus.emit(app_name, "1", severity, verbosity, {"n": n}, **fields)

    return emit


async def ticks(count=5):
    """Let what is ready run, and what that makes ready."""
    for _ in range(count):
        await asyncio.sleep(0)


def take_ready(subscription):
    """Take what a subscription can give without waiting, as the n of each body."""
    return [item if isinstance(item, edr.Gap) else item.body["n"] for item in ready(subscription)]


def ready(subscription):
    while subscription.statistics().pending or subscription._queue.items:
        coroutine = subscription.__anext__()
        try:
            coroutine.send(None)
        except StopIteration as stop:
            yield stop.value
        else:
            coroutine.close()
            raise AssertionError("a pending event was not to be had at once")


def is_balanced(statistics):
    dropped = sum(statistics.dropped.values())
    return statistics.offered == statistics.delivered + dropped + statistics.pending
