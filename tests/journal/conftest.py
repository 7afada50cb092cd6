import shutil

import pytest

from edr.journal.fetching import Lost
from edr.journal.retention import Limits
from edr.journal.selection import Selection
from edr.journal.store import BlockStore


class Clock:
    """Two clocks, in microseconds: one that can be set, and one that only elapses."""

    def __init__(self):
        self.now = 1_700_000_000_000_000
        self.elapsed = 5

    def __call__(self):
        return self.now

    def advance(self, microseconds):
        self.now += microseconds
        self.elapsed += microseconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def said():
    return []


@pytest.fixture
def make_store(tmp_path, clock, said):
    """Make a store on the folder of this test, or on ``at``, and open it."""
    made = []

    def make(at=None, *, full_sync=True, **limits):
        store = BlockStore(
            at or tmp_path / "journal",
            Limits(**limits),
            full_sync=full_sync,
            now=clock,
            report=said.append,
            elapsed=lambda: clock.elapsed,
        )
        made.append(store)
        store.open()
        return store

    yield make
    for store in made:
        store.close()


@pytest.fixture
def crash(tmp_path):
    """Copy what is in a store's files now, as a process that dies would leave it."""
    copies = []

    def copy(store):
        copies.append(tmp_path / f"crashed{len(copies)}")
        shutil.copytree(store.path, copies[-1])
        return copies[-1]

    return copy


def entries_of(store, *bindings, after=0):
    """Return all that is after a position: entries, and what is missing as Lost."""
    items, position = [], after
    while True:
        fetched = store.read(lambda disk, at=position: disk.fetch(Selection(bindings), at))
        items += fetched.items
        if fetched.position == position:
            return items
        position = fetched.position


def everything(store, *bindings, after=0):
    """All that is behind a position: numbers of events, and what is missing as Lost."""
    items = entries_of(store, *bindings, after=after)
    return [each if isinstance(each, Lost) else each.event.body["n"] for each in items]
