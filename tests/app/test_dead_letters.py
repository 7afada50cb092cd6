"""Dead letters that are sent once more."""

from datetime import UTC, datetime

import pytest
from support.consuming import until
from support.memory_link import Broker, MemoryLink

from app.conftest import BASIC, line, numbers_in, send
from edr.app.dead_letters import dead_letters_of, deliver, senders_of
from edr.journal import Entry
from edr.sinks.sending import Refused

LINK = '[links.kapps]\ntype = "nats"\nurl = "nats://h"\nsend = [{}]\n'


@pytest.fixture
async def configuration(configured, make_event):
    configuration = configured(BASIC)
    refused = [
        Refused(Entry(n, datetime.now(UTC), make_event(body={"n": n})), "no", 1) for n in range(3)
    ]
    await dead_letters_of(configuration, "audit").append("audit", refused)
    return configuration


def left(configuration):
    return [letter.event.body["n"] for letter in dead_letters_of(configuration, "audit").read()]


async def test_delivered_letters_are_removed(configuration, tmp_path):
    result = await deliver(configuration, "audit", lambda _: True)

    assert (result.delivered, result.left, result.error) == (3, 0, None)
    assert numbers_in(tmp_path / "audit.jsonl") == [0, 1, 2]
    assert left(configuration) == []


async def test_only_the_letters_that_are_meant_are_sent(configuration, tmp_path):
    result = await deliver(configuration, "audit", lambda each: each.event.body["n"] == 1)

    assert (result.delivered, numbers_in(tmp_path / "audit.jsonl")) == (1, [1])
    assert left(configuration) == [0, 2]


async def test_letters_are_kept_if_the_sink_cannot_be_opened(configuration, tmp_path):
    (tmp_path / "audit.jsonl").mkdir()

    result = await deliver(configuration, "audit", lambda _: True)

    assert (result.delivered, result.left) == (0, 3)
    assert result.error
    assert left(configuration) == [0, 1, 2]


async def test_letters_of_a_link_are_sent_through_it(configured, make_event, monkeypatch):
    broker = Broker()
    broker.refuses = {1}

    def maker(bus, name, configuration, secrets, receive):
        return lambda send, journal: MemoryLink(bus, broker, name=name, receives=False, send=send)

    monkeypatch.setattr("edr.app.dead_letters.link_maker", maker)
    configuration = configured(LINK)
    entries = [Entry(n, datetime.now(UTC), make_event(body={"n": n})) for n in range(3)]
    letters = dead_letters_of(configuration, "kapps")
    await letters.append("kapps", [Refused(each, "no", 1) for each in entries])

    result = await deliver(configuration, "kapps", lambda _: True)
    assert broker.taken == [0, 2]
    assert (result.delivered, result.left) == (2, 1)
    assert "the broker does not like it" in result.error
    assert [letter.event.body["n"] for letter in letters.read()] == [1]


def test_sinks_and_sending_links_may_have_dead_letters(configured):
    receiving = '[links.in]\ntype = "nats"\nurl = "nats://h"\nreceive = "wanted"\n'

    assert set(senders_of(configured(BASIC + LINK + receiving))) == {"audit", "kapps"}


@pytest.mark.slow  # needs RabbitMQ
async def test_an_event_that_rabbitmq_does_not_take_is_a_dead_letter(
    running, tmp_path, rabbitmq_url, monkeypatch
):
    monkeypatch.setenv("EDR_TEST_URL", rabbitmq_url)
    rabbit = '[sinks.out]\ntype = "rabbitmq"\nurl = { env = "EDR_TEST_URL" }\n'
    async with running(BASIC + rabbit) as application:
        names = ["a", "x" * 300, "b"]  # the second one is too long for a routing key
        await send(tmp_path / "in.sock", *(line(n, app_name=name) for n, name in enumerate(names)))
        [part] = [each for each in application.runners if each.name == "out"]
        await until(lambda: part.status()["rejected"] == 1 and part.status()["delivered"] >= 2)

    letters = dead_letters_of(application.configuration, "out")
    assert [letter.event.body["n"] for letter in letters.read()] == [1]
    result = await deliver(application.configuration, "out", lambda _: True)
    assert (result.delivered, result.left) == (0, 1)
    assert "at most 255 bytes" in result.error
