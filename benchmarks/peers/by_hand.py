"""The hand-written ways: a loop over deques, over queues of asyncio, over streams of anyio."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Any

from benchmarks.harness.samples import Message
from benchmarks.peers.peer import CAPACITY, Peer


class ByHand(Peer):
    """A loop over the inboxes of a topic, as one writes it."""

    def __init__(self) -> None:
        super().__init__()
        self._by_topic: dict[str, list[Any]] = {}

    async def add(self, topic: str) -> Any:
        inbox = self.new_inbox()
        self._by_topic.setdefault(topic, []).append(inbox)
        return inbox

    def new_inbox(self) -> Any:
        raise NotImplementedError


class DequeFloor(ByHand):
    """The least that can do it: no bound, no accounting, one consumer each."""

    name = "floor: dict, deque, future"
    does = "append, and wake who waits; unbounded"

    def new_inbox(self) -> _Box:
        return _Box()

    async def consume(self, inbox: _Box) -> None:
        loop = asyncio.get_running_loop()
        items = inbox.items
        while True:
            while items:
                items.popleft()
            inbox.waiter = loop.create_future()
            await inbox.waiter

    async def send(self, messages: Iterable[Message]) -> None:
        inboxes_of = self._by_topic.get
        for topic, event in messages:
            for box in inboxes_of(topic, ()):
                box.items.append(event)
                if box.waiter is not None:
                    box.waiter.set_result(None)
                    box.waiter = None

    def holds_some(self, inbox: _Box) -> bool:
        return bool(inbox.items)


class _Box:
    __slots__ = ("items", "waiter")

    def __init__(self) -> None:
        self.items: deque[Any] = deque()
        self.waiter: asyncio.Future[None] | None = None


class QueueLoop(ByHand):
    """What one writes by hand: an ``asyncio.Queue`` for each consumer, and a loop over them."""

    name = "asyncio.Queue, await put"
    does = "hand-written loop over bounded queues"

    def new_inbox(self) -> asyncio.Queue[Any]:
        return asyncio.Queue(CAPACITY)

    async def consume(self, inbox: asyncio.Queue[Any]) -> None:
        while True:
            await inbox.get()

    async def send(self, messages: Iterable[Message]) -> None:
        inboxes_of = self._by_topic.get
        for topic, event in messages:
            for queue in inboxes_of(topic, ()):
                await queue.put(event)

    def holds_some(self, inbox: asyncio.Queue[Any]) -> bool:
        return not inbox.empty()


class QueueLoopNowait(QueueLoop):
    name = "asyncio.Queue, put_nowait"
    does = "hand-written loop over bounded queues; never waits"

    async def send(self, messages: Iterable[Message]) -> None:
        inboxes_of = self._by_topic.get
        for topic, event in messages:
            for queue in inboxes_of(topic, ()):
                queue.put_nowait(event)


class AnyioStreams(ByHand):
    name = "anyio memory streams"
    does = "hand-written loop over bounded streams; yields at each send"
    module = "anyio"

    def new_inbox(self) -> Any:
        from anyio import create_memory_object_stream

        return create_memory_object_stream[Any](CAPACITY)

    async def consume(self, inbox: Any) -> None:
        _, receiving = inbox
        async for _ in receiving:
            pass

    async def send(self, messages: Iterable[Message]) -> None:
        inboxes_of = self._by_topic.get
        for topic, event in messages:
            for sending, _ in inboxes_of(topic, ()):
                await sending.send(event)

    def holds_some(self, inbox: Any) -> bool:
        return bool(inbox[0].statistics().current_buffer_used)

    async def aclose(self) -> None:
        await super().aclose()
        for sending, receiving in self.inboxes:
            sending.close()
            receiving.close()
