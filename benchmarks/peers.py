"""edr, the hand-written floors and the peers, each behind the same calls.

So a bench asks all of them the same, and each answers in its own idiom, with the settings that
serve it best. ``send`` takes many messages at once: the loop over them is the peer's own, and
no call of ours stands in it.
"""

from __future__ import annotations

import asyncio
import importlib.util
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import cycle, islice
from typing import Any, ClassVar

import edr
from benchmarks.harness import Case
from benchmarks.samples import APP, BODY, VERSION, Message, Messages, event_of
from benchmarks.table import Row, not_installed

CAPACITY = 1024
BURST = 500
"""Messages that are sent before the consumers get their turn; fits every queue."""

STALL_AFTER = 0.05
"""Seconds for which edr's emits wait for an observer that is dead, before it is measured."""


class Peer:
    """Somebody who brings messages from senders to subscribers.

    What its subscribers consume from, a queue or the like, is their inbox; where receivers are
    called there is none.
    """

    name: ClassVar[str]
    does: ClassVar[str] = ""
    module: ClassVar[str | None] = None
    """What must be installed."""
    ours: ClassVar[bool] = False

    def __init__(self) -> None:
        self.inboxes: list[Any] = []
        self._consumed: list[Any] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Get ready; before the first subscribe."""

    async def subscribe(self, topics: Iterable[str], *, consume: bool = True) -> None:
        """Add a subscriber for each of ``topics``, with a task that consumes, or idle."""
        for topic in topics:
            inbox = await self.add(topic)
            if inbox is not None:
                self.inboxes.append(inbox)
                if consume:
                    self._consumed.append(inbox)
                    self._tasks.append(asyncio.create_task(self.consume(inbox)))

    async def add(self, topic: str) -> Any:
        """Add a subscriber, and return its inbox or ``None``."""
        raise NotImplementedError

    async def consume(self, inbox: Any) -> None:
        """Take all that comes."""
        async for _ in inbox:
            pass

    def payload(self, topic: str) -> Any:
        """Return what it is given to send; an event that exists already, if it can."""
        return event_of(topic)

    async def send(self, messages: Iterable[Message]) -> None:
        """Send each message to the subscribers of its topic."""
        raise NotImplementedError

    async def settle(self) -> None:
        """Wait until the consumers have taken all that was sent."""
        while not self.is_settled():  # noqa: ASYNC110 - turns of the loop are wanted
            await asyncio.sleep(0)

    def is_settled(self) -> bool:
        return not any(map(self.holds_some, self._consumed))

    def holds_some(self, inbox: Any) -> bool:
        """Tell whether something is left to take."""
        raise NotImplementedError

    async def aclose(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class EdrPublish(Peer):
    name = "edr, publish"
    does = "a ready event, into bounded queues that are accounted"
    ours = True

    def __init__(self) -> None:
        super().__init__()
        self.bus = edr.Bus(node="pbx-3:4711", stall_timeout=STALL_AFTER)

    async def add(self, topic: str) -> edr.Subscription:
        return self.bus.subscribe(edr.Binding(app_name=topic), capacity=CAPACITY)

    async def send(self, messages: Iterable[Message]) -> None:
        publish = self.bus.publish
        for _, event in messages:
            await publish(event)

    def holds_some(self, inbox: edr.Subscription) -> bool:
        # Not statistics(): at a microsecond each they would be a part of what is measured.
        return bool(inbox._queue.items)

    async def aclose(self) -> None:
        await super().aclose()
        await self.bus.aclose()


class EdrEmit(EdrPublish):
    name = "edr, emit"
    does = "builds, checks and stamps each event, its body a snapshot"

    def payload(self, topic: str) -> Any:  # noqa: ARG002
        return BODY

    async def send(self, messages: Iterable[Message]) -> None:
        emit = self.bus.emit
        for topic, body in messages:
            await emit(topic, VERSION, "ok", "info", body)


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


def new_receiver() -> Callable[..., Coroutine[Any, Any, None]]:
    """Return an async receiver of its own: the peers hold each function once."""

    async def receive(*_args: Any, **_event: Any) -> None:
        pass

    return receive


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


class Abxbus(Peer):
    """The nearest in features. Its events are its own models, and can be sent only once."""

    name = "abxbus"
    does = "builds its own Pydantic model each time; handlers serial, history of 100"
    module = "abxbus"

    async def start(self) -> None:
        from abxbus import BaseEvent, EventBus
        from pydantic import JsonValue

        class CallEvent(BaseEvent):
            body: dict[str, JsonValue]

        self._model = CallEvent
        self._bus = EventBus(
            max_history_size=100, max_history_drop=True, warn_on_duplicate_handler_names=False
        )

    async def add(self, topic: str) -> None:
        self._bus.on(topic, new_receiver())

    def payload(self, topic: str) -> Any:  # noqa: ARG002
        return BODY

    async def send(self, messages: Iterable[Message]) -> None:
        for topic, body in messages:
            self._bus.emit(self._model(event_type=topic, body=body))

    async def settle(self) -> None:
        await self._bus.wait_until_idle()

    async def aclose(self) -> None:
        await self._bus.destroy()


class Litestar(Peer):
    name = "litestar channels, memory"
    does = "bytes; a model is encoded as JSON; slow subscribers lose silently"
    module = "litestar"

    async def start(self) -> None:
        from litestar.channels import ChannelsPlugin
        from litestar.channels.backends.memory import MemoryChannelsBackend

        self._backend = MemoryChannelsBackend()
        self._plugin = ChannelsPlugin(
            self._backend, arbitrary_channels_allowed=True, subscriber_max_backlog=CAPACITY
        )
        await self._plugin.__aenter__()

    async def add(self, topic: str) -> Any:
        return await self._plugin.subscribe(topic)

    async def consume(self, inbox: Any) -> None:
        async for _ in inbox.iter_events():
            pass

    def payload(self, topic: str) -> Any:
        return event_of(topic).model_dump_json().encode()

    async def send(self, messages: Iterable[Message]) -> None:
        publish = self._plugin.wait_published
        for topic, event in messages:
            await publish(event if type(event) is bytes else event.model_dump_json(), topic)

    def is_settled(self) -> bool:
        return self._backend._queue.empty() and super().is_settled()

    def holds_some(self, inbox: Any) -> bool:
        return bool(inbox.qsize)

    async def aclose(self) -> None:
        await super().aclose()
        await self._plugin.__aexit__(None, None, None)


class Broadcaster(Peer):
    name = "broadcaster memory://"
    does = "one queue for all, then one for each; no bound"
    module = "broadcaster"

    async def start(self) -> None:
        from broadcaster import Broadcast

        self._broadcast = Broadcast("memory://")
        self._contexts = AsyncExitStack()
        await self._broadcast.connect()

    async def add(self, topic: str) -> Any:
        return await self._contexts.enter_async_context(self._broadcast.subscribe(topic))

    async def send(self, messages: Iterable[Message]) -> None:
        publish = self._broadcast.publish
        for topic, event in messages:
            await publish(topic, event)

    def is_settled(self) -> bool:
        return self._broadcast._backend._published.empty() and super().is_settled()

    def holds_some(self, inbox: Any) -> bool:
        return not inbox._queue.empty()

    async def aclose(self) -> None:
        await super().aclose()
        await self._contexts.aclose()
        await self._broadcast.disconnect()


def is_installed(peer: type[Peer]) -> bool:
    return peer.module is None or importlib.util.find_spec(peer.module) is not None


def missing(peers: Iterable[type[Peer]]) -> list[Row]:
    """Return a row for each peer that is not installed."""
    return [not_installed(peer.name) for peer in peers if not is_installed(peer)]


@asynccontextmanager
async def running(
    peer: type[Peer], topics: Iterable[str], *, idle: Iterable[str] = ()
) -> AsyncIterator[Peer]:
    """Start a peer with a consuming subscriber for each of ``topics``, and others that idle."""
    it = peer()
    await it.start()
    try:
        await it.subscribe(idle, consume=False)
        await it.subscribe(topics)
        await asyncio.sleep(0)  # the consumers come to wait
        yield it
    finally:
        await it.aclose()


def ready(peer: Peer, *topics: str) -> Messages:
    """Make messages of what exists already, to the topics in turn."""
    messages = [(topic, peer.payload(topic)) for topic in topics or (APP,)]
    return lambda n: islice(cycle(messages), n)


def case_of(peer: Peer, messages: Messages, *, burst: int = BURST, **more: Any) -> Case:
    """Make the case in which ``peer`` sends in bursts, until its subscribers have everything.

    A peer that takes long over a burst is given smaller ones.
    """

    async def run(n: int) -> None:
        while n > 0:
            await peer.send(messages(min(n, burst)))
            await peer.settle()
            n -= burst

    own = {"what": peer.name, "does": peer.does, "ours": peer.ours}
    return Case(run=run, step=burst, **{**own, **more})
