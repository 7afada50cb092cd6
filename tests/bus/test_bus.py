"""Emit and publish: what they check, whom they reach, what they count."""

import asyncio
import inspect
import pickle
import threading
from concurrent.futures import Future
from datetime import UTC, datetime
from types import MappingProxyType

import orjson
import pytest
from support.consuming import is_balanced, take_ready
from support.unchecked import unchecked_event

from edr import (
    Binding,
    BodyTooLargeError,
    Bus,
    Event,
    InvalidBindingError,
    InvalidEventError,
    Severity,
    Verbosity,
)
from edr.bus import parts_of
from edr.bus.routes import MAX_ROUTES


async def test_emit_stamps_and_fills_the_event(bus):
    subscription = bus.subscribe()
    before = datetime.now(UTC)
    taken = await bus.emit("callflow", "5.1", "ok", Verbosity.INFO, {"call": 1}, account_id="acme")
    event = await anext(subscription)

    assert taken == 1
    assert before <= event.timestamp <= datetime.now(UTC)
    assert event == Event(
        account_id="acme",
        app_name="callflow",
        app_version="5.1",
        severity="ok",
        verbosity="info",
        body={"call": 1},
        node="test",
        id=event.id,
        timestamp=event.timestamp,
    )
    assert type(event.severity) is Severity
    assert type(event.verbosity) is Verbosity


async def test_all_arguments_of_emit_are_keywords_too(bus):
    subscription = bus.subscribe()
    await bus.emit(
        app_name="a", app_version="1", severity="ok", verbosity="info", body={}, account_id="x"
    )

    assert (await anext(subscription)).account_id == "x"


async def test_emit_returns_how_many_subscriptions_took_it(bus, emit):
    subscriptions = [bus.subscribe(Binding(severity=level)) for level in Severity]

    assert [await emit(1, severity=level) for level in Severity] == [1, 2, 3]
    assert [len(take_ready(s)) for s in subscriptions] == [3, 2, 1]
    assert await emit(1, verbosity="debug") == 0


WRONG = [
    ({"app_name": ""}, "app_name"),
    ({"app_name": None}, "app_name"),
    ({"app_name": []}, "app_name"),
    ({"app_version": ""}, "app_version"),
    ({"app_version": 5}, "app_version"),
    ({"severity": "info"}, "severity"),
    ({"verbosity": "ok"}, "verbosity"),
    ({"account_id": ""}, "account_id"),
    ({"account_id": 7}, "account_id"),
    ({"body": None}, "body"),
    ({"body": [("a", 1)]}, "body"),
]
GOOD = {"app_name": "a", "app_version": "1", "severity": "ok", "verbosity": "info", "body": {}}


@pytest.mark.parametrize(("fields", "path"), WRONG)
@pytest.mark.parametrize("wanted", [True, False])
async def test_cheap_checks_are_made_whether_or_not_somebody_listens(bus, fields, path, wanted):
    subscription = bus.subscribe() if wanted else None
    await bus.emit(**GOOD)
    for emit in (bus.emit, bus.emit_nowait, bus.emit_threadsafe):
        with pytest.raises(InvalidEventError) as caught:
            outcome = emit(**(GOOD | fields))
            if asyncio.iscoroutine(outcome):
                await outcome
        assert caught.value.path == path

    assert bus.statistics().emits == 1
    assert subscription is None or subscription.statistics().offered == 1


async def test_a_bad_body_reaches_nobody(bus):
    subscription = bus.subscribe()
    for emit in (bus.emit, bus.emit_nowait, bus.emit_threadsafe):
        with pytest.raises(
            InvalidEventError, match=r"body.calls\[1\].at: a bytes is not a JSON value"
        ):
            outcome = emit("a", "1", "ok", "info", {"calls": [0, {"at": b""}]})
            if asyncio.iscoroutine(outcome):
                await outcome

    assert subscription.statistics().offered == 0
    assert bus.statistics().emits == 0


VERBS = [f"{what}{how}" for what in ("emit", "publish") for how in ("", "_nowait", "_threadsafe")]
LONG_TEXT = {"text": "é" * 45}
LONG_TEXT_SIZE = len(orjson.dumps(LONG_TEXT))


