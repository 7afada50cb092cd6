"""``StreamSession``: a connection to one stream, verified, kept, and made anew when it is lost.

Whose stream: it is verified, never changed; it is made only if that was said. Its name and the time
at which it was made are its identity: in a stream that was deleted and made anew, positions mean
other events, so a session never goes on with another one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from edr.journal import JournalError, JournalUnusable
from edr.links.link import (
    FIRST_PAUSE,
    LET_GO,
    LONGEST_PAUSE,
    LinkRefused,
    heed_cancellation,
    logger,
)
from edr.links.nats_client import Connection
from edr.links.stream_api import NO_SUCH_STREAM, StreamApi, StreamError

PULSE = 5.0
"""Seconds between two looks at the stream: whether the connection lives, and what is in it."""


class StreamSession:
    """One stream, over one connection after the other.

    Args:
        urls: of servers of one cluster.
        where: the same, for those who read it: without passwords.
        config: of the stream: what is verified, and what is made.
        create: make it if it is not there.
        timeout: seconds to connect, and to be answered.
        client: further arguments of ``nats.connect``.
        on_up: awaited with the API of each new connection, before anybody else has it.
        on_down: called when a connection is gone.
        on_pulse: called each ``PULSE`` seconds, while there is one.
    """

    def __init__(
        self,
        urls: Sequence[str],
        where: str,
        config: Mapping[str, Any],
        *,
        create: bool,
        timeout: float,
        client: Mapping[str, Any],
        on_up: Callable[[StreamApi], Awaitable[None]],
        on_down: Callable[[], None],
        on_pulse: Callable[[], None],
    ) -> None:
        self.api: StreamApi | None = None
        """Of the connection that there is now."""
        self.id: str = ""
        """The stream's identity, once it was opened."""
        self.state: Mapping[str, Any] = {"first_seq": 0, "last_seq": 0, "bytes": 0}
        """Of the stream, as it was when it was last looked at."""
        self.first_at_open: int = 0
        self.error: str | None = None
        """Why there is no connection."""
        self.is_closed: bool = False
        self._stream = config["name"]
        self._urls = urls
        self._where = where
        self._config = config
        self._create = create
        self._timeout = timeout
        self._client = client
        self._on_up = on_up
        self._on_down = on_down
        self._on_pulse = on_pulse
        self._task: asyncio.Task[None] | None = None
        self._opened: asyncio.Future[None] | None = None
        self._is_up = asyncio.Event()

    def check_open(self) -> None:
        """Raise if it was closed.

        Raises:
            JournalError: it was.
        """
        if self.is_closed:
            raise JournalError(f"journal {self._stream!r} was closed")

    async def open(self) -> None:
        """Connect, and verify the stream, or make it. Idempotent.

        Raises:
            JournalUnusable: there is no such stream, or it is none for events.
            JournalError: no server was reached within ``timeout``; or it was closed.
        """
        self.check_open()
        if self._opened is None:
            loop = asyncio.get_running_loop()
            self._opened = loop.create_future()
            self._task = loop.create_task(self._run(self._opened), name=f"edr {self._stream}")
        opened = self._opened
        if not opened.done():
            await asyncio.wait({opened}, timeout=self._timeout)
        if opened.done() and opened.exception() is None:
            return
        if self._opened is opened:
            self._opened = None  # it may be tried again
            await self.stop()
        if opened.done():
            opened.result()
        raise JournalError(
            f"journal {self._stream!r}: no server was reached at {self._where}: {self.error}"
        )

    async def connected(self) -> StreamApi:
        """Return the API, waiting for a connection.

        Raises:
            JournalError: as ``open``; or it is closed meanwhile.
        """
        await self.open()
        while self.api is None:
            await self._is_up.wait()
            self.check_open()
        return self.api

    async def look(self) -> Mapping[str, Any]:
        """Return the state of the stream now.

        Raises:
            JournalError: it cannot be asked; or the session is closed.
        """
        while True:
            api = await self.connected()
            try:
                self.state = (await api.info())["state"]
            except StreamError as exc:
                raise JournalError(f"journal {self._stream!r} cannot be asked now: {exc}") from exc
            except (ConnectionError, TimeoutError):
                continue  # there will be another connection
            return self.state

    async def close(self) -> None:
        """End it; whoever waits for a connection hears so."""
        self.is_closed = True
        await self.stop()
        self._is_up.set()

    async def stop(self) -> None:
        """End the connection, and make no other one."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    async def _run(self, opened: asyncio.Future[None]) -> None:
        pause = FIRST_PAUSE
        while True:
            connection = Connection()
            try:
                async with asyncio.timeout(self._timeout):
                    api = await self._connect(connection)
                    await self._on_up(api)
                heed_cancellation()
                self.api, self.error, pause = api, None, FIRST_PAUSE
                self._is_up.set()
                if not opened.done():
                    opened.set_result(None)
                await self._keep(api)
            except Exception as exc:  # of the library, the server, or ours: a reason to try anew
                self._lost(exc, opened)
            finally:
                self._is_up.clear()
                self.api = None
                self._on_down()
                with suppress(TimeoutError):
                    async with asyncio.timeout(LET_GO):
                        await connection.abort()
            heed_cancellation()
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _connect(self, connection: Connection) -> StreamApi:
        await connection.open(
            self._urls,
            name=f"edr journal {self._stream}",
            timeout=self._timeout,
            options=self._client,
        )
        api = StreamApi(connection, self._stream, self._timeout)
        await self._verify(api)
        return api

    def _lost(self, exc: Exception, opened: asyncio.Future[None]) -> None:
        reason = str(exc) or type(exc).__name__
        if self.error != reason:
            self.error = reason
            logger.warning("journal %r: %s; trying again", self._stream, reason)
        if not opened.done() and isinstance(exc, (JournalError, LinkRefused)):
            opened.set_exception(exc if isinstance(exc, JournalError) else JournalError(reason))

    async def _verify(self, api: StreamApi) -> None:
        try:
            info = await api.info()
        except StreamError as exc:
            if exc.code != NO_SUCH_STREAM:
                raise
            if not self._create or self.id:
                raise self._unusable("there is no such stream; create=True makes it") from exc
            info = await api.make(self._config)
        config = info["config"]
        for name in ("retention", "subjects"):
            if config[name] != self._config[name]:
                raise self._unusable(
                    f"its {name}: {config[name]!r}, where a journal needs {self._config[name]!r}"
                )
        identity = f"{self._stream}@{info['created']}"
        if self.id and self.id != identity:
            raise self._unusable("it was deleted and made anew: its positions mean other events")
        self.state = info["state"]
        if not self.id:
            self.id = identity
            self.first_at_open = self.state["first_seq"]
            if config["num_replicas"] == 1:
                logger.info(
                    "journal %r has one replica: power loss may cost what its server did not sync; "
                    "see sync_interval there, which is two minutes unless it says otherwise",
                    self._stream,
                )

    def _unusable(self, reason: str) -> JournalUnusable:
        return JournalUnusable(reason, f"stream {self._stream}")

    async def _keep(self, api: StreamApi) -> None:
        """Look after the connection, until it is lost."""
        lost = api.connection.lost
        while not lost.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(PULSE):
                    await lost.wait()
                    break
            self.state = (await api.info())["state"]
            self._on_pulse()
        raise api.connection.fault or ConnectionError("the connection was lost")
