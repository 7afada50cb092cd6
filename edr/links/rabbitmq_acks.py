"""What a consumer tells the broker of the messages it got: taken, or never again."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from aiormq.channel import Channel

ACK_AT = 64
ACK_WITHIN = 0.1
"""Messages, and seconds, after which the broker hears of them: an ack for each would cost the
consumer as much as the message."""


class Acks:
    """Collects for one channel what became of messages; only ``keep_telling`` waits."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._some = asyncio.Event()
        self._many = asyncio.Event()
        self._count = 0
        self._last_taken: int | None = None
        self._rejected: list[int] = []
        self._is_over = False

    def took(self, tag: int) -> None:
        """Ack the message, and all before it that were not rejected."""
        if self._is_over:
            return
        self._last_taken = tag
        self._counted()

    def reject(self, tag: int) -> None:
        """Have the message not sent again to anybody: it is no better then."""
        self._rejected.append(tag)
        self._counted()

    def end(self) -> None:
        """Ack no further message: the broker keeps them for the next consumer."""
        self._is_over = True

    def _counted(self) -> None:
        self._count += 1
        self._some.set()
        if self._count >= ACK_AT:
            self._many.set()

    async def keep_telling(self) -> None:
        """Tell the broker, again and again."""
        while True:
            await self._some.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(ACK_WITHIN):
                    await self._many.wait()
            await self.tell()

    async def tell(self, *, wait: bool = False) -> None:
        """Tell the broker what it was not told yet; with ``wait``, until that is written."""
        self._some.clear()
        self._many.clear()
        self._count = 0
        rejected, self._rejected = self._rejected, []
        last_taken, self._last_taken = self._last_taken, None
        # These first: an ack of all up to a later one would ack them too, and to reject a message
        # that was acked is a fault for which the channel is closed.
        for tag in rejected:
            await self._channel.basic_reject(tag, requeue=False, wait=wait)
        if last_taken is not None:
            await self._channel.basic_ack(last_taken, multiple=True, wait=wait)