@pytest.mark.parametrize("wanted", [Binding(), Binding(body={"text": [{"exists": True}]})])
@pytest.mark.parametrize("verb", VERBS)
async def test_each_verb_refuses_a_body_above_the_limit(verb, wanted, make_event):
    async def call(bus):
        args = ("a", "1", "ok", "info", LONG_TEXT)
        outcome = getattr(bus, verb)(*(args if "emit" in verb else [make_event(body=LONG_TEXT)]))
        if isinstance(outcome, Future):
            outcome = asyncio.wrap_future(outcome)
        return await outcome if inspect.isawaitable(outcome) else outcome

    async with Bus(max_body=LONG_TEXT_SIZE) as wide, Bus(max_body=LONG_TEXT_SIZE - 1) as narrow:
        taken, refused = wide.subscribe(wanted), narrow.subscribe(wanted)
        await call(wide)
        reason = f"at most {LONG_TEXT_SIZE - 1} bytes of JSON, got {LONG_TEXT_SIZE};"
        with pytest.raises(BodyTooLargeError, match=f"^body: must be {reason}"):
            await call(narrow)

        assert (taken.statistics().offered, refused.statistics().offered) == (1, 0)
        assert (wide.statistics().emits, narrow.statistics().emits) == (1, 0)
        taken.take()  # else the end of the bus waits for it


async def test_the_limit_of_a_body_is_256_kib_by_default(bus):
    bus.subscribe()
    most = {"text": "x" * (256 * 1024 - len('{"text":""}'))}

    assert await bus.emit("a", "1", "ok", "info", most) == 1
    with pytest.raises(BodyTooLargeError, match="262,144 bytes of JSON, got 262,145"):
        await bus.emit("a", "1", "ok", "info", {"text": most["text"] + "x"})


async def test_a_body_made_of_another_event_is_measured_too(make_event):
    outer = make_event(body={"inner": {"text": "x" * 100}})
    restored = pickle.loads(pickle.dumps(outer))
    async with Bus(max_body=90) as bus:
        bus.subscribe()
        with pytest.raises(BodyTooLargeError):
            await bus.emit("a", "1", "ok", "info", outer.body["inner"])
        with pytest.raises(BodyTooLargeError):
            await bus.emit("a", "1", "ok", "info", MappingProxyType({"text": "x" * 100}))
        with pytest.raises(BodyTooLargeError):
            await bus.publish(restored)


async def test_debug_checks_the_body_also_when_nobody_listens():
    async with Bus(debug=True) as careful, Bus() as quick:
        assert await quick.emit("a", "1", "ok", "info", {"a": b""}) == 0
        with pytest.raises(InvalidEventError):
            await careful.emit("a", "1", "ok", "info", {"a": b""})
        with pytest.raises(InvalidEventError):
            careful.emit_nowait("a", "1", "ok", "info", {"a": b""})
        assert await careful.emit("a", "1", "ok", "info", {"a": 1}) == 0


async def test_publish_delivers_the_very_event(bus, make_event):
    subscription = bus.subscribe(Binding(account_id="root", include_descendants=True))
    event = make_event(account_id="shop", account_tree=("root",), node="elsewhere")

    assert await bus.publish(event) == 1
    assert await anext(subscription) is event
    assert await bus.publish(make_event(account_id="other")) == 0


@pytest.mark.parametrize("thing", [None, {"app_name": "a"}, object(), unchecked_event()])
async def test_publish_refuses_what_was_not_validated(bus, thing):
    subscription = bus.subscribe()
    unchecked = unchecked_event(**(GOOD | {"account_id": None, "account_tree": ()}))
    for bad in (thing, unchecked):
        with pytest.raises(
            InvalidEventError, match="publish takes an edr.Event that was validated"
        ):
            await bus.publish(bad)

    assert subscription.statistics().offered == 0


@pytest.mark.parametrize("node", ["", "\ud800", 5, b"n"])
async def test_node_is_checked_when_the_bus_is_made(node):
    with pytest.raises((TypeError, ValueError), match="node must be a .*string"):
        Bus(node=node)


@pytest.mark.parametrize("name", ["a.b", "*", "#", "a>b", "two words", "line\nfeed", "звонок"])
async def test_names_are_plain_text(bus, name):
    exact, other = bus.subscribe(Binding(app_name=[name])), bus.subscribe(Binding(app_name="x.y"))
    await bus.emit(name, "1", "ok", "info", {"n": 1}, account_id=name)

    assert take_ready(exact) == [1]
    assert take_ready(other) == []


async def test_a_route_that_is_remembered_sees_later_subscriptions_and_closes(bus, emit):
    assert await emit(1) == 0
    first = bus.subscribe()
    assert await emit(2) == 1
    second = bus.subscribe()
    assert await emit(3) == 2
    first.shutdown()
    assert await emit(4) == 1

    assert take_ready(second) == [3, 4]


async def test_the_routes_that_are_remembered_are_bounded(bus):
    for n in range(MAX_ROUTES + 10):
        await bus.emit(f"app{n}", "1", "ok", "info", {})

    assert len(bus._routes.known) <= MAX_ROUTES


