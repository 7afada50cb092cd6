"""``Acks``: what a consumer tells the broker of the messages that it received."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress

from aiormq.channel import Channel

ACK_AT = 64
ACK_WITHIN = 0.1
"""Messages, and seconds, after which the broker is told: an ack for each message would cost the
consumer as much as the message."""


class Acks:
    """The messages of one channel until they are acknowledged; only ``keep_telling`` waits.

    A message that is neither taken nor rejected stays with the broker, which gives it to the next
    consumer when the channel ends.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._some = asyncio.Event()
        self._many = asyncio.Event()
        self._count = 0
        self._open: deque[int] = deque()
        """Tags that were received and not acknowledged, in their order."""
        self._taken: set[int] = set()
        self._rejected: list[int] = []
        """Tags to be rejected."""
        self._gone: set[int] = set()
        """Tags that were rejected, or are about to be."""

    def came(self, tag: int) -> None:
        """Remember a message that was received."""
        self._open.append(tag)

    def took(self, tag: int) -> None:
        """Acknowledge the message. It may be called in any order of the tags."""
        self._taken.add(tag)
        self._counted()

    def reject(self, tag: int) -> None:
        """Reject the message: the broker drops it, or gives it to a dead letter exchange."""
        self._rejected.append(tag)
        self._gone.add(tag)
        self._counted()

    def _counted(self) -> None:
        self._count += 1
        self._some.set()
        if self._count >= ACK_AT:
            self._many.set()

    async def keep_telling(self) -> None:
        """Send the acks to the broker, until cancelled."""
        while True:
            await self._some.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(ACK_WITHIN):
                    await self._many.wait()
            await self.tell()

    async def tell(self, *, wait: bool = False) -> None:
        """Acknowledge all messages up to the first that is not taken yet.

        Args:
            wait: return when it is written.
        """
        self._some.clear()
        self._many.clear()
        self._count = 0
        await self._reject(wait=wait)
        last = None
        while self._open:
            tag = self._open[0]
            if tag in self._taken:
                self._taken.discard(tag)
                last = tag  # not a rejected one: the broker closes the channel for its ack
            elif tag in self._gone:
                self._gone.discard(tag)
            else:
                break
            self._open.popleft()
        if last is not None:
            await self._channel.basic_ack(last, multiple=True, wait=wait)

    async def tell_all(self) -> None:
        """Acknowledge every message that was taken, and wait until the acks are written."""
        await self.tell(wait=True)
        for tag in sorted(self._taken):
            await self._channel.basic_ack(tag, wait=True)
        self._taken.clear()

    async def _reject(self, *, wait: bool) -> None:
        # These first: an ack of all up to a later one would ack them too, and to reject a message
        # that was acked is a fault for which the channel is closed.
        rejected, self._rejected = self._rejected, []
        for tag in rejected:
            await self._channel.basic_reject(tag, requeue=False, wait=wait)
