"""Body patterns in the bus: who wants an event of this body."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.consuming import take_ready
from support.pattern_strategies import bodies, patterns
from support.strategies import accounts, few, levels

from edr import Binding, Event, InvalidEventError, Overflow, Pattern
from edr.bus.bounded_queue import BoundedQueue
from edr.bus.routes import Routes
from edr.bus.statistics import Totals
from edr.records import trie_keys

LONG = Binding(body={"wait": [{"numeric": [">", 30]}]})
PAUSED = Binding(app_name="agents", body={"status": ["paused"]})


@pytest.fixture(params=["emit", "emit_threadsafe", "publish"])
def send(request, bus, make_event):
    """Bring a body to the bus, in each of the ways that return a count."""

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
    with pytest.raises(InvalidEventError, match="body.wait: nan"):
        await bus.emit("app", "1", "ok", "info", {"wait": float("nan")})

    assert bus.statistics().emits == 0


async def test_closing_removes_its_patterns_and_leaves_nothing_behind(bus, send):
    first, second = bus.subscribe(LONG), bus.subscribe(LONG, PAUSED)
    first.shutdown()
    assert await send({"n": 1, "wait": 31}) == 1
    second.shutdown()
    assert await send({"n": 2, "wait": 31}) == 0

    assert not bus._routes._index
    assert take_ready(second) == [1]


async def test_bindings_at_one_spot_share_an_index(bus):
    subscriptions = [
        bus.subscribe(Binding(app_name="app", body={"call_id": [f"c{n}"]})) for n in range(100)
    ]
    for n in (7, 93):
        assert await bus.emit("app", "1", "ok", "info", {"call_id": f"c{n}", "n": n}) == 1
        assert take_ready(subscriptions[n]) == [n]

    assert len(bus._routes._index._patterns) == 1


class FakeRegistry:
    stall_timeout = 5.0

    def __init__(self):
        self.totals, self.active = Totals(), {}

    def closed(self, queue):
        pass


some_bindings = st.builds(
    Binding,
    app_name=st.just("*") | few,
    account_id=st.just("*") | few | st.lists(few, min_size=1, max_size=2),
    include_descendants=st.booleans(),
    body=st.none() | patterns.map(Pattern),
    severity=levels["severity"],
    exact_severity=st.booleans(),
)
some_events = st.builds(
    lambda account, **fields: Event(app_version="1", verbosity="info", **account, **fields),
    account=accounts(),
    app_name=few,
    severity=levels["severity"],
    body=bodies,
)
changes = st.tuples(
    st.sampled_from(["add", "remove", "rebind"]),
    st.integers(0, 5),
    st.lists(some_bindings, min_size=1, max_size=3).map(tuple),
)


def found_by(routes, event):
    route = routes.find((event.app_name, "1", event.severity, "info"))
    if route.queues or route.unwanted:
        return route.queues
    return route.wanting(event.account_id, event.account_tree, event.body)


@given(
    st.lists(changes, max_size=12),
    st.lists(some_events, min_size=1, max_size=4),
)
def test_agrees_with_binding_matches_while_subscriptions_come_go_and_change(steps, events):
    routes, registry = Routes("here", 1_000_000), FakeRegistry()  # any body is small enough
    queues = [BoundedQueue(registry, n, 1, Overflow.BLOCK) for n in range(6)]
    bound = {}
    watch = routes.watch(lambda spot, wanted: told.__setitem__(spot, wanted), exclude=queues[0])
    told = {}
    for step, n, bindings in [*steps, ("remove", 5, ())]:
        if step == "remove":
            routes.remove(queues[n])
            bound.pop(n, None)
        elif n not in bound:
            routes.add(queues[n], bindings)
            bound[n] = bindings
        elif step == "rebind":
            routes.rebind(queues[n], bindings)
            bound[n] = bindings

        for event in events:
            wanted = [n for n, each in bound.items() if any(b.matches(event) for b in each)]
            found = [queue.number for queue in found_by(routes, event)]
            assert sorted(found) == sorted(wanted)
        spots = {s for n, each in bound.items() if n for b in each for s in trie_keys(b)}
        assert {spot for spot, wanted in told.items() if wanted} == spots == set(watch.keys)
    for n, each in bound.items():
        again = routes.bindings_of(queues[n])
        for event in events:
            assert any(b.matches(event) for b in again) == any(b.matches(event) for b in each)


async def test_a_change_makes_only_those_routes_stale_that_it_bears_upon(bus, emit):
    for app_name in ("a", "b"):
        await emit(1, app_name=app_name)
    a, b = [bus._routes.known[app, "1", "ok", "info"] for app in ("a", "b")]
    assert a.unwanted
    assert b.unwanted
    bus.subscribe(Binding(app_name=["a", "x"])).shutdown()
    bus.subscribe(Binding(severity="critical")).shutdown()
    assert (a.unwanted, b.unwanted) == (False, True)
    bus.subscribe(Binding()).shutdown()
    assert not b.unwanted


async def test_a_pattern_that_joins_others_at_its_spot_makes_no_route_stale(bus):
    async def emit(call_id):
        return await bus.emit("app", "1", "ok", "info", {"call_id": call_id})

    bus.subscribe(Binding(body={"call_id": ["a"]}))
    await emit("a")
    branch = bus._routes.known["app", "1", "ok", "info"]._branch
    second = bus.subscribe(Binding(body={"call_id": ["b"]}))
    assert await emit("b") == 1
    second.shutdown()
    assert await emit("b") == 0

    assert bus._routes.known["app", "1", "ok", "info"]._branch is branch


async def test_routes_and_answers_are_bounded_and_none_is_wrong_for_it(bus, monkeypatch):
    monkeypatch.setattr("edr.bus.routes.MAX_ROUTES", 10)
    monkeypatch.setattr("edr.bus.routes.MAX_ANSWERS", 10)
    bound = bus.subscribe(Binding(account_id=[f"acc{n}" for n in range(50)]), capacity=1000)
    for n in [*range(50), *range(50)]:
        assert await bus.emit(f"app{n % 30}", "1", "ok", "info", {"n": n}, f"acc{n}") == 1
        assert await bus.emit(f"app{n % 30}", "1", "ok", "info", {}, f"other{n}") == 0
    routes = bus._routes

    assert len(routes.known) <= 10
    assert len(routes._older) <= 10
    assert sum(len(r._answers) + len(r._older) for r in routes.known.values()) <= 20
    assert take_ready(bound) == [*range(50), *range(50)]


async def test_routes_that_come_round_are_not_matched_anew_at_twice_as_many(bus, monkeypatch):
    monkeypatch.setattr("edr.bus.routes.MAX_ROUTES", 10)
    keys = [(f"app{n}", "1", "ok", "info") for n in range(11)]
    for key in keys:
        await bus.emit(*key, {})
    matched = []
    branch = bus._routes.branch
    monkeypatch.setattr(bus._routes, "branch", lambda route: matched.append(route) or branch(route))
    for key in keys * 3:
        await bus.emit(*key, {})

    assert len(matched) <= 3  # one each time that the older half is forgotten


async def test_an_account_whose_tree_has_changed_is_looked_up_anew(bus, make_event):
    above = bus.subscribe(Binding(account_id="root", include_descendants=True))
    for tree, count in ((("root",), 1), ((), 0), (("root", "middle"), 1)):
        assert await bus.publish(make_event(account_id="leaf", account_tree=tree)) == count

    assert above.statistics().offered == 2


async def test_event_without_an_account_is_routed_by_its_ancestors(bus, make_event):
    below = bus.subscribe(account_id="acme", include_descendants=True)
    own = bus.subscribe(account_id="acme")
    for tree, count in (("root", "acme"), 1), ((), 0), (("root",), 0), (("acme",), 1):
        assert await bus.publish(make_event(account_tree=tree)) == count

    assert below.statistics().offered == 2
    assert own.statistics().offered == 0


async def test_accounts_that_are_no_names_are_refused(bus):
    for account in ("", 5, "\ud800", ["a"]):
        with pytest.raises(InvalidEventError, match="account_id"):
            await bus.emit("app", "1", "ok", "info", {}, account)
        with pytest.raises(InvalidEventError, match="account_id"):
            bus.emit_nowait("app", "1", "ok", "info", {}, account)


async def test_a_bad_key_raises_one_error_and_no_other_behind_it(bus):
    for bad in ({"severity": "bad"}, {"app_name": ["a"]}):
        values = {"app_name": "a", "severity": "ok"} | bad
        with pytest.raises(InvalidEventError) as caught:
            await bus.emit(**values, app_version="1", verbosity="info", body={})
        assert caught.value.__context__ is None


class Recorder:
    """A tap that remembers what it was given."""

    credit = number = 0

    def __init__(self):
        self.events = []

    def offer(self, event):
        self.events.append(event)
        return False

    offer_nowait = offer


async def test_a_tap_stands_in_the_route_and_is_not_counted(bus, emit):
    tap = Recorder()
    bus.add_tap(tap, *(Binding(severity="warning"), Binding(body={"n": [1]})))
    watch = bus._routes.watch(lambda *_: None, None)
    subscription = bus.subscribe()

    assert await emit(1) == 1
    assert await emit(2, severity="warning") == 1
    assert await emit(3) == 1
    assert bus.emit_nowait("app", "1", "critical", "info", {"n": 4}) == 1
    assert [event.body["n"] for event in tap.events] == [1, 2, 4]
    assert take_ready(subscription) == [1, 2, 3, 4]
    assert len(watch.keys) == 1
    bus.remove_tap(tap)
    bus.remove_tap(tap)
    assert await emit(5, severity="warning") == 1
    assert len(tap.events) == 3
    assert bus.statistics().subscriptions == 1


async def test_an_app_that_comes_with_other_levels_is_seen_by_the_routes_that_knew_none(bus, emit):
    everything = bus.subscribe()
    await emit(1, "a")
    warnings = bus.subscribe(Binding(app_name="a", severity="warning"))
    one = bus.subscribe(Binding(app_name="a", account_id="x"))
    await emit(2, "a", account_id="x")
    warnings.shutdown()
    one.shutdown()
    two = bus.subscribe(Binding(app_name="a", account_id="x"))
    await emit(3, "a", account_id="x")

    assert [take_ready(each) for each in (everything, one, two)] == [[1, 2, 3], [2], [3]]
