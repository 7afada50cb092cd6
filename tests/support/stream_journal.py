"""A bus with streams over its journal, and clients that note what they receive."""

import asyncio

from edr import Binding, Bus
from edr.journal import SqliteJournal
from edr.streams import Streams
from support.stream_clients import Calls

EVERYTHING = Binding.everything()


class Rig:
    """A bus with a journal, streams over it, and clients that note what they receive."""

    def __init__(self, path, *, size=5, **options):
        self.journal = SqliteJournal(path, EVERYTHING, sync="process", linger=0, **options)
        self.bus = Bus(journal=self.journal)
        self.size = size

    async def __aenter__(self):
        await self.bus.__aenter__()
        self.streams = Streams(self.bus, size=self.size, journal=self.journal)
        return self

    async def __aexit__(self, *exc):
        await self.bus.__aexit__(*exc)

    async def settle(self):
        """Wait until the stream has every event."""
        await self.journal.flush()
        if self.streams._feed is not None:
            await self.streams._feed.caught_up()


class Reader:
    """A client that notes the numbers that it receives, and its gaps."""

    def __init__(self, rig, *bindings, **options):
        self.rig, self.bindings, self.options = rig, bindings, options
        self.seen, self.gaps, self.cursor = [], [], None
        self.join(**options)

    def join(self, **options):
        self.calls = Calls()
        self.place = self.rig.streams.join(*self.bindings, on_ready=self.calls, **options)

    def take(self, limit=256):
        taken = self.place.take(limit)
        if taken.missed:
            self.gaps.append((taken.missed.count, taken.missed.reason))
            self.cursor = taken.missed.cursor
        for record in taken.records:
            self.seen.append(record.event.body["n"])
            self.cursor = record.cursor
        return taken

    def return_(self, rig=None):
        if rig is None:
            self.rig.streams.leave(self.place)
        else:
            self.rig = rig
        self.join(**{**self.options, "after": self.cursor or self.place.cursor, "last": None})

    async def take_all(self):
        """Take until the place has everything; wait for the journal if it reads it."""
        while True:
            while self.take(7).records:
                pass
            if self.place.is_current:
                return
            await turn_until(lambda: self.calls.count or self.place.is_ready)
            self.calls.count = 0


async def turn_until(condition):
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)
