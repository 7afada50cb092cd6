"""``Client``: one connection that receives events, and ``Clients``, all of them.

A client has no queue. Its task writes, and otherwise waits until ``wake`` is called: by a place
that has something to take, by the watch for a heartbeat, or by ``close`` with the reason of the
end.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from edr._util.wakeup import wake
from edr.streams import Place
from edr.web.authentication import Identity
from edr.web.limits import Seat
from edr.web.peer import Peer
from edr.web.watch import Watch

MIN_INTERVAL = 0.01
"""Seconds between two writes of a client. A write costs as much as twenty events, so the events of
this time are written together. The first event after a pause is written at once."""

STOP_TIMEOUT = 0.7
"""Seconds for all clients to end at a stop. Clients that do not read are then cancelled."""

CANCEL_TIMEOUT = 0.2
"""Seconds for cancelled clients to end."""

LINGER = 30.0
"""Seconds for the last write of a client that is too slow. Within these, ``TCP_USER_TIMEOUT`` frees
the socket of one that is not there any more."""


class SlowClientError(Exception):
    """A write took longer than ``send_timeout``."""


class Client:
    """One connection. ``Clients.add`` makes it, in the task of the connection.

    Args:
        number: its number among all clients of the process.
        identity: its grant.
        peer: its address.
        seat: counts it.
        places: returns its subscriptions.
    """

    def __init__(
        self,
        number: int,
        identity: Identity,
        peer: Peer,
        seat: Seat,
        places: Callable[[], Collection[Place]],
    ) -> None:
        loop = asyncio.get_running_loop()
        self.id: str = f"c{number}"
        self.identity: Identity = identity
        self.peer: Peer = peer
        self.since: datetime = datetime.now(UTC)
        self.places: Callable[[], Collection[Place]] = places
        self.reason: str | None = None
        """Why its stream ends; ``None`` while it runs."""
        self.is_beat_due: bool = False
        """Whether a heartbeat is due. The client's task sets it back."""
        self.writing_since: float | None = None
        self.written_at: float = loop.time()
        self.seat: Seat = seat
        self.details: dict[str, Any] = {}
        """Further fields of the client in ``/clients``."""
        self._loop = loop
        self._task = asyncio.current_task()
        self._waiter: asyncio.Future[None] | None = None
        self._is_awake = False
        self._is_cancelled = False

    def wake(self) -> None:
        """End the present or the next ``wait``."""
        self._is_awake = True
        if self._waiter is not None:
            wake(self._waiter)

    async def wait(self) -> None:
        """Wait until ``wake`` is called since the last wait, and ``MIN_INTERVAL`` since a write."""
        if not self._is_awake:
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        pause = self.written_at + MIN_INTERVAL - self._loop.time()
        if pause > 0 and self.reason is None:
            await asyncio.sleep(pause)
        self._is_awake = False

    async def write(self, writing: Awaitable[object]) -> None:
        """Await ``writing``, which sends something to the client.

        Raises:
            SlowClientError: it took longer than ``send_timeout``; the reason is ``slow``.
        """
        self.writing_since = self._loop.time()
        try:
            await writing
        except asyncio.CancelledError:
            if self.reason != "slow" or self._task is None or self._task.uncancel():
                raise  # another one than ``give_up`` cancelled the task
            raise SlowClientError from None
        finally:
            self.writing_since = None
            self.written_at = self._loop.time()

    def close(self, reason: str) -> None:
        """End the stream for ``reason``, which is sent to the client. Only the first one counts."""
        if self.reason is None:
            self.reason = reason
            self.wake()

    def beat(self) -> None:
        """Send a heartbeat. For the watch."""
        self.is_beat_due = True
        self.wake()

    def give_up(self) -> None:
        """End a write that takes too long. For the watch."""
        if self.reason == "slow" or self._task is None:
            return
        self.reason = "slow"
        self._task.cancel()

    def cancel(self) -> None:
        """Cancel the task of the connection. For a stop."""
        self._is_cancelled = True
        if self._task is not None:
            self._task.cancel()

    def is_stopped(self) -> bool:
        """Return whether ``cancel`` caused the ``CancelledError`` that was caught.

        If so, the task is not cancelled any more, and should return.
        """
        return self._is_cancelled and self._task is not None and not self._task.uncancel()


class Clients:
    """All clients of a gateway.

    Args:
        heartbeat: seconds without a write after which a client receives a heartbeat.
        send_timeout: seconds for one write.
    """

    def __init__(self, *, heartbeat: float, send_timeout: float) -> None:
        self.closed: Counter[str] = Counter()
        """How many clients have ended, by reason."""
        self._clients: dict[Client, None] = {}
        self._count = 0
        self._watch = Watch(lambda: self._clients, heartbeat=heartbeat, send_timeout=send_timeout)
        self._lingering: set[Client] = set()
        self._is_empty = asyncio.Event()
        self._is_empty.set()

    def __len__(self) -> int:
        return len(self._clients)

    def __iter__(self) -> Iterator[Client]:
        return iter(list(self._clients))

    def add(
        self, identity: Identity, peer: Peer, seat: Seat, places: Callable[[], Collection[Place]]
    ) -> Client:
        """Return a new client, which runs in the current task."""
        self._count += 1
        client = Client(self._count, identity, peer, seat, places)
        self._clients[client] = None
        self._is_empty.clear()
        self._watch.start()
        return client

    def remove(self, client: Client, reason: str) -> None:
        """Remove ``client``, and count why it ended. Idempotent."""
        if client not in self._clients:
            return
        del self._clients[client]
        self.closed[reason] += 1
        if not self._clients:
            self._watch.stop()
        self._check_empty()

    async def linger(self, client: Client, writing: Awaitable[object]) -> None:
        """Await the last write of a removed client that did not read, for a limited time.

        The server frees the socket when that is written or when the peer is gone. Until then the
        client keeps its seat, so that many of them cannot exceed the limits.
        """
        self._lingering.add(client)
        self._is_empty.clear()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(LINGER):
                    await writing
        finally:
            self._lingering.discard(client)
            self._check_empty()

    async def stop(self, reason: str) -> None:
        """End all clients. It takes less than a second. Cancellation: they end nevertheless."""
        for client in self._lingering:
            client.cancel()
        for client in self:
            client.close(reason)
        if await self._emptied(STOP_TIMEOUT):
            return
        for client in self:  # they do not read
            client.cancel()
        await self._emptied(CANCEL_TIMEOUT)

    def _check_empty(self) -> None:
        if not self._clients and not self._lingering:
            self._is_empty.set()

    async def _emptied(self, timeout: float) -> bool:
        try:
            async with asyncio.timeout(timeout):
                await self._is_empty.wait()
        except TimeoutError:
            return False
        return True
