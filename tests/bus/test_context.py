"""edr.context: the account and the fields of what is emitted for a while."""

import asyncio
import gc
import logging
import threading

import pytest
import structlog
from support.consuming import ticks

import edr
from edr.adapters.logging import Handler
from edr.adapters.structlog import EmitEvents
from edr.bus import override_default_bus

VALUES = ("app", "1", "ok", "info", {"n": 1})


@pytest.fixture
def default(bus):
    with override_default_bus(bus):
        yield bus


@pytest.fixture
def events(bus):
    return bus.subscribe()


async def emit(bus):
    await bus.emit(*VALUES)


async def emit_nowait(bus):
    bus.emit_nowait(*VALUES)


async def emit_anywhere(bus):
    bus.emit_nowait(*VALUES)


async def emit_anywhere_in_a_thread(bus):
    await asyncio.to_thread(bus.emit_nowait, *VALUES)
    await ticks()


async def emit_threadsafe(bus):
    await asyncio.wrap_future(bus.emit_threadsafe(*VALUES))


async def emit_threadsafe_in_a_thread(bus):
    await asyncio.wrap_future(await asyncio.to_thread(bus.emit_threadsafe, *VALUES))


async def emit_in_a_task(bus):
    await asyncio.create_task(bus.emit(*VALUES))


async def log(bus):
    handler = Handler(app_version="1")
    record = logging.LogRecord("app", logging.INFO, "", 1, "said", (), None)
    handler.emit(record)


async def log_with_structlog(bus):
    EmitEvents(app_name="app", app_version="1")(structlog.get_logger(), "info", {"event": "said"})


WAYS = (
    emit,
    emit_nowait,
    emit_anywhere,
    emit_anywhere_in_a_thread,
    emit_threadsafe,
    emit_threadsafe_in_a_thread,
    emit_in_a_task,
)


@pytest.mark.parametrize("send", [*WAYS, log, log_with_structlog], ids=lambda each: each.__name__)
async def test_context_applies_to_every_emit(default, events, send):
    default.enter()
    with edr.context("acme", request_id="r1"):
        await send(default)
    await send(default)
    within, after = [await anext(events) for _ in range(2)]

    assert (within.account_id, within.body["request_id"]) == ("acme", "r1")
    assert (after.account_id, "request_id" in after.body) == (None, False)


@pytest.mark.parametrize("send", WAYS[:6], ids=lambda each: each.__name__)
async def test_context_applies_to_module_functions(default, events, send):
    default.enter()
    with edr.context("acme", request_id="r1"):
        await send(edr)
    event = await anext(events)

    assert (event.account_id, event.body) == ("acme", {"request_id": "r1", "n": 1})


async def test_context_decides_who_receives_an_event(bus):
    acme = bus.subscribe(account_id="acme")
    traced = bus.subscribe(body={"request_id": ["r1"]})
    with edr.context("acme", request_id="r1"):
        assert await bus.emit(*VALUES) == 2
    assert await bus.emit(*VALUES) == 0

    assert [each.statistics().offered for each in (acme, traced)] == [1, 1]


async def test_context_applies_where_ancestors_are_looked_up():
    async with edr.Bus(accounts=edr.AccountTree({"acme": "root"})) as bus:
        events = bus.subscribe(account_id="root", include_descendants=True)
        with edr.context("acme", request_id="r1"):
            await bus.emit(*VALUES)
        event = await anext(events)
        events.shutdown()

    assert (event.account_tree, event.body["request_id"]) == (("root",), "r1")


async def test_emit_overrides_the_context(bus, events, make_event):
    with edr.context("acme", n=5, m=5):
        await bus.emit(*VALUES, account_id="globex")
        await bus.publish(make_event())
    emitted, published = events.take()

    assert (emitted.account_id, emitted.body) == ("globex", {"n": 1, "m": 5})
    assert (published.account_id, published.body) == (None, {})


async def test_current_context_tells_what_applies(bus):
    assert edr.current_context() == (None, {})
    with edr.context("acme", a=1) as outer, edr.context(b=2) as inner:
        assert outer == ("acme", {"a": 1})
        assert edr.current_context() == inner == ("acme", {"a": 1, "b": 2})
        with pytest.raises(TypeError):
            inner.fields["a"] = 2
    assert edr.current_context() == (None, {})


async def test_body_that_is_not_an_object_is_refused_within_a_context(bus):
    with (
        edr.context("acme", a=1),
        pytest.raises(edr.InvalidEventError, match="must be a JSON object"),
    ):
        await bus.emit("app", "1", "ok", "info", [1])


async def rows():
    with edr.context("acme", request_id="r1"):
        yield 1
        yield 2


async def test_generator_that_is_left_early_ends_its_context(caplog):
    async for _ in rows():
        break
    gc.collect()
    await ticks()

    assert edr.current_context() == (None, {})
    assert not caplog.records


async def test_generator_that_another_task_closes_raises_nothing():
    generator = rows()
    await asyncio.create_task(anext(generator))
    await generator.aclose()

    assert edr.current_context() == (None, {})


async def test_generator_that_a_thread_closes_keeps_the_surrounding_context():
    def plain_rows():
        with edr.context("acme"):
            yield 1

    with edr.context("globex"):
        generator = plain_rows()
        next(generator)
        thread = threading.Thread(target=generator.close)
        thread.start()
        thread.join()
        assert edr.current_context().account_id == "globex"


def test_context_that_is_not_entered_warns():
    with pytest.warns(RuntimeWarning, match="edr.context was not entered"):
        edr.context("acme")


@pytest.mark.parametrize("account", ["", 5, "\ud800"])
def test_context_checks_its_account(account):
    with pytest.raises(edr.InvalidEventError, match="account_id"):
        edr.context(account)


def test_context_checks_its_fields():
    with pytest.raises(edr.InvalidEventError, match="body.at: a set is not a JSON value"):
        edr.context("acme", at={1})


def test_context_is_entered_once():
    context = edr.context("acme")
    with context, pytest.raises(RuntimeError, match="entered once"), context:
        pass
