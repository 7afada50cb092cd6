"""Dead letters that are sent once more."""

from datetime import UTC, datetime

import pytest

from app.conftest import BASIC, numbers_in
from edr.app.dead_letters import dead_letters_of, deliver
from edr.journal import Entry
from edr.sinks.sending import Refused


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
