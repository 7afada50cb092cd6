"""What every test has: a bus, a leak check, and the event loop that EDR_LOOP names."""

import asyncio
import os

import pytest

import edr


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
