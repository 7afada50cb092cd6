"""``StreamSession``: a connection to one stream, verified, kept, and replaced when it is lost.

The stream is verified, never changed, and created only if that was asked for. Its identity is its
name and the time of its creation: positions in a stream that was deleted and created again mean
other events. So each look at the stream compares its identity and its settings with the settings
that a journal needs. When they differ, or the stream is gone, the session **ends**: nothing can
cure that, so each call that waits or comes later gets ``JournalUnusableError``. Everything else is
tried again.
"""

from __future__ import annotations

import asyncio
from asyncio import FIRST_COMPLETED
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from edr._util.backoff import Backoff
from edr._util.tasks import raise_if_cancelled
from edr.delivery import DISCONNECT_TIMEOUT, FIRST_DELAY, MAX_DELAY
from edr.journal import JournalError, JournalUnusableError
from edr.journal.receipts import copied
from edr.links.errors import LinkRefusedError
from edr.links.log import logger
from edr.links.nats_client import Connection
from edr.links.stream_api import NO_SUCH_STREAM, StreamApi, StreamError

STATE_INTERVAL = 5.0
"""Seconds between two looks at the stream: whether the connection lives, and what is in it."""

INFO_RETRY_DELAYS = (0.2, 0.5, 1.0)
"""Seconds after which the server is asked again for a stream that it does not find: one that has
just started, or lost its leader, may not know its streams yet."""

FIRST_INFO_TIMEOUT = 1.0
"""Seconds after which a new connection is asked again."""

_SETTINGS = {
    "storage": "file",
    "no_ack": False,
    "sealed": False,
    "max_msgs_per_subject": -1,
    "mirror": None,
    "subject_transform": None,
    "persist_mode": "default",
}
"""Settings of a stream that a journal needs, with the server's own default where it says none. With
others an event is not acknowledged, not on the disk, removed from the middle, or renamed."""


