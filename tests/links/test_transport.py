"""``Transport``: ``Link`` calls it in the documented order."""

import pytest
from support.memory_link import Broker, MemoryTransport

import edr
from edr.delivery import FaultLog
from edr.links.inbound import Inbound
from edr.links.link import Link
from edr.links.log import logger


class RecordingTransport(MemoryTransport):
    """Records the calls of ``Link``."""

    def __init__(self, broker, log):
        super().__init__(broker, log)
        self.calls = []

    async def connect(self):
        self.calls.append("connect")
        await super().connect()

    async def set_interest(self, patterns):
        self.calls.append("set_interest")

    async def send(self, outbox, *, outage):
        self.calls.append("send")
        await super().send(outbox, outage=outage)

    async def close(self):
        self.calls.append("close")


@pytest.fixture
def log():
    return FaultLog("link 'x'", logger)


@pytest.fixture
def transport(log):
    return RecordingTransport(Broker(), log)


@pytest.fixture
async def link(bus, transport, log):
    link = Link(bus, transport, Inbound(bus, log), log, name="x", backlog="x", receive="wanted")
    yield link
    await link.aclose()


def without_repetitions(calls):
    return list(dict.fromkeys(calls))


async def test_transport_sends_after_interest_and_closes_last(link, transport, emit):
    await link.start()
    await emit(1)
    await link.drain()

    assert without_repetitions(transport.calls) == ["connect", "set_interest", "send", "close"]
    assert transport.broker.taken == [1]


async def test_transport_is_closed_when_connect_fails(link, transport):
    transport.broker.refusal = "wrong password"
    with pytest.raises(edr.links.LinkRefusedError, match="wrong password"):
        await link.start()

    assert transport.calls[:2] == ["connect", "close"]
    assert "send" not in transport.calls
