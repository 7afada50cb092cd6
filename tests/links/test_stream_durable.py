"""``DurableConsumer``: a JetStream consumer is created, resumed and replaced."""

import pytest

pytest.importorskip("nats")
from support.fake_stream import FakeStream

from edr.links import stream_durable
from edr.links.stream_durable import DurableConsumer


@pytest.fixture
def stream():
    return FakeStream(last=9)


@pytest.fixture
def durable(monkeypatch):
    monkeypatch.setattr(stream_durable, "REDELIVERY_DELAY", 0.0)
    return DurableConsumer("c", 10)


@pytest.mark.parametrize(
    ("after", "begin"), [(None, ("all", None)), (4, ("by_start_sequence", 5))], ids=["oldest", "at"]
)
async def test_consumer_is_created_at_its_start(durable, stream, after, begin):
    await durable.create(stream, ["a.>"], {}, after)
    config = stream.consumers["c"]

    assert (config["deliver_policy"], config.get("opt_start_seq")) == begin
    assert (config["filter_subjects"], config["max_ack_pending"]) == (["a.>"], 10)


async def test_resumed_consumer_redelivers_and_waits_a_day_again(durable, stream):
    info = await durable.create(stream, [], {"edr-at": "3"}, 4)
    waits, update = [], stream.create_consumer

    async def record(name, config, action):
        waits.append(config["ack_wait"])
        return await update(name, config, action)

    stream.create_consumer = record
    made = await durable.resume(stream, {**info, "num_ack_pending": 2})

    assert waits == [1_000_000, 86_400 * 10**9]
    assert made["num_ack_pending"] == 2
    assert stream.consumers["c"]["metadata"]["edr-at"] == ""


async def test_removed_consumer_leaves_a_bookmark(durable, stream):
    await durable.create(stream, [], {}, 4)
    bookmark = await durable.remove(stream, ["a.>"], "{}", 2, 6)

    assert list(stream.consumers) == ["c~"]
    assert bookmark["config"]["opt_start_seq"] == 7
    assert await durable.find_bookmark(stream) == bookmark
    await durable.remove_bookmark(stream)
    await durable.remove_bookmark(stream)
    assert not stream.consumers


async def test_write_changes_the_metadata_and_restores_max_unacked(durable, stream):
    made = await durable.create(stream, [], {"a": "1", "b": "2"}, 4, may_hold=True)
    assert made["config"]["max_ack_pending"] == 20
    durable.settings = made["config"]
    await durable.write(stream, {"b": "3"})

    assert stream.consumers["c"]["metadata"] == {"a": "1", "b": "3"}
    assert stream.consumers["c"]["max_ack_pending"] == durable.settings["max_ack_pending"] == 10
