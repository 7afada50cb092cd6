"""Tenants: trees x grants x bindings over HTTP, against rules that this file states by itself.

``EDR_WEB_VERDICTS`` sets twice the number of verdicts over ``/recent``; the usual number is for CI.
"""

import json
import os
import random

import pytest
from support.web_grants import OPERATOR

VERDICTS = int(os.environ.get("EDR_WEB_VERDICTS", "6000"))
NAMES = ("a", "ab", "b", "b.c", "*", "a*", "ä", "0")
APPS = ("app0", "app1")
SEVERITIES = ("ok", "warning", "critical")

pytestmark = pytest.mark.slow


def some_event(draw):
    account = draw.choice((None, *NAMES))
    above = [] if account is None else draw.sample(NAMES, draw.choice((0, 0, 1, 2, 3)))
    return {
        "app_name": draw.choice(APPS),
        "severity": draw.choice(SEVERITIES),
        "account_id": account,
        "account_tree": [name for name in above if name != account],
        "body": {"k": draw.choice((1, 2))},
    }


def some_binding(draw):
    binding = {}
    if draw.random() < 0.7:
        names = draw.sample(NAMES, draw.choice((1, 2)))
        binding["account_id"] = names if len(names) > 1 or draw.random() < 0.5 else names[0]
        binding["include_descendants"] = draw.random() < 0.6
    if draw.random() < 0.3:
        binding["app_name"] = draw.choice(APPS)
    if draw.random() < 0.3:
        binding["severity"] = draw.choice(SEVERITIES)
    if draw.random() < 0.3:
        binding["body"] = {"k": [1]}
    return binding


def tree_as_seen(event, token):
    """Return the tree that a client sees; None if it must not see the event."""
    tree, account = event["account_tree"], event["account_id"]
    if token == OPERATOR:
        return tree
    if account is None:
        return None
    if account == token:
        return []
    return tree[tree.index(token) :] if token in tree else None


def is_wanted(event, tree, binding):
    wanted = binding.get("account_id", "*")
    if wanted != "*":
        wanted = [wanted] if isinstance(wanted, str) else wanted
        named = {event["account_id"], *(tree if binding["include_descendants"] else ())}
        if not named & set(wanted):
            return False
    if SEVERITIES.index(event["severity"]) < SEVERITIES.index(binding.get("severity", "ok")):
        return False
    if event["app_name"] != binding.get("app_name", event["app_name"]):
        return False
    return "body" not in binding or event["body"]["k"] == 1


def expected(events, token, bindings):
    seen = []
    for n, event in enumerate(events):
        tree = tree_as_seen(event, token)
        if tree is not None and any(is_wanted(event, tree, each) for each in bindings):
            seen.append((n, event["account_id"], tree))
    return seen


def shown(events):
    return [(each["body"]["n"], each["account_id"], each["account_tree"]) for each in events]


async def events_until(stream, cursor):
    """Return the events up to the heartbeat with this cursor."""
    received = []
    while True:
        block = await stream.block()
        if block.data is None and block.id == cursor:
            return received
        if block.event == "message" and block.data is not None:
            received.append(block.data)


@pytest.mark.parametrize("seed", [1, 2])
async def test_each_tenant_receives_its_events_and_no_others(
    serve, client_of, bus, make_event, seed
):
    draw = random.Random(seed)
    _, server = await serve(heartbeat=0.05, history=seed == 1)
    count = VERDICTS // 2
    size = min(150, count // 10)
    questions = []
    for _ in range(count // size):
        token = draw.choice((OPERATOR, *(name for name in NAMES if name.isascii())))
        bindings = [some_binding(draw) for _ in range(draw.choice((1, 1, 2, 3)))]
        questions.append((token, bindings))
    streams = []
    for token, bindings in questions[:40]:
        stream = await client_of(server, token).post("/events", {"bindings": bindings})
        streams.append((stream, token, bindings))
    events = [some_event(draw) for _ in range(size)]
    for n, event in enumerate(events):
        body = {**event["body"], "n": n}
        bus.publish_nowait(make_event(**{**event, "body": body}))

    end = (await (await client_of(server).get("/recent", last=0)).json())["cursor"]
    for stream, token, bindings in streams:
        received = await events_until(stream, end)
        assert shown(received) == expected(events, token, bindings), (token, bindings)
        stream.close()
    for token, bindings in questions if seed == 1 else ():
        answer = await client_of(server, token).post(
            "/recent", {"bindings": bindings, "last": size}
        )
        document = await answer.json()
        answer.close()
        found = shown([each["event"] for each in document["events"]])
        assert found == expected(events, token, bindings), (token, bindings)


async def test_answer_about_an_account_above_is_that_about_an_unknown_one(
    serve, client_of, publish
):
    _, server = await serve()
    publish(1, account_id="branch", account_tree=("secret", "reseller"))
    bodies = set()
    for account in ("secret", "nobody"):
        binding = {"account_id": account, "include_descendants": True}
        answer = await client_of(server, "reseller").get(
            "/recent", binding=json.dumps(binding), last=5
        )
        bodies.add(await answer.body())

    assert len(bodies) == 1


async def test_missed_does_not_count_events_of_other_tenants(serve, client_of, publish):
    _, server = await serve(ring=10, history=False)
    client = client_of(server, "acme")
    _, hello = await client.events()
    stays = await client.events()
    for n in range(100):
        publish(n, account_id="acme" if n % 10 == 0 else "globex")
    publish(*range(10), account_id="acme")
    stream, _ = await client.events(after=hello.id)
    gap = await stream.block()

    assert gap.data == {"reason": "expired", "missed_at_most": 10}
    assert stays
