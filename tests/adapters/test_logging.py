import asyncio
import contextvars
import logging
import threading

import pytest
from support.consuming import ready

import edr
from edr.adapters import bridge
from edr.adapters.logging import Handler, log_events

ALL = edr.Binding(verbosity="trace")


@pytest.fixture
def logger(request):
    """A logger as the root one is, but for the tests of others."""
    logger = logging.getLogger("shop")
    logger.setLevel(1)
    logger.propagate = False
    yield logger
    logger.handlers.clear()
    logger.propagate = True
    logger.setLevel(logging.NOTSET)


@pytest.fixture
async def handler(bus, logger):
    bus.enter()
    handler = Handler(app_version="5.1", bus=bus)
    logger.addHandler(handler)
    return handler


def all_of(statistics):
    return statistics.passed + statistics.looped + sum(statistics.dropped.values())


async def test_a_record_becomes_an_event(bus, handler, logger):
    events = bus.subscribe(ALL)
    logging.getLogger("shop.cart").warning("%d items", 3, extra={"user": "u1"})
    (event,) = ready(events)

    assert (event.app_name, event.app_version) == ("shop", "5.1")
    assert (event.severity, event.verbosity, event.account_id) == ("warning", "warn", None)
    body = event.model_dump()["body"]
    assert body.pop("line") > 0
    assert body == {
        "bridge": "logging",
        "message": "3 items",
        "logger": "shop.cart",
        "file": __file__,
        "extra": {"user": "u1"},
    }


async def test_an_exception_and_a_stack_are_in_the_body(bus, handler, logger):
    events = bus.subscribe(ALL)
    try:
        raise KeyError("till")
    except KeyError:
        logger.exception("broken", stack_info=True)
    (event,) = ready(events)

    assert event.severity == "critical"
    assert event.body["exception"].endswith("KeyError: 'till'")
    assert event.body["stack"].startswith("Stack (most recent call last)")


async def test_the_account_and_the_app_are_the_users_to_say(bus, logger):
    bus.enter()
    tenant = contextvars.ContextVar("tenant")
    tenant.set("acme")
    logger.addHandler(
        Handler(app_version="1", app_name="mine", account=lambda record: tenant.get(), bus=bus)
    )
    events = bus.subscribe(ALL)
    logger.info("x")
    (event,) = ready(events)

    assert (event.account_id, event.app_name) == ("acme", "mine")


async def test_the_level_of_a_handler_holds(bus, handler, logger):
    handler.setLevel("ERROR")
    logger.warning("x")

    assert all_of(handler.statistics()) == 0


async def test_a_filter_of_a_handler_holds(bus, handler, logger):
    handler.addFilter(lambda record: record.levelno > logging.INFO)
    logger.info("x")
    logger.warning("y")

    assert all_of(handler.statistics()) == 1


async def test_a_thread_that_is_in_the_users_code_holds_up_no_other(bus, logger):
    bus.enter()
    inside, go_on = threading.Event(), threading.Event()

    def account(record):
        if record.getMessage() == "slow":
            inside.set()
            assert go_on.wait(30)

    handler = Handler(app_version="1", account=account, bus=bus)
    logger.addHandler(handler)
    slow = asyncio.create_task(asyncio.to_thread(logger.info, "slow"))
    await asyncio.to_thread(inside.wait, 30)
    logger.info("quick")
    assert handler.statistics().passed == 1
    go_on.set()
    await slow

    assert handler.statistics().passed == 2


async def test_what_is_wrong_with_a_record_is_counted_and_told_as_in_any_handler(handler, capsys):
    handler.handle(logging.LogRecord("shop", 20, "", 0, "%d items", ("three",), None))

    assert handler.statistics().dropped == {"failed": 1}
    assert "--- Logging error ---" in capsys.readouterr().err


async def test_an_account_that_fails_costs_its_record(bus, logger, capsys):
    bus.enter()
    handler = Handler(app_version="1", account=lambda record: record.nothing, bus=bus)
    logger.addHandler(handler)
    logger.info("x")

    assert handler.statistics().dropped == {"failed": 1}
    assert "AttributeError" in capsys.readouterr().err


def test_before_any_loop_runs_and_after_it_a_record_is_counted(logger):
    handler = Handler(app_version="1")
    logger.addHandler(handler)
    logger.info("early")

    async def main():
        logger.info("in time")
        async with edr.Bus() as bus:
            late.append(Handler(app_version="1", bus=bus))

    late = []
    asyncio.run(main())
    logger.addHandler(late[0])
    logger.info("late")

    assert handler.statistics().dropped == {"no bus": 2}
    assert handler.statistics().passed == 1
    assert late[0].statistics().dropped in ({"closed": 1}, {"refused": 1})


