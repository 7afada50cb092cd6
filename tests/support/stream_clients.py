"""Short words for tests of streams: a client that notes its calls, and its results as numbers."""

import asyncio

from edr.streams import Streams


class Calls:
    """Counts the calls of ``on_ready``."""

    def __init__(self):
        self.count = 0

    def __call__(self):
        self.count += 1


def numbers(taken):
    return [record.event.body["n"] for record in taken.records]


def take_all(place, limit=256):
    """Take until nothing is left; return the numbers and the gaps as (count, reason)."""
    seen = []
    while True:
        taken = place.take(limit)
        if taken.missed:
            seen.append((taken.missed.count, taken.missed.reason))
        if not taken.records:
            return seen
        seen += numbers(taken)


async def turns(count=5):
    for _ in range(count):
        await asyncio.sleep(0)


def streams_of(bus, **options):
    return Streams(bus, **options)
