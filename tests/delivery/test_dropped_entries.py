"""Entries that are kept elsewhere before they are acknowledged."""

import asyncio

from support.consuming import until

from edr.delivery.dropped_entries import Dropped, DroppedEntries


async def test_entries_that_come_while_others_are_kept_are_kept_together():
    gate, calls, kept = asyncio.Event(), [], []

    async def keep(entries):
        calls.append(entries)
        await gate.wait()

    dropped = DroppedEntries(keep, kept.append)
    first, *others = [Dropped([n], 1, "no", f"text {n}") for n in range(3)]
    dropped.add(first)
    await until(lambda: calls)
    for each in others:
        dropped.add(each)
    assert len(dropped) == 3
    gate.set()
    await until(lambda: not len(dropped))

    assert calls == [[(0, "text 0")], [(1, "text 1"), (2, "text 2")]]
    assert kept == [first, *others]


async def test_the_end_keeps_the_rest():
    kept = []

    async def keep(entries):
        await asyncio.sleep(0)

    dropped = DroppedEntries(keep, kept.append)
    dropped.add(Dropped([0], 1, "no", "no"))
    await dropped.aclose()

    assert len(kept) == 1
