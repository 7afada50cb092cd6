"""Parts from their configuration."""

import asyncio

import pytest

from app.conftest import BASIC
from app.fakes import secrets
from edr.app.config import Secrets
from edr.app.factory import PartFactory, UnsupportedPartError, make_sink
from edr.app.setup import make_bus
from edr.sinks import FileSink, LinkPart, SinkWorker, StdoutSink
from edr.sources import StdinSource

URL = "http://127.0.0.1:9/"
TEXT = (
    BASIC
    + """
[sinks.out]
type = "stdout"
format = "logfmt"
[sinks.memory]
type = "file"
path = "memory.jsonl"
durable = false
[sinks.broker]
type = "nats"
url = "nats://127.0.0.1:9"
[links.kapps]
type = "nats"
url = "nats://127.0.0.1:9"
receive = "wanted"
send = [{}]
[links.acdc]
type = "rabbitmq"
url = "amqp://127.0.0.1:9"
queue = "edr"
receive = [{}]
[sinks.amqp]
type = "rabbitmq"
url = "amqp://127.0.0.1:9"
[sources.pipe]
type = "stdin"
[sources.stream]
type = "jetstream"
url = "nats://127.0.0.1:9"
stream = "EVENTS"
"""
)


@pytest.fixture
async def factory(configured, tmp_path):
    bus = make_bus(configured(TEXT))
    async with bus:
        yield PartFactory(bus, tmp_path)


async def test_each_part_has_its_kind_and_name(factory, configured):
    made = {
        name: factory.make(kind, name, part, secrets())
        for kind, name, part in configured(TEXT).parts()
    }

    assert {name: part.kind for name, part in made.items()} == {
        "local": "source",
        "pipe": "source",
        "stream": "source",
        "kapps": "link",
        "acdc": "link",
        "amqp": "sink",
        "audit": "sink",
        "out": "sink",
        "memory": "sink",
        "broker": "sink",
    }
    assert all(name == part.name for name, part in made.items())
    assert {name for name, part in made.items() if isinstance(part, LinkPart)} == {
        "kapps",
        "acdc",
        "amqp",
        "broker",
    }
    assert isinstance(made["pipe"], StdinSource)
    assert [made[name].is_durable for name in ("audit", "memory", "broker")] == [True, False, True]


def test_sinks_have_their_types(configured):
    sinks = configured(TEXT).sinks

    assert isinstance(make_sink("audit", sinks["audit"], secrets()), FileSink)
    assert isinstance(make_sink("out", sinks["out"], secrets()), StdoutSink)
    with pytest.raises(UnsupportedPartError, match="nats"):
        make_sink("broker", sinks["broker"], secrets())


@pytest.mark.parametrize(
    "options",
    ["", 'format = { type = "kazoo", pretty = true }', "batch = { events = 10 }"],
)
def test_an_http_sink_has_its_secrets(configured, monkeypatch, options):
    monkeypatch.setenv("ALARMS", URL)
    text = f'[sinks.alarms]\ntype = "http"\nurl = {{ env = "ALARMS" }}\n{options}\n'
    sink = make_sink("alarms", configured(text).sinks["alarms"], Secrets())

    assert sink.address == "http://127.0.0.1:9"


async def test_a_sink_changes_in_place_unless_its_events_come_from_elsewhere(factory, configured):
    old = configured(TEXT).sinks["audit"]
    worker = factory.make("sink", "audit", old, secrets())
    await worker.start()

    other_path = configured(TEXT.replace("audit.jsonl", "b.jsonl")).sinks["audit"]
    other_type = configured(TEXT).sinks["out"]
    from_memory = configured(TEXT).sinks["memory"]
    assert isinstance(worker, SinkWorker)
    assert await factory.replace(worker, old, other_path, secrets())
    assert not await factory.replace(worker, other_path, other_type, secrets())
    assert not await factory.replace(worker, other_path, from_memory, secrets())
    await worker.aclose()
    await asyncio.sleep(0)


async def test_a_removed_part_is_not_recorded_any_more(factory, configured):
    from edr.app.changes import changes_between, part_values

    empty = part_values(configured(""), secrets())
    full = part_values(configured(BASIC), secrets())
    added, removed = list(changes_between(empty, full)), list(changes_between(full, empty))
    factory.widen(added)
    factory.narrow(added)
    recorded = factory.recording["sink:audit"]
    factory.widen(removed)
    still = factory.recording["sink:audit"]
    factory.narrow(removed)

    assert recorded == still == configured(BASIC).sinks["audit"].bindings
    assert factory.recording["sink:audit"] == ()
