"""Libraries with queues of their own: abxbus, litestar's channels, broadcaster."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AsyncExitStack
from typing import Any

from benchmarks.harness.samples import BODY, Message, event_of
from benchmarks.peers.peer import CAPACITY, Peer, new_receiver


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
