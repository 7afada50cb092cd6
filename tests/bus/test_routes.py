"""Body patterns in the bus: who wants an event of this body."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.consuming import take_ready
from support.pattern_strategies import bodies, patterns
from support.strategies import few, levels

from edr import Binding, Event, InvalidEvent, Overflow, Pattern
from edr.bus.queue import BoundedQueue
from edr.bus.routes import Routes
from edr.bus.statistics import Totals

LONG = Binding(body={"wait": [{"numeric": [">", 30]}]})
PAUSED = Binding(app_name="agents", body={"status": ["paused"]})


@pytest.fixture(params=["emit", "emit_nowait", "emit_threadsafe", "publish"])
def send(request, bus, make_event):
    """Bring a body to the bus, in each of the four ways."""

    async def send(body, app_name="agents"):
        bus.enter()
        if request.param == "publish":
            return await bus.publish(make_event(app_name, body=body))
        outcome = getattr(bus, request.param)(app_name, "1", "ok", "info", body)
        if request.param == "emit_threadsafe":
            return await asyncio.wrap_future(outcome)
        return await outcome if asyncio.iscoroutine(outcome) else outcome

    return send


async def test_a_body_pattern_chooses_among_events_of_one_key(bus, send):
    long, paused, everything = bus.subscribe(LONG), bus.subscribe(PAUSED), bus.subscribe()

    assert await send({"n": 1, "wait": 31}) == 2
    assert await send({"n": 2, "wait": 3, "status": "paused"}) == 2
    assert await send({"n": 3, "wait": 99, "status": "paused"}) == 3
    assert await send({"n": 4, "wait": 99, "status": "paused"}, app_name="other") == 2
    assert take_ready(long) == [1, 3, 4]
    assert take_ready(paused) == [2, 3]
    assert take_ready(everything) == [1, 2, 3, 4]


async def test_an_event_comes_once_whatever_number_of_patterns_match(bus, send):
    subscription = bus.subscribe(LONG, PAUSED, Binding(), Binding(app_name="agents"))

    assert await send({"n": 1, "wait": 31, "status": "paused"}) == 1
    assert take_ready(subscription) == [1]


async def test_nobody_is_offered_what_no_pattern_matches(bus, send):
    subscription = bus.subscribe(LONG)

    assert await send({"n": 1, "wait": 1}) == 0
    assert subscription.statistics().offered == 0
    assert bus.statistics().emits == 1


async def test_a_bad_body_is_refused_where_a_pattern_looks_into_it(bus):
    bus.subscribe(LONG)
    with pytest.raises(InvalidEvent, match="body.wait: nan"):
        await bus.emit("app", "1", "ok", "info", {"wait": float("nan")})

    assert bus.statistics().emits == 0


async def test_closing_removes_its_patterns_and_leaves_nothing_behind(bus, send):
    first, second = bus.subscribe(LONG), bus.subscribe(LONG, PAUSED)
    first.close()
    assert await send({"n": 1, "wait": 31}) == 1
    second.close()
    assert await send({"n": 2, "wait": 31}) == 0

    assert bus._routes._indexes == {}
    assert not bus._routes._trie
    assert take_ready(second) == [1]


async def test_bindings_at_one_spot_share_an_index(bus):
    subscriptions = [
        bus.subscribe(Binding(app_name="app", body={"call_id": [f"c{n}"]})) for n in range(100)
    ]
    for n in (7, 93):
        assert await bus.emit("app", "1", "ok", "info", {"call_id": f"c{n}", "n": n}) == 1
        assert take_ready(subscriptions[n]) == [n]

    assert len(bus._routes._indexes) == 1


class FakeBus:
    stall_after = 5.0
    totals = Totals()

    def on_close(self, queue):
        pass


some_bindings = st.builds(
    Binding,
    app_name=st.just("*") | few,
    body=st.none() | patterns.map(Pattern),
    severity=levels["severity"],
    exact_severity=st.booleans(),
)


@settings(deadline=None)
@given(
    st.lists(st.lists(some_bindings, min_size=1, max_size=3), min_size=1, max_size=8),
    st.lists(st.tuples(few, levels["severity"], bodies), min_size=1, max_size=4),
    st.sets(st.integers(0, 7)),
)
def test_agrees_with_binding_matches(subscriptions, events, removed):
    routes, bus = Routes("here"), FakeBus()
    queues = [BoundedQueue(bus, n, 1, Overflow.BLOCK) for n in range(len(subscriptions))]
    for queue, bindings in zip(queues, subscriptions, strict=True):
        routes.add(queue, tuple(bindings))
    for queue in queues:
        if queue.number in removed:
            routes.remove(queue)

    for app_name, severity, body in events:
        event = Event(
            app_name=app_name, app_version="1", severity=severity, verbosity="info", body=body
        )
        wanted = {
            n
            for n, bindings in enumerate(subscriptions)
            if n not in removed and any(binding.matches(event) for binding in bindings)
        }
        route = routes.find((app_name, "1", severity, "info", None, ()))
        found = route.wanting(event.body) if route.looks_into_body else route.queues
        assert sorted(queue.number for queue in found) == sorted(wanted)


async def test_a_subscription_that_comes_or_goes_forgets_the_routes_of_its_app_alone(bus, emit):
    for app_name in ("a", "b"):
        await emit(1, app_name=app_name)
    known = bus._routes.known
    bus.subscribe(Binding(app_name=["a", "x"])).close()
    assert [key[0] for key in known] == ["b"]
    await emit(1, app_name="a")
    bus.subscribe(Binding()).close()

    assert known == bus._routes._keys_of_app == {}