async def test_a_name_of_a_str_subclass_is_the_same_name(bus):
    class Name(str):
        __slots__ = ()

    subscription = bus.subscribe(Binding(app_name="app"))
    await bus.emit(Name("app"), "1", Severity.OK, "info", {})
    await bus.emit("app", "1", "ok", "info", {})
    events = [await anext(subscription) for _ in range(2)]

    assert [type(event.app_name) for event in events] == [str, str]


async def test_the_bus_sums_what_its_subscriptions_count_also_those_that_are_gone(bus, emit):
    gone = bus.subscribe(capacity=1, overflow="drop_newest")
    stays = bus.subscribe()
    for n in range(3):
        await emit(n)
    gone.shutdown()
    await anext(stays)
    statistics = bus.statistics()

    assert (statistics.emits, statistics.subscriptions) == (3, 1)
    assert (statistics.offered, statistics.delivered, statistics.pending) == (6, 1, 3)
    assert statistics.dropped == {"overflow": 2}
    await anext(gone)
    assert (bus.statistics().delivered, bus.statistics().pending) == (2, 2)


async def test_subscriptions_that_come_and_go_leave_nothing_behind(bus):
    for n in range(100):
        bus.subscribe(Binding(app_name=f"app{n}", account_id=[f"a{n}", "b"])).shutdown()

    assert " 0 subscription" in repr(bus)
    assert not bus._routes._index


async def test_what_is_subscribed_is_listed_with_all_there_is_to_say(bus, emit):
    first = bus.subscribe(Binding(app_name="a"), name="audit", capacity=5, overflow="drop_oldest")
    second = bus.subscribe(Binding(app_name="b"), name="audit")
    bus.bind(Binding(severity="critical"), print, name="pager")
    await emit(1, "a")
    listed = bus.subscriptions()

    assert [each.name for each in listed] == ["audit", "audit #2", "pager"]
    assert [each.bindings for each in listed] == [
        (Binding(app_name="a"),),
        (Binding(app_name="b"),),
        (Binding(severity="critical"),),
    ]
    assert (listed[0].capacity, listed[0].overflow) == (5, "drop_oldest")
    assert listed[0].statistics.pending == 1
    assert await asyncio.to_thread(bus.subscriptions) is not None
    first.shutdown()
    third = bus.subscribe(name="audit")
    assert (second.name, third.name) == ("audit #2", "audit")


async def test_those_that_were_given_a_name_can_be_listed_alone(bus):
    held = [bus.subscribe(), bus.subscribe(name="audit"), bus.subscribe()]
    bus.bind(Binding(), print)

    assert [each.name for each in bus.subscriptions(named=True)] == ["audit", "print"]
    assert len(bus.subscriptions()) == len(held) + 1


async def test_subscriptions_are_listed_page_by_page(bus):
    held = [bus.subscribe(name=f"s{n}") for n in range(5)]
    bus.bind(Binding(), print)
    first = bus.subscriptions(limit=2)
    held.pop(2).shutdown()
    held.append(bus.subscribe(name="late"))
    rest = bus.subscriptions(after=first[-1].number)

    assert [each.name for each in first + rest] == ["s0", "s1", "s3", "s4", "print", "late"]
    assert [each.kind for each in rest].count("callback") == 1
    assert [each.number for each in first + rest] == [1, 2, 4, 5, 6, 7]


async def test_named_subscriptions_are_listed_page_by_page(bus):
    held = [bus.subscribe(name="s" if n % 3 == 0 else None) for n in range(9)]
    first = bus.subscriptions(named=True, limit=1)
    rest = bus.subscriptions(named=True, after=first[0].number, limit=5)

    assert [each.number for each in first + rest] == [1, 4, 7]
    assert len(held) == 9


async def test_explain_has_pages_too(bus, make_event):
    held = [bus.subscribe(name=f"s{n}", app_name=f"app{n}") for n in range(5)]
    whole = bus.explain(make_event("app3"))
    paged = bus.explain(make_event("app3"), limit=3)
    paged += bus.explain(make_event("app3"), after=paged[-1].number, limit=3)

    assert paged == whole
    assert [each.matches for each in whole] == [False, False, False, True, False]
    assert [each.number for each in whole] == list(range(1, len(held) + 1))


async def test_bindings_of_an_info_are_those_of_its_moment(bus):
    subscription = bus.subscribe(Binding(app_name="a"))
    (before,) = bus.subscriptions()
    subscription.rebind(Binding(app_name="b"))
    (after,) = bus.subscriptions()
    subscription.shutdown()

    assert before.bindings == (Binding(app_name="a"),)
    assert after.bindings == (Binding(app_name="b"),)
    assert before != after