class StreamSession:
    """One stream, over one connection after the other.

    Args:
        urls: of servers of one cluster.
        where: the same without passwords, for errors and logs.
        config: of the stream: what is verified, and what is made.
        create: make it if it is not there.
        timeout: seconds to connect, and to be answered.
        client: further arguments of ``nats.connect``.
        on_up: awaited with the API of each new connection and the stream's settings and state,
            before any other call uses it.
        on_down: called with the reason when a connection is gone.
        on_state: called each ``STATE_INTERVAL`` seconds, while there is one.
        on_end: called with the error when the stream cannot be used any more.
        on_violation: called with the server's words when it did not permit something.
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
        on_up: Callable[[StreamApi, Mapping[str, Any]], Awaitable[None]],
        on_down: Callable[[str], None],
        on_state: Callable[[], None],
        on_end: Callable[[JournalError], None],
        on_violation: Callable[[str], None],
    ) -> None:
        self.api: StreamApi | None = None
        """Of the connection that there is now."""
        self.id: str = ""
        """The stream's identity, once it was opened."""
        self.state: Mapping[str, Any] = {"first_seq": 0, "last_seq": 0, "bytes": 0}
        """Of the stream, as it was when it was last looked at."""
        self.first_at_open: int = 0
        self.error: str | None = None
        """The reason why the connection is missing."""
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
        self._on_state = on_state
        self._on_end = on_end
        self._on_violation = on_violation
        self._ended: JournalUnusableError | None = None
        self._check_requested = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._opened: asyncio.Future[None] | None = None
        self._is_up = asyncio.Event()

    def check_open(self) -> None:
        """Raise if it was closed, or has ended.

        Raises:
            JournalUnusableError: the stream cannot be used any more.
            JournalError: it was closed.
        """
        if self.is_closed:
            raise JournalError(f"journal {self._stream!r} was closed")
        if self._ended is not None:
            raise copied(self._ended)

    async def open(self) -> None:
        """Connect, and verify the stream, or make it. Idempotent.

        Raises:
            JournalUnusableError: the stream does not exist, or a journal cannot use it.
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
            f"journal {self._stream!r}: no server was reached at {self._where} within "
            f"{self._timeout:g} s: {self.error or 'no answer'}"
        )

    async def connected(self) -> StreamApi:
        """Return the API, waiting for a connection, however long that takes.

        Raises:
            JournalUnusableError: the stream cannot be used any more.
            JournalError: as ``open``; or it was closed.
        """
        await self.open()
        while self.api is None:
            self.check_open()
            await self._is_up.wait()
            self.check_open()
        return self.api

    async def soon(self) -> StreamApi:
        """Return the API, waiting at most ``timeout`` seconds for a connection.

        Raises:
            JournalError: as ``connected``; or the time ran out.
        """
        try:
            async with asyncio.timeout(self._timeout):
                return await self.connected()
        except TimeoutError:
            raise JournalError(
                f"journal {self._stream!r}: there was no connection to {self._where} for "
                f"{self._timeout:g} s: {self.error or 'no answer'}"
            ) from None

    async def info(self, api: StreamApi, timeout: float | None = None) -> Mapping[str, Any]:
        """Return the settings and the state of the stream, which is the one that was opened.

        Raises:
            JournalUnusableError: it is not; the session has ended.
            StreamError, ConnectionError, TimeoutError: it cannot be asked.
        """
        for pause in (*INFO_RETRY_DELAYS, None):
            try:
                info = await api.info(timeout)
                break
            except StreamError as exc:
                if exc.code != NO_SUCH_STREAM:
                    raise
                if pause is None or not self.id:
                    raise self._end("there is no such stream; it was deleted") from exc
            await asyncio.sleep(pause)
        fault = self._fault(info)
        if fault is not None:
            raise self._end(fault)
        self.state = info["state"]
        return info

    async def look(self) -> Mapping[str, Any]:
        """Return the state of the stream now.

        Raises:
            JournalUnusableError: the stream cannot be used any more.
            JournalError: it cannot be asked within ``timeout``; or the session is closed.
        """
        error: Exception | None = None
        try:
            async with asyncio.timeout(self._timeout):
                while True:
                    api = await self.connected()
                    try:
                        return (await self.info(api))["state"]  # type: ignore[no-any-return]
                    except (StreamError, ConnectionError, TimeoutError) as exc:
                        error = exc
                        if isinstance(exc, StreamError) and not exc.is_temporary:
                            break
                    await asyncio.sleep(FIRST_DELAY)  # there will be another connection, or leader
        except TimeoutError:
            pass
        raise JournalError(
            f"journal {self._stream!r} cannot be asked now: {error or self.error or 'no answer'}"
        ) from error

    def check_soon(self) -> None:
        """Check the stream soon: an answer does not fit the stream that was opened."""
        self._check_requested.set()

    async def close(self) -> None:
        """End it; calls that wait for a connection get an error."""
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
        backoff = Backoff(FIRST_DELAY, MAX_DELAY)
        while self._ended is None:
            connection = Connection()
            connection.on_violation = self._violated
            try:
                async with asyncio.timeout(self._timeout):
                    api, info = await self._connect(connection)
                    await self._on_up(api, info)
                raise_if_cancelled()
                self.api, self.error = api, None
                backoff.reset()
                self._is_up.set()
                if not opened.done():
                    opened.set_result(None)
                await self._keep(api)
            except Exception as exc:  # of any kind: a reason to connect again
                self._lost(exc, opened)
            finally:
                self._is_up.clear()
                self.api = None
                self._on_down(self.error or "the connection was lost")
                with suppress(TimeoutError):
                    async with asyncio.timeout(DISCONNECT_TIMEOUT):
                        await connection.abort()
            raise_if_cancelled()
            if self._ended is None:
                await asyncio.sleep(backoff.next())

    async def _connect(self, connection: Connection) -> tuple[StreamApi, Mapping[str, Any]]:
        await connection.open(
            self._urls,
            name=f"edr journal {self._stream}",
            timeout=self._timeout,
            options=self._client,
        )
        api = StreamApi(connection, self._stream, self._timeout)
        return api, await self._verify(api)

    def _lost(self, exc: Exception, opened: asyncio.Future[None]) -> None:
        reason = str(exc) or type(exc).__name__
        is_new, self.error = self.error != reason, reason
        if not opened.done() and isinstance(exc, (JournalError, LinkRefusedError)):
            opened.set_exception(exc if isinstance(exc, JournalError) else JournalError(reason))
        elif is_new and self._ended is None:
            logger.warning("journal %r: %s; trying again", self._stream, reason)

    def _violated(self, words: str) -> None:
        logger.error("journal %r: the server does not permit it: %s", self._stream, words)
        self._on_violation(words)

    async def _verify(self, api: StreamApi) -> Mapping[str, Any]:
        """Return the settings and the state of the stream, after it was created if need be."""
        try:
            info = await self._first_info(api)
        except StreamError as exc:
            if exc.code != NO_SUCH_STREAM:
                raise
            if not self._create:
                raise self._unusable("there is no such stream; create=True makes it") from exc
            info = await api.make(self._config)
        if not self.id:
            fault = self._fault(info)
            if fault is not None:
                raise self._unusable(fault)
            self.id = self._identity(info)
            self.state = info["state"]
            self.first_at_open = self.state["first_seq"]
            if info["config"]["num_replicas"] == 1:
                logger.info(
                    "journal %r has one replica: power loss may cost what its server did not sync; "
                    "see sync_interval there, which is two minutes unless it says otherwise",
                    self._stream,
                )
        return info

    async def _first_info(self, api: StreamApi) -> Mapping[str, Any]:
        """Ask until there is an answer, which a cluster without a leader does not give."""
        while True:
            try:
                if self.id:
                    return await self.info(api, FIRST_INFO_TIMEOUT)
                return await api.info(FIRST_INFO_TIMEOUT)
            except TimeoutError:
                if api.connection.lost.is_set():
                    raise

    def _identity(self, info: Mapping[str, Any]) -> str:
        return f"{self._stream}@{info['created']}"

    def _fault(self, info: Mapping[str, Any]) -> str | None:
        """Return why a journal cannot use the stream as it is; None if it can."""
        if self.id and self.id != self._identity(info):
            return "it was deleted and created again: its positions mean other events"
        config = info["config"]
        needed = {name: self._config[name] for name in ("retention", "subjects")} | _SETTINGS
        for name, value in needed.items():
            found = config.get(name) or value
            # 0 and -1 both mean: no limit.
            if found != value and not (value == -1 and found <= 0):
                return f"its {name} is {found!r}, and a journal needs {value!r}"
        age, window = config.get("max_age") or 0, config.get("duplicate_window") or 0
        least = min(self._config["duplicate_window"], age or self._config["duplicate_window"])
        if window < least:
            return (
                f"its duplicate_window is {window / 1e9:g} s, and a journal needs "
                f"{least / 1e9:g} s or more, else what it sends again is stored twice"
            )
        return None

    def _unusable(self, reason: str) -> JournalUnusableError:
        return JournalUnusableError(reason, f"stream {self._stream}")

    def _end(self, reason: str) -> JournalUnusableError:
        """End the session for good; return the error to raise."""
        if self._ended is None:
            self._ended = error = self._unusable(reason)
            self.error = str(error)
            logger.error("journal %r cannot be used any more: %s", self._stream, error)
            self._on_end(error)
            self._is_up.set()
            if self.api is not None:
                self.api.connection.end(ConnectionError(self.error))
        return self._unusable(reason)

    async def _keep(self, api: StreamApi) -> None:
        """Check the stream regularly, until the connection is lost."""
        lost = asyncio.ensure_future(api.connection.lost.wait())
        try:
            while not lost.done():
                check_soon = asyncio.ensure_future(self._check_requested.wait())
                try:
                    await asyncio.wait(
                        {lost, check_soon}, timeout=STATE_INTERVAL, return_when=FIRST_COMPLETED
                    )
                finally:
                    check_soon.cancel()
                if lost.done():
                    break
                self._check_requested.clear()
                try:
                    await self.info(api)
                    self.error = None
                except StreamError as exc:
                    if not exc.is_temporary:
                        raise
                    self.error = str(exc)  # such as: a leader is being elected
                self._on_state()
        finally:
            lost.cancel()
        raise api.connection.fault or ConnectionError("the connection was lost")
