"""A client of the WebSocket that sees only frames, checked against the list of all emits."""

import asyncio

from edr import Event
from edr.records import bindings_to_json
from edr.streams import Missed, Record
from edr.web import Gateway
from edr.web.merging import Delivery, Gap
from support.memory_socket import MemorySocket
from support.merged_model import MergedModel, Subscription
from support.stream_model import BINDINGS


class SessionModel(MergedModel):
    """The steps of a client, as requests, and the checks of its frames."""

    def new_streams(self, size, history):
        self.gateway = Gateway(
            self.bus, authenticate=lambda token, peer: self.grant, ring=size, history=history
        )
        return self.gateway._running_context().streams

    def connect(self):
        self.socket = None
        self.newest_sent = 0
        self.late_to = {}

    async def open(self):
        self.socket = await MemorySocket(self.gateway, token="t").__aenter__()
        assert (await self.socket.next())["is"] == "hello"
        self.socket.room.clear()

    # The steps

    async def step_subscribe(self):
        if len(self.subscriptions) == 6:
            return
        self.names += 1
        name, bindings = f"s{self.names}", self.random.choice(BINDINGS)
        cursor = await self.ask("subscribed", do="subscribe", id=name, **documents(bindings))
        self.subscriptions[name] = Subscription(bindings, len(self.emits), cursor)

    async def step_unsubscribe(self):
        if self.subscriptions:
            name = self.random.choice(sorted(self.subscriptions))
            await self.ask("unsubscribed", do="unsubscribe", id=name)
            del self.subscriptions[name]

    async def step_rebind(self):
        if self.subscriptions:
            name = self.random.choice(sorted(self.subscriptions))
            bindings = self.random.choice(BINDINGS)
            cursor = await self.ask("subscribed", do="rebind", id=name, **documents(bindings))
            self.rebound(name, bindings, cursor)

    async def step_reconnect(self):
        await self.socket.__aexit__()
        self.connect()
        await self.open()
        for name, each in self.subscriptions.items():
            await self.ask(
                "subscribed",
                do="subscribe",
                id=name,
                after=each.cursor,
                **documents(each.bindings),
            )

    async def step_beat(self):
        """Be idle until heartbeats come."""
        await self.read_all()
        await asyncio.sleep(20)
        await self.read_all()

    async def step_take(self):
        if not self.socket.has_nothing or self.random.random() < 0.7:
            await self.read_some()

    # The frames

    async def ask(self, kind, **request):
        """Send a request, read until its answer, and return the cursor that it has."""
        self.socket.send(request)
        while True:
            frame = await self.read()
            if frame["is"] == kind and frame["id"] == request["id"]:
                return frame.get("cursor")
            self.check_frame(frame)

    async def read(self):
        """Read one frame; otherwise the client does not read."""
        if self.socket.has_nothing:
            self.socket.room.set()
        frame = await self.socket.next()
        self.socket.room.clear()
        return frame

    async def read_some(self):
        self.socket.room.set()
        await asyncio.sleep(0)
        self.socket.room.clear()
        while not self.socket.has_nothing:
            self.check_frame(await self.socket.next())

    async def read_all(self):
        self.socket.room.set()
        for _ in range(12):
            await asyncio.sleep(0.001)
            while not self.socket.has_nothing:
                self.check_frame(await self.socket.next())
        self.socket.room.clear()

    def check_frame(self, frame):
        kind = frame["is"]
        if kind == "events":
            for each in frame["events"]:
                self.check(delivery_of(each))
        elif kind == "gap":
            count = frame.get("missed", frame.get("missed_at_most"))
            missed = Missed(count, frame["reason"], frame["cursor"])
            self.check_gap(Gap(*frame["to"], missed))
        else:
            assert kind == "at"
            for name in frame["to"]:
                self.subscriptions[name].cursor = frame["cursor"]

    def note_late(self):
        """The order among subscriptions is checked where places can be seen."""

    def is_in_order(self, delivery):
        return True

    async def run(self, steps):
        await self.open()
        names = ["subscribe", "unsubscribe", "rebind", "reconnect", "beat"]
        names += ["emit"] * 5 + ["take"] * 5
        for _ in range(steps):
            result = getattr(self, f"step_{self.random.choice(names)}")()
            if result is not None:
                await result
            if self.random.random() < 0.4:
                await asyncio.sleep(0)
        await self.read_all()
        for each in self.subscriptions.values():
            assert self.expected(each, len(self.emits)) == []
        await self.socket.__aexit__()
        await self.gateway.stop()
        await self.bus.aclose()


def documents(bindings):
    return {"bindings": bindings_to_json(bindings)}


def delivery_of(entry):
    cursor = entry["cursor"]
    event = Event.model_validate(entry["event"])
    record = Record(int(cursor.rpartition("-")[2]), cursor, event, b"")
    return Delivery(tuple(entry["to"]), record)