@pytest.mark.parametrize(
    ("page", "error"),
    [({"limit": 0}, ValueError), ({"after": -1}, ValueError), ({"limit": "2"}, TypeError)],
)
async def test_wrong_page_is_refused(bus, make_event, page, error):
    with pytest.raises(error):
        bus.subscriptions(**page)
    with pytest.raises(error):
        bus.explain(make_event(), **page)


async def test_a_name_is_free_again_when_all_who_had_it_are_gone(bus):
    for _ in range(3):
        subscription = bus.subscribe(name="a #2")
        assert subscription.name == "a #2"
        await subscription.aclose()
    assert bus.subscribe(name="a").name == "a"


async def test_explain_says_of_each_subscription_why_not(bus, make_event):
    either = (Binding(severity="critical"), Binding(app_name="b", account_id="x"))
    held = [
        bus.subscribe(*either, name="a"),
        bus.subscribe(name="everything"),
        bus.subscribe(Binding(body={"queue": {"id": ["q9"]}}), name="wallboard"),
    ]
    verdicts = bus.explain(make_event(severity="warning", body={"queue": {"id": "q7"}}))

    assert [verdict.name for verdict in verdicts] == [each.name for each in held]
    assert [verdict.matches for verdict in verdicts] == [False, True, False]
    assert list(map(str, verdicts)) == [
        '✗ a: severity: wanted ["critical"], found "warning"',
        "✓ everything",
        '✗ wallboard: body.queue.id: wanted ["q9"], found "q7"',
    ]
    with pytest.raises(InvalidEventError):
        bus.explain({})


async def test_the_fields_of_a_binding_may_be_keywords(bus, emit):
    seen = []
    warnings = bus.subscribe(severity="warning", name="w", capacity=3)
    either = bus.subscribe(Binding(app_name="a"), app_name="b")

    @bus.on(app_name="a", severity="critical", retries=2)
    def critical(event):
        seen.append(event.body["n"])

    await emit(1, "a", "critical")
    await emit(2, "b")
    await bus.join(timeout=0)
    await asyncio.sleep(0)

    assert (take_ready(warnings), take_ready(either), seen) == ([1], [1, 2], [1])
    with pytest.raises(InvalidBindingError):
        bus.subscribe(severity="warn")
    with pytest.raises(InvalidBindingError):
        bus.on(severity="warn")


async def test_everything_is_what_everything_matches(bus, emit):
    everything = bus.subscribe(Binding.everything())
    await emit(1, verbosity="trace")

    assert take_ready(everything) == [1]


def test_statistics_may_be_read_by_a_thread_while_a_loop_first_uses_the_bus(monkeypatch):
    bus = Bus()
    subscription = bus.subscribe()
    sums, fold = bus._registry.sums, bus._registry.fold
    folded_in = []

    def sums_while_a_loop_begins():
        monkeypatch.setattr(bus._registry, "sums", sums)
        assert asyncio.run(emit()) == 1
        raise RuntimeError("dictionary changed size during iteration")

    async def emit():
        return await bus.emit("app", "1", "ok", "info", {})

    monkeypatch.setattr(bus._registry, "sums", sums_while_a_loop_begins)
    monkeypatch.setattr(bus._registry, "fold", lambda: folded_in.append(bus._loop) or fold())

    assert bus.statistics().offered == 1
    assert None not in folded_in  # a loop that begins meanwhile would be in its way
    subscription.shutdown()


def test_what_a_reading_raises_each_time_is_raised():
    def broken():
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        parts_of(Bus()).guard.read(broken)


async def test_statistics_of_any_thread_add_up_while_everything_changes(bus, emit):
    over, wrong, seen = threading.Event(), [], [0]

    def watch():
        while not over.is_set():
            seen[0] += 1
            for each in (bus.statistics(), *[info.statistics for info in bus.subscriptions()]):
                if not is_balanced(each) or each.delivered < 0 or each.pending < 0:
                    wrong.append(each)

    watcher = asyncio.create_task(asyncio.to_thread(watch))
    held = [bus.subscribe(capacity=3, overflow=policy) for policy in ("drop_oldest", "block")]
    for n in range(2000):
        if n % 10 == 0:
            held.append(bus.subscribe(capacity=2, overflow="drop_newest"))
            await held.pop(2 if len(held) > 5 else -1).aclose()
        await emit(n)
        for subscription in held:
            subscription.take(2)
        if n % 100 == 0:
            await asyncio.sleep(0.001)  # real time: the other thread wants its turn
    over.set()
    await watcher

    assert seen[0] > 10
    assert wrong == []


def test_a_bus_has_few_attributes_of_its_own():
    # CPython 3.11 shares the keys of an instance's attributes up to 30 of them. With more, each
    # attribute that emit reads costs more: together 4 % of an emit. State that emit does not read
    # belongs into a part of the bus.
    assert len(vars(Bus())) <= 28
