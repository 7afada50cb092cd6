"""A peer: one library, or one hand-written loop, behind the calls that every question makes.

Each peer sends in its own idiom, with the settings that serve it best. ``send`` takes many messages
at once: the loop over them belongs to the peer, so no call of the harness is measured with it.
"""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from itertools import cycle, islice
from typing import Any, ClassVar

from benchmarks.harness.harness import Case
from benchmarks.harness.samples import APP, Message, Messages, event_of
from benchmarks.harness.table import Row, not_installed

CAPACITY = 1024
BURST = 500
"""Messages that are sent before the consumers get their turn; fits every queue."""


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


def new_receiver() -> Callable[..., Coroutine[Any, Any, None]]:
    """Return an async receiver of its own: the peers hold each function once."""

    async def receive(*_args: Any, **_event: Any) -> None:
        pass

    return receive


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
