"""``Reconnector``: keeps one component connected to a receiver that goes away and comes back.

It never repairs a connection: each attempt makes a new one. It connects, serves the connection
until that is lost, disconnects, and starts again after a delay that doubles.

A fault that a retry cannot cure, such as a wrong password, is *refused*. At the first attempt it is
raised to the caller. Later it is logged and tried again like any other fault, because a service
that runs must not die of it, and the receiver may be repaired.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import StrEnum
from math import inf

from edr._util.backoff import Backoff
from edr._util.tasks import is_cancelled, raise_if_cancelled
from edr.delivery.fault_log import FaultLog

FIRST_DELAY = 0.05
"""Seconds before the second attempt: a receiver that restarts may be back that soon."""

MAX_DELAY = 2.0
"""Most seconds between two attempts. It bounds both the delay after an outage and the number of
attempts that a thousand components make at a receiver that is away."""

MIN_UPTIME = 0.1
"""Seconds that a connection must have lasted for the next delay to be ``FIRST_DELAY`` again. A
receiver that accepts connections and closes them at once is treated like one that is away."""

DISCONNECT_TIMEOUT = 2.0
"""Seconds to disconnect; a receiver that hangs does not answer."""


class ConnectionState(StrEnum):
    """The state of a component's connection."""

    CONNECTING = "connecting"
    """Not connected; attempts go on."""
    UP = "up"
    BLOCKED = "blocked"
    """There is a connection, and the receiver announced that it accepts nothing at the moment."""
    CLOSED = "closed"


class Reconnector:
    """The task that keeps a component connected.

    Args:
        connect: makes a new connection.
        serve: sends and receives until the connection is lost, then returns or raises.
        disconnect: ends the connection, also one that was only half made.
        log: receives faults and changes of the state.
        timeout: seconds for ``connect``.
        refused: the exception of faults that a retry cannot cure.
        on_closed: called once when the task has ended, for any reason.
    """

    def __init__(
        self,
        *,
        connect: Callable[[], Awaitable[None]],
        serve: Callable[[], Awaitable[None]],
        disconnect: Callable[[], Awaitable[None]],
        log: FaultLog,
        timeout: float,
        refused: type[Exception],
        on_closed: Callable[[], None],
    ) -> None:
        self.state: ConnectionState = ConnectionState.CLOSED
        self.connections: int = 0
        """Connections made so far."""
        self.outage: float = 0.0
        """Seconds without a connection before the present one; 0 before the first one failed."""
        self._connect = connect
        self._serve = serve
        self._disconnect = disconnect
        self._log = log
        self._timeout = timeout
        self._refused = refused
        self._on_closed = on_closed
        self._task: asyncio.Task[None] | None = None
        self._first_attempt: asyncio.Future[None] | None = None
        self._is_up = asyncio.Event()
        self._up_since = inf
        self._down_since: float | None = None

    def start(self, name: str) -> None:
        """Start the task, called ``name``. Call it once."""
        loop = asyncio.get_running_loop()
        self._set_state(ConnectionState.CONNECTING)
        self._first_attempt = loop.create_future()
        self._task = loop.create_task(self._run(), name=name)

    async def first_attempt(self) -> None:
        """Wait for the first attempt, whether it connects or fails.

        Raises:
            The exception ``refused``, if the attempt raised it.
        """
        assert self._first_attempt is not None
        await asyncio.shield(self._first_attempt)

    async def connected(self) -> bool:
        """Wait until there is a connection and return True; False if the task has ended."""
        if self.state is not ConnectionState.CLOSED:
            await self._is_up.wait()
        return self.state is not ConnectionState.CLOSED

    async def closed(self) -> None:
        """Wait until the task has ended."""
        if self._task is not None:
            await asyncio.wait({self._task})

    async def aclose(self) -> None:
        """Disconnect and end the task. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        self._close()

    def _close(self) -> None:
        if self.state is ConnectionState.CLOSED:
            return
        self._set_state(ConnectionState.CLOSED)
        self._is_up.set()  # wakes the tasks that wait for a connection
        if self._first_attempt is not None and not self._first_attempt.done():
            self._first_attempt.set_result(None)
        self._on_closed()

    async def _run(self) -> None:
        try:
            backoff = Backoff(FIRST_DELAY, MAX_DELAY)
            delay = FIRST_DELAY
            loop = asyncio.get_running_loop()
            while True:
                self._up_since = inf
                await self._attempt()
                raise_if_cancelled()
                uptime = loop.time() - self._up_since  # negative if the attempt failed
                needed = min(delay, MIN_UPTIME)
                if uptime > needed:
                    backoff.reset()
                delay = backoff.next()
                # Components that lost one receiver at the same moment do not return together.
                drawn = delay * random.uniform(0.5, 1.0)  # noqa: S311 - not a secret
                # After a connection that ended at once, the outage does not limit the delay.
                limit = MAX_DELAY if 0 <= uptime <= needed else self._max_delay()
                await asyncio.sleep(min(drawn, limit))
        finally:
            self._close()

    def _max_delay(self) -> float:
        """Return the seconds for which there has been no connection.

        No delay is longer, so after an outage of n seconds a component is back within n seconds.
        A sender that waits as long after it has connected finds its receivers connected too.
        """
        now = asyncio.get_running_loop().time()
        return max(FIRST_DELAY, 0.0 if self._down_since is None else now - self._down_since)

    async def _attempt(self) -> None:
        """Connect, serve until the connection is lost, and disconnect."""
        assert self._first_attempt is not None
        try:
            async with asyncio.timeout(self._timeout):
                await self._connect()
            raise_if_cancelled()
            self._connected()
            await self._serve()
            self._failed("the connection was lost")
        except self._refused as exc:
            if not self._first_attempt.done():
                self._first_attempt.set_exception(exc)
            self._failed(str(exc), logging.ERROR)
        except (Exception, asyncio.CancelledError) as exc:  # client libraries raise anything
            raise_if_cancelled()
            self._failed(str(exc) or type(exc).__name__)
            self._end_first_attempt()
        finally:
            self._is_up.clear()
            if not is_cancelled():
                self._set_state(ConnectionState.CONNECTING)
            with suppress(Exception):  # the connection is discarded, whatever is wrong with it
                async with asyncio.timeout(DISCONNECT_TIMEOUT):
                    await self._disconnect()

    def _connected(self) -> None:
        self.connections += 1
        self._up_since = asyncio.get_running_loop().time()
        self.outage = 0.0 if self._down_since is None else self._up_since - self._down_since
        self._down_since = None
        self._set_state(ConnectionState.UP)
        self._is_up.set()
        self._end_first_attempt()

    def _end_first_attempt(self) -> None:
        if self._first_attempt is not None and not self._first_attempt.done():
            self._first_attempt.set_result(None)

    def _failed(self, error: str, level: int = logging.WARNING) -> None:
        self._log.last_error = error
        if self._down_since is None:
            self._down_since = asyncio.get_running_loop().time()
        self._log.fault(level, error, "is not connected: %s; trying again", error)

    def _set_state(self, state: ConnectionState) -> None:
        if state is not self.state:
            self.state = state
            self._log.log(logging.INFO, "changed its state to %s", state)
