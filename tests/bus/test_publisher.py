"""The cold pipeline of a bus: check, look up, match, create, put, wait."""

import asyncio

import pytest

import edr
from edr.bus import parts_of
from edr.bus.publisher import checked_event

KEY = ("app", "1", "ok", "info")


def test_pending_event_has_a_snapshot_of_the_body():
    body = {"n": [1]}
    pending = parts_of(edr.Bus()).publisher.pending(KEY, body, "acme")
    body["n"].append(2)

    assert (pending.body, pending.account_id, pending.key) == ({"n": [1]}, "acme", KEY)


@pytest.mark.parametrize(
    ("key", "body", "account", "path"),
    [
        (("", "1", "ok", "info"), {}, None, "app_name"),
        (("app", "1", "bad", "info"), {}, None, "severity"),
        (KEY, [], None, "body"),
        (KEY, {"n": {1}}, None, "body.n"),
        (KEY, {}, "", "account_id"),
    ],
)
def test_pending_refuses_a_value_with_its_path(key, body, account, path):
    with pytest.raises(edr.InvalidEventError) as caught:
        parts_of(edr.Bus()).publisher.pending(key, body, account)

    assert caught.value.path == path


def test_checked_event_refuses_other_values_and_large_bodies(make_event):
    event = make_event(body={"text": "x" * 100})

    assert checked_event(event, 200) is event
    with pytest.raises(edr.BodyTooLargeError):
        checked_event(event, 50)
    with pytest.raises(edr.InvalidEventError):
        checked_event({"app_name": "app"}, 200)


async def test_publish_waits_for_space_and_counts_the_queue(bus, make_event):
    events = bus.subscribe(capacity=1)
    await bus.publish(make_event(body={"n": 1}))
    publishing = asyncio.create_task(parts_of(bus).publisher.publish(make_event(body={"n": 2})))
    await asyncio.sleep(0)

    assert not publishing.done()
    events.take()
    assert await publishing == 1


async def test_publish_soon_returns_a_task_only_for_full_queues(bus, make_event):
    events = bus.subscribe(capacity=1)
    publisher = parts_of(bus).publisher

    assert publisher.publish_soon(make_event()) is None
    waiting = publisher.publish_soon(make_event())
    events.take()
    assert await waiting == 1
