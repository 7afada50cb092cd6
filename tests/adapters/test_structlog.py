import logging

import pytest
from support.consuming import ready

import edr

structlog = pytest.importorskip("structlog")

from edr.adapters.logging import Handler  # noqa: E402
from edr.adapters.structlog import EmitEvents, log_events  # noqa: E402

ALL = edr.Binding(verbosity="trace")


@pytest.fixture
async def emit_events(bus):
    bus.enter()
    return EmitEvents(app_name="shop", app_version="5.1", bus=bus)


@pytest.fixture
def written():
    return []


@pytest.fixture
def log(emit_events, written):
    def write(logger, name, entry):
        written.append((name, dict(entry)))
        raise structlog.DropEvent

    return structlog.wrap_logger(
        structlog.PrintLogger(),
        processors=[emit_events, write],
        wrapper_class=structlog.BoundLogger,
    )


async def test_an_entry_becomes_an_event_and_goes_on_unchanged(bus, emit_events, log, written):
    events = bus.subscribe(ALL)
    log.bind(user="u1").warning("no_rate", at={1: {2}})
    (event,) = ready(events)

    assert written == [("warning", {"event": "no_rate", "user": "u1", "at": {1: {2}}})]
    assert (event.app_name, event.severity, event.verbosity) == ("shop", "warning", "warn")
    assert event.model_dump()["body"] == {
        "bridge": "structlog",
        "message": "no_rate",
        "extra": {"user": "u1", "at": {"1": [2]}},
    }
    assert emit_events.statistics().passed == 1


@pytest.mark.parametrize("exc_info", [True, "exception", "tuple"])
async def test_an_exception_is_text_in_the_body(bus, log, exc_info):
    events = bus.subscribe(ALL)
    try:
        raise KeyError("till")
    except KeyError as exc:
        given = {"exception": exc, "tuple": (KeyError, exc, None)}.get(exc_info, True)
        log.error("broken", exc_info=given)
    (event,) = ready(events)

    assert event.severity == "critical"
    assert event.body["exception"].strip().endswith("KeyError: 'till'")


async def test_the_level_and_the_logger_of_an_entry_win_over_its_method(bus, log):
    events = bus.subscribe(ALL)
    log.info("x", level="critical", logger="shop.cart")
    (event,) = ready(events)

    assert (event.verbosity, event.body["logger"]) == ("fatal", "shop.cart")
    assert "extra" not in event.body


@pytest.mark.parametrize("level", [2, "third", None, 1.5, ["a"]])
async def test_level_that_names_none_is_a_value_of_the_entry(bus, log, level):
    events = bus.subscribe(ALL)
    log.error("stuck", level=level)
    (event,) = ready(events)

    assert (event.severity, event.verbosity) == ("critical", "error")
    assert event.body["extra"] == {"level": level}


RENDERERS = {
    "json": [structlog.stdlib.render_to_log_kwargs],
    "text": [structlog.processors.JSONRenderer()],
    "logfmt": [structlog.processors.LogfmtRenderer()],
    "formatter": [structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
}


@pytest.mark.parametrize("name", RENDERERS)
async def test_entry_that_logging_gets_is_one_event_under_both_bridges(bus, emit_events, name):
    logger = logging.getLogger("shop.both")
    handler = Handler(app_version="1", bus=bus)
    logger.addHandler(handler)
    log = structlog.wrap_logger(
        logger,
        processors=[structlog.stdlib.filter_by_level, emit_events, *RENDERERS[name]],
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    events = bus.subscribe(ALL)
    try:
        log.warning("käse\nis out", user="u1")
        logger.warning("of a library")
        log.warning("again")
        logger.warning("again")
    finally:
        logger.removeHandler(handler)

    assert [event.body["bridge"] for event in ready(events)] == ["structlog", "logging"] * 2
    assert (handler.statistics().looped, handler.statistics().passed) == (2, 2)


async def test_an_account_that_fails_costs_the_event_and_not_the_entry(bus, written):
    bus.enter()
    emit_events = EmitEvents(
        app_name="a", app_version="1", account=lambda entry: entry["no"], bus=bus
    )
    entry = {"event": "x"}

    assert emit_events(None, "info", entry) is entry
    assert emit_events.statistics().dropped == {"failed": 1}


async def test_an_event_becomes_an_entry(bus, emit, log, written):
    outlet = log_events(bus, edr.Binding(), logger=log)
    await emit(1, severity="warning", account_id="acme")
    await bus.join()

    ((method, entry),) = written
    assert (method, entry["event"]) == ("warning", "app warning")
    assert (entry["account_id"], entry["body"], entry["node"]) == ("acme", {"n": 1}, "test")
    assert outlet.statistics().passed == 1


async def test_both_directions_and_a_callback_that_logs_are_cut(bus, emit_events, log, emit):
    outlet = log_events(bus, ALL, logger=log)
    bus.bind(ALL, lambda event: log.info("handled"))
    log.info("first")
    await emit(1)
    await bus.join()

    # The entry "first", the event, and one entry that the callback wrote of the latter.
    assert bus.statistics().emits == 3
    assert (outlet.statistics().passed, outlet.statistics().looped) == (1, 2)
    assert emit_events.statistics().passed == 2


async def test_two_bridges_on_one_bus_are_cut_too(bus, emit_events, log, emit):
    handler = Handler(app_version="1", bus=bus)
    logger = logging.getLogger("shop")

    def callback(event):
        log.info("handled")
        handler.handle(logger.makeRecord("shop", 20, "", 0, "handled", (), None))

    bus.bind(ALL, callback)
    await emit(1)
    await bus.join()

    assert bus.statistics().emits == 3
