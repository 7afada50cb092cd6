"""What every test has: a bus, a leak check, and the event loop that the environment names.

``EDR_LOOP=uvloop`` runs the suite on uvloop, ``EDR_EAGER=1`` under the eager task factory, which
Python has from 3.12 on. ``EDR_EXAMPLES=40`` runs 40 examples of each property instead of 100, and
40 % of the seeds. ``EDR_REQUIRE`` is for tests that need a server: see ``support.servers``.
"""

import asyncio
import logging
import math
import os

import pytest
from _pytest.logging import LogCaptureHandler
from hypothesis import HealthCheck, Phase, settings

# Before they are imported: what they assert shall be told as in a test.
pytest.register_assert_rewrite("promises", "support")

from support.servers import (  # noqa: F401 - fixtures and hooks
    nats_url,
    pytest_make_collect_report,
    pytest_runtest_makereport,
    pytest_terminal_summary,
    rabbitmq_url,
)
from support.shuffled_loop import set_task_factory

import edr

QUICK = "not slow"
LONG = 600.0
"""Seconds that a slow test may take: what it takes on a quiet machine, twenty times over."""

# A deadline says that a machine is busy, not that something is broken. And no explain phase: it
# runs a failing example hundreds of times more, longer than a test may take.
WHOLE = int(os.environ.get("EDR_EXAMPLES", "100"))
for name, examples in (("whole", WHOLE), ("quick", 10)):
    settings.register_profile(
        name,
        max_examples=examples,
        deadline=None,
        phases=set(Phase) - {Phase.explain},
        suppress_health_check=[HealthCheck.too_slow],
        print_blob=True,
    )


def pytest_configure(config):
    settings.load_profile("quick" if config.option.markexpr == QUICK else "whole")


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(LONG))


def pytest_asyncio_loop_factories(config, item):
    if os.environ.get("EDR_LOOP") == "uvloop":
        import uvloop

        return {"uvloop": lambda: prepared(uvloop.new_event_loop())}
    return {"asyncio": lambda: prepared(asyncio.new_event_loop())}


def prepared(loop):
    loop.slow_callback_duration = math.inf  # no more than a deadline, and it would be in the log
    return set_task_factory(loop)


def logging_state():
    """Return the settings of each logger whose lines tests compare, by its name."""
    names = ["asyncio", *(name for name in logging.root.manager.loggerDict if name[:3] == "edr")]
    loggers = [logging.root, *map(logging.getLogger, names)]
    state = {
        each.name: (
            each.level,
            each.propagate,
            each.disabled,
            each.filters[:],
            [handler for handler in each.handlers if not isinstance(handler, LogCaptureHandler)],
        )
        for each in loggers
    }
    return {"disabled levels": logging.root.manager.disable, **state}


NEW_LOGGER = (logging.NOTSET, True, False, [], [])


@pytest.fixture(autouse=True)
def logging_is_left_unchanged():
    """Fail a test that changes a logger for the tests after it."""
    before = logging_state()
    yield
    changed = {
        name: {"before": old, "after": new}
        for name, new in logging_state().items()
        if new != (old := before.get(name, NEW_LOGGER))
    }
    assert not changed, f"the test left loggers changed: {changed}"


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


class Failure(BaseException):
    """As the one that pytest.fail raises."""


FAULTS = [OSError("disk full"), Failure("no"), asyncio.CancelledError(), SystemExit(3)]


@pytest.fixture(params=FAULTS, ids=lambda fault: type(fault).__name__)
def fault(request):
    return request.param


@pytest.fixture
def failing_log(fault, monkeypatch):
    """Make each log line of edr raise, and return those that were logged."""
    lines = []

    class Raises(logging.Handler):
        def emit(self, record):
            lines.append(record.getMessage())
            raise fault

    handler = Raises()
    logging.getLogger("edr").addHandler(handler)
    monkeypatch.setattr(logging, "raiseExceptions", False)
    yield lines
    logging.getLogger("edr").removeHandler(handler)
