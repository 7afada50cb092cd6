"""``Connection``: reads and writes the frames of one session.

One task reads a frame, answers it, and reads the next one. So a client that does not read replies
is not read any more. Another task sends the events. One lock orders the two: frames of one batch
are sent under it, and replies.

The client can be as slow as the window of the streams permits. Then, or if one batch takes longer
than ``send_timeout``, the connection is closed: Blackhole's protocol has no message that says that
events are missing, and a client that is not told would believe that it has them all.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from edr._util.log import RateLimitedLog
from edr.errors import BusClosedError
from edr.web.blackhole.session import Session
from edr.web.blackhole.subscriptions import Frame
from edr.web.channel import Channel, DisconnectedError
from edr.web.merging import Gap

CLOSE_TIMEOUT = 0.5
"""Seconds to write the close frame. A client that does not read does not receive it."""

MAX_REFUSED = 100
"""Requests beyond the rate limit, one after the other, that are answered."""


class Closing(NamedTuple):
    """Why a connection is closed."""

    code: int
    """The close code."""
    reason: str
    """The text that the client receives; at most 123 bytes."""
    name: str
    """The key of ``closed`` in the statistics."""


GONE = Closing(0, "", "left")
"""The client has closed the connection, or it broke."""
STOPPING = Closing(1001, "stopping", "stopping")
IDLE = Closing(1000, "idle", "idle")
"""Kazoo's code."""
NO_TOKEN = Closing(4408, "no token", "no_token")
GRANT_ENDED = Closing(4403, "the grant has ended", "grant")
TOO_MANY_FRAMES = Closing(1008, "too many frames", "rate")
TOO_LARGE = Closing(1009, "a frame is too large", "too_large")
TOO_SLOW = Closing(1013, "too slow: events were not sent", "slow")
FAILED = Closing(1011, "internal error", "failed")


class Times(NamedTuple):
    """Times of a connection, in seconds."""

    idle: float
    """Without a frame in either direction, until the connection is closed."""
    token: float
    """From the start until a token was accepted."""
    send: float
    """To write one reply or one batch of events."""


class Connection:
    """One connection that was accepted.

    Args:
        channel: reads and writes its frames. It was accepted.
        times: its time limits.
        max_frame: the most bytes of a frame of the client.
        log: logs faults of edr.
    """

    def __init__(
        self,
        channel: Channel,
        *,
        times: Times,
        max_frame: int,
        log: RateLimitedLog,
    ) -> None:
        self.sent: int = 0
        """Events that were sent."""
        self._channel = channel
        self._times = times
        self._max_frame = max_frame
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._ready = asyncio.Event()
        self._sending = asyncio.Lock()
        self._closing: asyncio.Future[Closing] = self._loop.create_future()
        self._timer: asyncio.TimerHandle | None = None
        self._started_at = self._active_at = self._loop.time()

    def wake(self) -> None:
        """Send the events that there are."""
        self._ready.set()

    def grant_ended(self) -> None:
        """Close the connection: its grant has ended."""
        self.end(GRANT_ENDED)

    def end(self, closing: Closing) -> None:
        """Close the connection. The first call decides the reason."""
        if not self._closing.done():
            self._closing.set_result(closing)

    async def serve(self, session: Session) -> Closing:
        """Serve the client until the connection ends, and return why it ended."""
        tasks = [self._run(self._read(session)), self._run(self._write(session))]
        self._watch(session)
        try:
            closing = await self._closing
        finally:
            session.close()
            if self._timer is not None:
                self._timer.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        await self._close(closing)
        return closing

    def _run(self, loop: Coroutine[Any, Any, Closing]) -> asyncio.Task[None]:
        async def run() -> None:
            try:
                self.end(await loop)
            except BusClosedError:
                self.end(STOPPING)
            except TimeoutError:  # of a write
                self.end(TOO_SLOW)
            except DisconnectedError:
                self.end(GONE)
            except Exception as exc:  # the connection must end, and others continue
                self._log.log(logging.ERROR, "session", "a Blackhole session failed", exc=exc)
                self.end(FAILED)

        return self._loop.create_task(run())

    # Requests

    async def _read(self, session: Session) -> Closing:
        while True:
            frame = await self._channel.receive()
            if self._is_too_large(frame):
                return TOO_LARGE
            reply = await session.answer(frame)
            if session.refused > MAX_REFUSED:
                return TOO_MANY_FRAMES
            # No await since the answer: the reply is sent before events of a new subscription.
            await self._write_all([reply])

    def _is_too_large(self, frame: str | bytes) -> bool:
        if len(frame) > self._max_frame:
            return True
        if isinstance(frame, bytes) or frame.isascii():
            return False
        return len(frame.encode(errors="replace")) > self._max_frame

    # Events

    async def _write(self, session: Session) -> Closing:
        while True:
            taken = session.take()
            if isinstance(taken, Gap):
                return TOO_SLOW
            if taken is not None:
                await self._write_all(taken)
                await asyncio.sleep(0)  # a write that does not block does not yield either
            elif session.has_ended:
                return STOPPING
            else:
                await self._ready.wait()
                self._ready.clear()

    async def _write_all(self, frames: Sequence[str | Frame]) -> None:
        """Write frames, except those of subscriptions that have ended by then."""
        async with self._sending, asyncio.timeout(self._times.send):
            for frame in frames:
                if isinstance(frame, str):
                    await self._channel.send(frame)
                elif frame.subscription.is_active:
                    await self._channel.send(frame.text)
                    self.sent += 1
        self._active_at = self._loop.time()  # each frame of the client is answered

    # The end

    def _watch(self, session: Session) -> None:
        """End a connection that is idle, or that has sent no token in time."""
        now = self._loop.time()
        idle_at = self._active_at + self._times.idle
        token_at = math.inf if session.is_authenticated else self._started_at + self._times.token
        if now >= token_at:
            self.end(NO_TOKEN)
        elif now >= idle_at:
            self.end(IDLE)
        else:
            self._timer = self._loop.call_at(min(idle_at, token_at), self._watch, session)

    async def _close(self, closing: Closing) -> None:
        if closing is GONE:
            return
        with suppress(TimeoutError):  # a client that does not read cannot be told
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self._channel.close(closing.code, closing.reason)