async def test_an_event_becomes_a_record(bus, emit, caplog):
    caplog.set_level(1, "edr.events")
    outlet = log_events(bus, edr.Binding(severity="warning"))
    await emit(1, severity="critical")
    await emit(2)
    await bus.join()

    (record,) = caplog.records
    assert (record.name, record.levelno) == ("edr.events", logging.ERROR)
    assert record.getMessage() == 'app critical {"n":1}'
    assert record.edr_event.body["n"] == 1
    assert outlet.statistics().passed == 1


async def test_an_outlet_that_is_unbound_logs_nothing_more(bus, emit, caplog):
    outlet = log_events(bus)
    outlet.unbind()
    await emit(1)

    assert bus.statistics().offered == 0


async def test_a_logger_that_fails_costs_no_other_event(bus, emit):
    class Broken(logging.Logger):
        def log(self, level, message, *args, **options):
            if args[2]._event.body["n"] == 1:
                raise OSError("disk full")

    outlet = log_events(bus, logger=Broken("broken", 1))
    await emit(1)
    await emit(2)
    await bus.join()

    assert (outlet.statistics().passed, outlet.statistics().dropped) == (1, {"failed": 1})


# Loops


async def test_the_loggers_of_edr_make_no_event(bus, handler):
    for name in ("edr", "edr.events"):
        record = logging.LogRecord(name, 40, "", 0, "x", (), None)
        handler.handle(record)
    handler.handle(logging.LogRecord("edrington", 40, "", 0, "x", (), None))

    assert (handler.statistics().looped, handler.statistics().passed) == (2, 1)


@pytest.mark.parametrize("name", ["asyncio", "concurrent.futures", "py.warnings"])
async def test_logger_that_may_feed_back_makes_one_event_in_a_while(handler, monkeypatch, name):
    now = [100.0]
    monkeypatch.setattr(bridge, "monotonic", lambda: now[0])
    for at in (100.0, 100.1, 129.0, 130.0, 131.0):
        now[0] = at
        handler.handle(logging.LogRecord(name, 40, "", 0, "x", (), None))

    assert (handler.statistics().passed, handler.statistics().dropped) == (2, {"limited": 3})


async def test_record_without_a_name_is_an_event_of_root(bus, handler):
    events = bus.subscribe(ALL)
    handler.handle(logging.makeLogRecord({"msg": "from a socket", "levelno": 40}))
    (event,) = ready(events)

    assert (event.app_name, event.body["message"]) == ("root", "from a socket")
    assert handler.statistics().passed == 1


async def test_what_is_logged_within_an_emit_makes_no_event(bus, logger):
    bus.enter()
    handler = Handler(app_version="1", account=lambda _: logger.info("inner"), bus=bus)
    logger.addHandler(handler)
    logger.info("outer")

    assert (handler.statistics().looped, handler.statistics().passed) == (1, 1)


@pytest.mark.parametrize("how", ["plain", "task", "thread"])
async def test_what_a_callback_logs_of_a_record_makes_no_event(bus, handler, logger, how):
    async def callback(event):
        if how == "plain":
            logger.info("handled")
        elif how == "task":
            await asyncio.create_task(asyncio.to_thread(logger.info, "handled"))
        else:
            await asyncio.to_thread(logger.info, "handled")

    bus.bind(ALL, callback)
    logger.info("first")
    await bus.join()

    assert (handler.statistics().passed, handler.statistics().looped) == (1, 1)


async def test_what_a_callback_logs_of_another_event_is_one_event(bus, handler, logger, emit):
    bus.bind(ALL, lambda event: logger.info("handled"))
    await emit(1)
    await bus.join()

    assert (handler.statistics().passed, handler.statistics().looped) == (1, 1)


async def test_an_event_that_is_logged_makes_no_event_whatever_the_logger(
    bus, handler, logger, emit
):
    outlet = log_events(bus, ALL, logger="shop.events")
    await emit(1)
    logger.info("a record")
    await bus.join()

    assert (outlet.statistics().passed, outlet.statistics().looped) == (1, 1)
    assert (handler.statistics().passed, handler.statistics().looped) == (1, 1)


THREADS, EACH = 8, 400


@pytest.mark.slow
async def test_all_directions_at_once_are_bounded_and_counted_and_wait_for_nobody(
    bus, handler, logger
):
    """The loop stands still until eight threads have logged: who waited for it, would for ever."""
    outlet = log_events(bus, ALL, logger="shop.events")
    handled = []

    def callback(event):
        handled.append(event)
        logger.info("handled %s", event.id)

    bus.bind(ALL, callback, capacity=100_000)

    def log():
        for n in range(EACH):
            logger.warning("record %d", n)

    threads = [threading.Thread(target=log, daemon=True) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    await bus.join()

    statistics = handler.statistics()
    logged = THREADS * EACH
    assert statistics.passed + statistics.dropped["refused"] == logged
    assert 1024 <= statistics.passed < logged
    assert statistics.dropped["refused"] == bus.statistics().refused
    # Each event was handled once, what that logged was cut, and none was logged again.
    assert bus.statistics().emits == len(handled) == statistics.passed == statistics.looped
    assert (outlet.statistics().passed, outlet.statistics().looped) == (0, len(handled))
