"""No hole and no duplicate, through random reconnects, lags and restarts, over real connections.

For each client: the received events and the reported gaps are compared with all events that it may
see, which this file finds by its own rules. ``EDR_WEB_EVENTS`` sets the number of events; the usual
number is for CI.
"""

import asyncio
import os
import random

import pytest
from support.sse_client import HttpClient
from support.web_grants import grant_of

import edr
from edr.journal import SqliteJournal
from edr.web import Gateway, Limits, Server

EVENTS = int(os.environ.get("EDR_WEB_EVENTS", "600"))
GRANTS = ("all", "top", "branch")
APPS = (None, "app0", "app1")
ACCOUNTS = (None, "top", "branch", "other")
TREES = {None: (), "top": (), "branch": ("top",), "other": ()}

pytestmark = pytest.mark.slow


def sees(token, app, event):
    is_visible = token in ("all", event.account_id) or token in event.account_tree
    return is_visible and app in (None, event.app_name)


class World:
    """A gateway that can be restarted, and all events that were published."""

    def __init__(self, draw, path=None, **options):
        self.draw = draw
        self.path = path
        self.options = options
        self.events = []
        self.port = None

    async def start(self):
        journal = None
        if self.path is not None:
            everything = edr.Binding.everything()
            journal = SqliteJournal(self.path, everything, sync="process", linger=0)
        self.bus = edr.Bus(journal=journal)
        await self.bus.__aenter__()
        self.gateway = Gateway(
            self.bus,
            authenticate=grant_of,
            journal=journal,
            limits=Limits(batch=4000),
            **self.options,
        )
        self.server = Server(self.gateway, "127.0.0.1:0")
        await self.server.start()
        self.port = self.server.port

    async def stop(self):
        self.port = None
        await self.server.aclose()
        await self.bus.aclose()

    def publish(self, account, app):
        number = len(self.events)
        event = edr.Event(
            app_name=app,
            app_version="1",
            severity="ok",
            verbosity="info",
            account_id=account,
            account_tree=TREES[account],
            body={"n": number, "text": "x" * self.draw.choice((0, 300))},
        )
        self.events.append(event)
        self.bus.publish_nowait(event)

    def publish_some(self, count):
        for _ in range(count):
            self.publish(self.draw.choice(ACCOUNTS), self.draw.choice(("app0", "app1")))

    def finish(self):
        """Publish two events that all clients see together."""
        self.end = len(self.events)
        self.publish("branch", "app0")
        self.publish("branch", "app1")


class Client:
    """Reads, and reconnects at random, until it sees one of the last two events."""

    def __init__(self, world, draw):
        self.world = world
        self.draw = draw
        self.token, self.app = draw.choice(GRANTS), draw.choice(APPS)
        self.cursor = None
        self.received = []
        """Numbers of events and data of gaps, in order."""
        self.connections = 0

    async def run(self):
        while not self._is_done():
            if self.world.port is None:
                await asyncio.sleep(0.01)
                continue
            client = HttpClient(self.world.port, self.token)
            try:
                await self._connect(client)
            except (OSError, asyncio.IncompleteReadError, IndexError):
                await asyncio.sleep(0.01)  # the server has gone
            finally:
                client.close()

    async def _connect(self, client):
        query = {} if self.app is None else {"app_name": self.app}
        headers = {} if self.cursor is None else {"Last-Event-ID": self.cursor}
        stream = await client.get("/events", headers, **query)
        if stream.status != 200:
            return
        self.connections += 1
        for _ in range(self.draw.choice((1, 3, 20, 200, 10_000))):
            block = await stream.block()
            if block is None:
                return
            self.cursor = block.id or self.cursor
            if block.event == "gap":
                self.received.append(block.data)
            elif block.event == "message" and block.data is not None:
                self.received.append(block.n)
            if self._is_done():
                return
            if self.draw.random() < 0.05:
                await asyncio.sleep(0.01)
        if self.draw.random() < 0.5:
            stream.reset()

    def _is_done(self):
        last = self.received[-1] if self.received else None
        return isinstance(last, int) and last >= getattr(self.world, "end", 10**9)

    def check(self, first):
        """Check everything from the event ``first`` on, which it must have or be told of."""
        expected = [
            n for n, event in enumerate(self.world.events) if sees(self.token, self.app, event)
        ]
        expected = [n for n in expected if first <= n <= self.received[-1]]
        gaps, at = [], 0
        for item in self.received:
            if isinstance(item, dict):
                gaps.append(item)
                continue
            missing = expected.index(item) - at  # each once and in order
            assert missing >= 0, f"{item} came twice or late"
            check_gaps(gaps, missing)
            at += missing + 1
            gaps = []
        return sum(1 for item in self.received if isinstance(item, dict))


def check_gaps(gaps, missing):
    """Check that ``missing`` events are what these gaps report."""
    exact = sum(gap["missed"] for gap in gaps if gap.get("missed"))
    at_most = sum(gap.get("missed_at_most", 0) for gap in gaps)
    if any(gap.get("missed", 0) is None for gap in gaps):
        return
    assert exact <= missing <= exact + at_most, (gaps, missing)


async def run_world(world, clients, *, restarts=0):
    await world.start()
    try:
        running = [asyncio.create_task(client.run()) for client in clients]
        while not all(client.connections for client in clients):
            await asyncio.sleep(0.005)
        first = len(world.events)
        parts = restarts + 1
        for part in range(parts):
            goal = EVENTS * (part + 1) // parts
            while len(world.events) < goal:
                world.publish_some(world.draw.choice((1, 1, 5, 40)))
                await asyncio.sleep(world.draw.choice((0, 0, 0.002)))
            if part < restarts:
                await world.stop()
                await world.start()
        world.finish()
        async with asyncio.timeout(300):
            await asyncio.gather(*running)
    finally:
        await world.stop()
    return first


def clients_of(world, seed, count=20):
    return [Client(world, random.Random(f"{seed} {n}")) for n in range(count)]


@pytest.mark.parametrize("ring", [10, 400, 10_000])
async def test_received_and_missed_are_all_events(ring):
    world = World(random.Random(ring), ring=ring)
    clients = clients_of(world, ring)
    first = await run_world(world, clients)
    gaps = sum([client.check(first) for client in clients])

    assert sum(client.connections for client in clients) > 2 * len(clients)
    assert gaps or ring > 10
    assert not gaps or ring < EVENTS


async def test_clients_without_history_are_told_of_each_loss():
    world = World(random.Random(1), ring=400, history=False)
    clients = clients_of(world, 1)
    first = await run_world(world, clients)
    for client in clients:
        client.check(first)


@pytest.mark.parametrize("ring", [20, 200])
async def test_with_a_journal_nothing_is_missed_through_restarts(tmp_path, ring):
    world = World(random.Random(ring), tmp_path / "journal", ring=ring)
    clients = clients_of(world, ring)
    first = await run_world(world, clients, restarts=2)
    gaps = [client.check(first) for client in clients]

    assert sum(gaps) == 0
