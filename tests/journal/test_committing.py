import asyncio
from functools import partial

import pytest
from contracts.journal import event, events
from journal.conftest import everything

from edr.journal import JournalFullError, batch
from edr.journal import registry as registry_module
from edr.journal.committing import Committer
from edr.journal.registry import ConsumerRegistry
from edr.journal.state import JournalState, Waiter
from edr.journal.worker import Worker


@pytest.fixture
def worker():
    worker = Worker("test")
    yield worker
    worker.end(lambda: None)
    assert worker.join(10)


@pytest.fixture
def store(make_store):
    return make_store()


@pytest.fixture
def state():
    return JournalState()


@pytest.fixture
def consumers(store, worker, state, monkeypatch):
    monkeypatch.setattr(registry_module, "ACK_INTERVAL", 1000.0)  # only commits store acks

    def read(query):
        return worker.submit(partial(store.read, query))

    return ConsumerRegistry(store, worker, state, read=read, now=int, on_stored=lambda: None)


@pytest.fixture
def committer(store, worker, state, consumers):
    return Committer(store, worker, state, consumers)


async def acked(committer, consumers):
    """Store an entry, and acknowledge it; the ack is not stored yet."""
    given = [event(1)]
    committer.committed(given, await committer.commit(given, lacks_room=False))
    consumer = await consumers.open_consumer("r", (), "oldest", max_unacked=9, rebind=False)
    consumer.ack(await anext(consumer))


async def test_committed_updates_the_state_and_wakes_readers(committer, store, state):
    waiting = asyncio.ensure_future(state.wait(Waiter()))
    given = events(1, 2)
    appended = await committer.commit(given, lacks_room=False)
    assert everything(store) == [1, 2]
    assert state.committed.assigned_up_to == 0
    assert not waiting.done()
    committer.committed(given, appended)
    assert state.committed.assigned_up_to == 2
    await waiting


async def test_latest_knows_the_rest_of_a_partly_stored_commit(committer, monkeypatch):
    monkeypatch.setattr(batch, "COMMIT_BYTES", 1)
    given = events(1, 2, 3)
    appended = await committer.commit(given, lacks_room=False)
    assert appended.stored == committer.latest.stored == 1
    assert list(committer.latest.rest.events) == given[1:]


async def test_commit_stores_acks_with_its_events(committer, consumers, store):
    await acked(committer, consumers)
    assert store.consumers["r"].position == 0
    await committer.commit([event(2)], lacks_room=False)
    assert store.consumers["r"].position == 1


async def test_acks_of_a_failed_commit_are_in_the_next_one(committer, consumers, store):
    def fail(*args):
        raise JournalFullError("full")

    await acked(committer, consumers)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "append", fail)
        with pytest.raises(JournalFullError):
            await committer.commit([event(2)], lacks_room=False)
    assert store.consumers["r"].position == 0
    await committer.commit([event(2)], lacks_room=False)
    assert store.consumers["r"].position == 1
