"""A link to a broker in memory, which comes, goes, hangs and refuses as a test tells it."""

import asyncio
from contextlib import suppress

from edr.links import Link, LinkRefusedError


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

    def lose(self):
        self.lost.set()
        self.lost = asyncio.Event()


class MemoryLink(Link):
    def __init__(self, bus, broker, *, name=None, **options):
        super().__init__(bus, name, address="memory", backlog="memory", **options)
        self.broker = broker

    async def _connect(self):
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

    async def _serve(self):
        await self._first_of(self._send_events(), self.broker.lost.wait())

    async def _send_events(self):
        while True:
            try:
                event = await self._peek()
            except StopAsyncIteration:
                self._sent_all()
                await asyncio.sleep(1e6)
            entry = self._take()
            if event.body["n"] in self.broker.refuses:
                self._give_up(event, entry, "refused", "the broker does not like it")
                continue
            self.broker.taken.append(event.body["n"])
            if self.broker.confirms:
                self._confirmed(1)
            await asyncio.sleep(0)

    async def _disconnect(self):
        self.broker.connections -= 1

    def receive(self, event, hops=1):
        self._received += 1
        self._deliver(event, hops)


def is_balanced(counts):
    out = counts.sent + counts.uncertain + sum(counts.dropped.values()) + counts.pending
    came = counts.delivered + counts.duplicates + sum(counts.refused.values())
    return counts.offered == out and counts.received == came
