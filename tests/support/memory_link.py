"""A link to a broker in memory, which comes, goes, hangs and refuses as a test tells it."""

import asyncio
import logging
from contextlib import suppress

from edr.delivery import FaultLog
from edr.links import Link, LinkRefusedError
from edr.links.inbound import Inbound


class Broker:
    """What a link meets: ``taken`` has what it was sent; it can be away, hang, or refuse."""

    def __init__(self):
        self.taken = []
        self.connections = 0
        self.attempts = []
        self.is_away = False
        self.hangs = False
        self.is_deaf = False
        self.refusal = None
        self.confirms = True
        self.refuses = set()
        self.lost = asyncio.Event()
        self.cancels = False
        self.inbound = None

    def lose(self):
        self.lost.set()
        self.lost = asyncio.Event()

    def deliver(self, event, hops=1):
        """Make the link receive an event."""
        self.inbound.received += 1
        self.inbound.publish(event, hops)


class MemoryTransport:
    """The connection to a ``Broker``."""

    is_blocked = False
    patterns = 0

    def __init__(self, broker, log):
        self.broker = broker
        self._log = log

    async def connect(self):
        self.broker.attempts.append(asyncio.get_running_loop().time())
        if self.broker.refusal:
            raise LinkRefusedError(self.broker.refusal)
        if self.broker.is_deaf:  # as wait_for of Python 3.11 if the answer comes at that moment
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(1e6)
        if self.broker.is_away:
            raise ConnectionRefusedError("nobody is there")
        if self.broker.hangs:
            await asyncio.sleep(1e6)
        self.broker.connections += 1

    async def lost(self):
        await self.broker.lost.wait()
        if self.broker.cancels:
            raise asyncio.CancelledError

    async def send(self, outbox, *, outage):
        while (event := await outbox.peek()) is not None:
            tag = outbox.take()
            if event.body["n"] in self.broker.refuses:
                outbox.give_up(tag, "refused", "the broker does not like it")
                self._log.dropped(event, "refused", "the broker does not like it")
                continue
            self.broker.taken.append(event.body["n"])
            if self.broker.confirms:
                outbox.confirm(tag)
            await asyncio.sleep(0)
        await asyncio.sleep(1e6)

    def patterns_for(self, keys):
        return frozenset()

    async def set_interest(self, patterns):
        return None

    async def close(self):
        self.broker.connections -= 1


def MemoryLink(bus, broker, *, name=None, receives=True, **options):  # noqa: N802 - as NatsLink
    log = FaultLog(f"link {name or 'memory'!r}", logging.getLogger("edr.links"))
    broker.inbound = inbound = Inbound(bus, log)
    return Link(
        bus,
        MemoryTransport(broker, log),
        inbound,
        log,
        name=name or "memory",
        backlog=name or "memory",
        receive="wanted" if receives else (),
        **options,
    )


def is_balanced(counts):
    out = counts.sent + counts.uncertain + sum(counts.dropped.values()) + counts.pending
    came = counts.delivered + counts.duplicates + sum(counts.refused.values())
    return counts.offered == out and counts.received == came
