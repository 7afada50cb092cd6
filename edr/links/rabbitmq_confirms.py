"""``Confirms``: the events on their way to a broker, each until it is confirmed or given up.

A broker answers a publish in one of three ways:

* It confirms it: the event is in every queue that is bound to its key.
* It rejects it (``basic.nack``): a queue is full and rejects, or cannot store it. Later it may have
  room, so the event is sent again on the same channel after a growing delay, while others continue.
  Each time, the other queues get the event again. After the last delay the event is given up.
* It closes the channel, for a size or a permission, and does not say for which event. ``cut``
  returns the unanswered events, and the link sends them again one at a time: an event
  that was alone on its way when the broker closed the channel is the one that it refuses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from aiormq.exceptions import AMQPError, ChannelInvalidStateError, DeliveryError

from edr.records import Event

MAX_IN_FLIGHT = 256
"""Events that wait for the broker's confirm, or to be sent again: the window of Kazoo's own kind of
client, and what is uncertain at most when a connection is lost."""

MAX_BYTES_IN_FLIGHT = 16 * 1024 * 1024
"""The same in bytes of payload, beyond which no further event is sent."""

RETRY_AFTER = (0.25, 1.0, 4.0)
"""Seconds before an event that the broker rejected is sent again: a queue that is full for a moment
has room then, and one that stays full gets each event no more than four times."""

_CUT = (AMQPError, ChannelInvalidStateError, OSError)
"""The errors of a publish whose channel or connection is lost."""


@dataclass(slots=True, eq=False)
class Outgoing:
    """An event on its way, and what is sent of it."""

    event: Event
    key: str
    payload: bytes
    tag: int
    """Identifies the event in its outbox."""
    attempts: int = 0


class Confirms:
    """The events that were published and are not settled yet: a window, in number and in bytes.

    Args:
        publish: publishes an event, and returns when the broker has confirmed it. The library sends
            in the order of the calls.
        on_taken: called for each event that the broker confirmed.
        on_given_up: called for each event that is given up, with the reason and the details.
    """

    def __init__(
        self,
        publish: Callable[[Outgoing], Coroutine[Any, Any, object]],
        on_taken: Callable[[Outgoing], None],
        on_given_up: Callable[[Outgoing, str, str], None],
    ) -> None:
        self._publish = publish
        self._on_taken = on_taken
        self._on_given_up = on_given_up
        self._wire: dict[asyncio.Task[object], Outgoing] = {}
        self._waiting: dict[Outgoing, asyncio.TimerHandle] = {}
        self._bytes = 0
        self._has_room = asyncio.Event()
        self._is_busy = asyncio.Event()
        self._is_answered = asyncio.Event()
        self._is_settled = asyncio.Event()
        self._answered_at = 0.0
        self._update()

    async def room(self) -> None:
        """Wait until there is room for a further event."""
        await self._has_room.wait()

    async def busy(self) -> None:
        """Wait until the broker has something to answer."""
        await self._is_busy.wait()

    async def answered(self) -> None:
        """Wait until the broker has answered everything that was sent."""
        await self._is_answered.wait()

    async def settled(self) -> None:
        """Wait until each event was confirmed or given up."""
        await self._is_settled.wait()

    def add(self, item: Outgoing) -> None:
        """Publish an event."""
        self._bytes += len(item.payload)
        self._send(item)

    def cut(self) -> tuple[list[Outgoing], list[Outgoing]]:
        """Return the events that were not answered, and those to be sent again; forget them."""
        wire, waiting = list(self._wire.values()), list(self._waiting)
        for task in self._wire:
            task.cancel()
        for timer in self._waiting.values():
            timer.cancel()
        self._wire.clear()
        self._waiting.clear()
        self._bytes = 0
        self._update()
        return wire, waiting

    async def let_go(self) -> None:
        """Forget everything, and wait until no publish runs any more."""
        tasks = list(self._wire)
        self.cut()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def silent_for(self) -> float:
        """Seconds for which the broker has answered nothing while it had something to answer."""
        if not self._wire:
            return 0.0
        return asyncio.get_running_loop().time() - self._answered_at

    def be_patient(self) -> None:
        """Count ``silent_for`` from now on."""
        self._answered_at = asyncio.get_running_loop().time()

    def _send(self, item: Outgoing) -> None:
        self._waiting.pop(item, None)
        if not self._wire:
            self.be_patient()
        item.attempts += 1
        task = asyncio.get_running_loop().create_task(self._publish(item))
        self._wire[task] = item
        task.add_done_callback(self._ended)
        self._update()

    def _ended(self, task: asyncio.Task[object]) -> None:
        exc = asyncio.CancelledError() if task.cancelled() else task.exception()
        item = self._wire.get(task)
        is_rejected = isinstance(exc, DeliveryError)
        if item is None or isinstance(exc, asyncio.CancelledError):
            return
        if isinstance(exc, _CUT) and not is_rejected:
            return  # it stays on the wire, for ``cut``: the channel is gone, and says why
        del self._wire[task]
        self.be_patient()
        if is_rejected and item.attempts <= len(RETRY_AFTER):
            delay = RETRY_AFTER[item.attempts - 1]
            loop = asyncio.get_running_loop()
            self._waiting[item] = loop.call_later(delay, self._send, item)
        else:
            self._bytes -= len(item.payload)
        self._update()
        if item in self._waiting:
            return
        if exc is None:
            self._on_taken(item)
        elif is_rejected:
            words = f"the broker rejected it {item.attempts} times (basic.nack): is a queue full?"
            self._on_given_up(item, "nack", words)
        else:
            self._on_given_up(item, "invalid", repr(exc))

    def _update(self) -> None:
        count = len(self._wire) + len(self._waiting)
        _set(self._has_room, count < MAX_IN_FLIGHT and self._bytes < MAX_BYTES_IN_FLIGHT)
        _set(self._is_busy, bool(self._wire))
        _set(self._is_answered, not self._wire)
        _set(self._is_settled, not count)


def _set(event: asyncio.Event, is_set: bool) -> None:  # noqa: FBT001
    if is_set:
        event.set()
    else:
        event.clear()
