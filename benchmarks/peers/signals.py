"""Libraries that call receivers, without a queue: blinker and pyee."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.harness.samples import Message
from benchmarks.peers.peer import Peer, new_receiver


class Blinker(Peer):
    """A signal whose senders are the topics."""

    name = "blinker, send_async"
    does = "awaits one async receiver after the other; no queue"
    module = "blinker"

    async def start(self) -> None:
        from blinker import Signal

        self.signal = Signal()

    async def add(self, topic: str) -> None:
        self.signal.connect(new_receiver(), sender=topic, weak=False)

    async def send(self, messages: Iterable[Message]) -> None:
        send = self.signal.send_async
        for topic, event in messages:
            await send(topic, event=event)


class BlinkerOpen(Blinker):
    """A signal whose receivers take what any sender sends: its fastest path."""

    name = "blinker, send_async to all"
    does = "awaits each async receiver; no topic, no queue"

    async def add(self, topic: str) -> None:  # noqa: ARG002 - it has none
        self.signal.connect(new_receiver(), weak=False)


class BlinkerTesting(Blinker):
    """A signal whose receivers each test whether they want the event, as for thresholds."""

    name = "blinker, each receiver tests"
    does = "calls every receiver, which compares one name"

    async def add(self, topic: str) -> None:
        def receive(sender: str, **_event: Any) -> None:
            if sender == topic:
                pass

        self.signal.connect(receive, weak=False)

    async def send(self, messages: Iterable[Message]) -> None:
        send = self.signal.send
        for topic, event in messages:
            send(topic, event=event)


class Pyee(Peer):
    name = "pyee, async handlers"
    does = "a task for each delivery; no bound"
    module = "pyee"

    async def start(self) -> None:
        from pyee.asyncio import AsyncIOEventEmitter

        self.emitter = AsyncIOEventEmitter()

    async def add(self, topic: str) -> None:
        self.emitter.on(topic, new_receiver())

    async def send(self, messages: Iterable[Message]) -> None:
        emit = self.emitter.emit
        for topic, event in messages:
            emit(topic, event)

    def is_settled(self) -> bool:
        return self.emitter.complete
