"""``JetStreamJournal``: a journal in a stream of NATS JetStream, which many machines share.

What a journal promises stands in ``edr.journal``. How a stream keeps it: ``stream_appending`` for
what goes in, ``stream_reading`` and ``stream_reader`` for what comes out; here is the rest.

**Full.** With ``discard="new"`` a full stream refuses, and ``append`` waits until there is room:
back-pressure. With ``"old"`` the oldest goes, and readers are told by a ``Gap``.

**Whose stream.** It is verified, never changed; it is made only with ``create=True``, and then its
size must be named. Its name and the time at which it was made are the journal's ``id``: in a stream
that was deleted and made anew, positions mean other events.

**Stored** means that the server has it. A single server writes to its disk at once, but waits for
the disk each two minutes only, unless its ``sync_interval`` is ``always``: an event survives
``kill -9`` there, and power loss with three replicas.

Not as in the embedded journal: several processes may append; a reader that is opened in two of them
at once is shared by them, and neither is told.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Literal, Self

from edr.journal import (
    Entry,
    JournalError,
    JournalStatistics,
    JournalUnusable,
    ReaderInUse,
    ReaderStatus,
)
from edr.links.link import FIRST_PAUSE, LET_GO, LONGEST_PAUSE, LinkRefused, logger
from edr.links.nats_client import Connection
from edr.links.stream_api import NO_SUCH_CONSUMER, NO_SUCH_STREAM, StreamApi, StreamError
from edr.links.stream_appending import Appending
from edr.links.stream_reader import StreamReader, consumer_of, reader_status
from edr.links.stream_reading import Start, StreamReading, start_of
from edr.links.subject import checked_prefix
from edr.records import Binding, Event, checked_bindings

PULSE = 5.0
"""Seconds between two looks at the stream: whether the connection lives, and what is in it."""

DUPLICATES = 120.0
"""Seconds for which the stream knows an id again."""

_FAULTS = (StreamError, ConnectionError, TimeoutError)
_STREAM = re.compile(r"[A-Za-z0-9_-]{1,64}")


class JetStreamJournal:
    """A journal in a stream of a NATS server of version 2.10 or newer, with JetStream.

    Args:
        url: of a server, or of several of one cluster.
        stream: its name.
        bindings: what a bus shall give it; without one, what the default binding matches.
        create: make the stream if it is not there.
        max_bytes: of a stream that is made; must be named then.
        max_age: of a stream that is made: entries that are older go.
        max_events: of a stream that is made.
        discard: of a stream that is made, once it is full: ``"new"`` lets ``append`` wait,
            ``"old"`` removes the oldest entries.
        replicas: of a stream that is made: 3 in a cluster.
        prefix: of the subjects; two journals on one server take two.
        max_pending: events that may be accepted and not stored.
        timeout: seconds to connect, to be answered, and to store what is left at the end.
        client: further arguments of ``nats.connect``.
    """

    def __init__(
        self,
        url: str | Sequence[str],
        stream: str,
        *bindings: Binding,
        create: bool = False,
        max_bytes: int | None = None,
        max_age: timedelta | None = None,
        max_events: int | None = None,
        discard: Literal["new", "old"] = "new",
        replicas: int = 1,
        prefix: str | None = None,
        max_pending: int = 16_384,
        timeout: float = 10.0,
        client: Mapping[str, Any] | None = None,
    ) -> None:
        if not _STREAM.fullmatch(stream):
            raise ValueError(
                f"the name of a stream is up to 64 letters, digits, '_' and '-', not {stream!r}"
            )
        if create and not max_bytes:
            raise ValueError("name max_bytes for a stream that is made: a full disk is worse")
        self._urls = [url] if isinstance(url, str) else list(url)
        self._stream = stream
        self._bindings = bindings or (Binding(),)
        self._create = create
        self.prefix = checked_prefix(prefix or f"edr-journal.{stream}")
        self._config = {
            "name": stream,
            "subjects": [f"{self.prefix}.>"],
            "retention": "limits",
            "storage": "file",
            "discard": discard,
            "max_bytes": max_bytes or -1,
            "max_msgs": max_events or -1,
            "max_age": int((max_age or timedelta()).total_seconds() * 1e9),
            "duplicate_window": int(DUPLICATES * 1e9),
            "num_replicas": replicas,
        }
        self.timeout = timeout
        self.corrupt = 0
        self._client = dict(client or {})
        self._appending = Appending(stream, self.prefix, max_pending)

        self._id = ""
        self._task: asyncio.Task[None] | None = None
        self._opened: asyncio.Future[None] | None = None
        self._is_up = asyncio.Event()
        self._closed = False
        self.api: StreamApi | None = None
        """Of the connection that there is now."""
        self._state: dict[str, Any] = {"first_seq": 0, "last_seq": 0, "bytes": 0}
        self._bytes_then = 0
        self._first_at_open = 0
        self._error: str | None = None
        self._readings: set[StreamReading] = set()
        self._readers: dict[str, StreamReader] = {}

    def __repr__(self) -> str:
        return f"<JetStreamJournal {self._stream!r}>"

    @property
    def id(self) -> str:
        """The stream's name, and the time at which it was made."""
        if not self._id:
            raise JournalError(f"{self!r} was not opened yet")
        return self._id

    @property
    def bindings(self) -> tuple[Binding, ...]:
        """What a bus shall give it."""
        return self._bindings

    # Life

    async def open(self) -> None:
        """Connect, and verify the stream, or make it.

        Raises:
            JournalUnusable: there is no such stream, or it is none for events.
            JournalError: no server was reached within ``timeout``; or it was closed.
        """
        self._check_open()
        if self._opened is None:
            loop = asyncio.get_running_loop()
            self._opened = loop.create_future()
            self._task = loop.create_task(self._run(self._opened), name=f"edr {self!r}")
        opened = self._opened
        if opened.done() and not opened.cancelled() and opened.exception() is None:
            return
        await asyncio.wait({opened}, timeout=self.timeout)
        if opened.done() and opened.exception() is None:
            return
        if self._opened is opened:
            self._opened = None  # it may be tried again
            await self._stop()
        if opened.done():
            opened.result()
        raise JournalError(f"{self!r}: no server was reached: {self._error}")

    def _check_open(self) -> None:
        if self._closed:
            raise JournalError(f"{self!r} was closed")

    async def _run(self, opened: asyncio.Future[None]) -> None:
        pause = FIRST_PAUSE
        while True:
            connection = Connection()
            try:
                async with asyncio.timeout(self.timeout):
                    await connection.open(
                        self._urls,
                        name=f"edr journal {self._stream}",
                        timeout=self.timeout,
                        options=self._client,
                    )
                    api = StreamApi(connection, self._stream, self.timeout)
                    await self._verify(api)
                    await self._appending.begin(api)
                self.api, self._error, pause = api, None, FIRST_PAUSE
                self._is_up.set()
                if not opened.done():
                    opened.set_result(None)
                await self._keep(api)
            except Exception as exc:  # of the library, the server, or ours: a reason to try anew
                self._lost(exc, opened)
            finally:
                self._is_up.clear()
                self.api = None
                self._appending.end()
                for reading in list(self._readings):
                    reading.wake()
                with suppress(TimeoutError):
                    async with asyncio.timeout(LET_GO):
                        await connection.abort()
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _lost(self, exc: Exception, opened: asyncio.Future[None]) -> None:
        reason = str(exc) or type(exc).__name__
        if self._error != reason:
            self._error = reason
            logger.warning("journal %r: %s; trying again", self._stream, reason)
        if not opened.done() and isinstance(exc, (JournalError, LinkRefused)):
            opened.set_exception(exc if isinstance(exc, JournalError) else JournalError(reason))

    async def _verify(self, api: StreamApi) -> None:
        try:
            info = await api.info()
        except StreamError as exc:
            if exc.code != NO_SUCH_STREAM:
                raise
            if not self._create or self._id:
                raise self._unusable("there is no such stream; create=True makes it") from exc
            info = await api.make(self._config)
        config = info["config"]
        for name in ("retention", "subjects"):
            if config[name] != self._config[name]:
                raise self._unusable(
                    f"its {name}: {config[name]!r}, where a journal needs {self._config[name]!r}"
                )
        identity = f"{self._stream}@{info['created']}"
        if self._id and self._id != identity:
            raise self._unusable("it was deleted and made anew: its positions mean other events")
        if not self._id:
            self._id = identity
            self._first_at_open = info["state"]["first_seq"]
            if config["num_replicas"] == 1:
                logger.info(
                    "journal %r has one replica: power loss may cost what its server did not sync; "
                    "see sync_interval there, which is two minutes unless it says otherwise",
                    self._stream,
                )
        self._note(info)

    def _note(self, info: Mapping[str, Any]) -> None:
        self._state = info["state"]
        self._bytes_then = self._appending.bytes

    def _unusable(self, reason: str) -> JournalUnusable:
        return JournalUnusable(reason, f"stream {self._stream}")

    async def _keep(self, api: StreamApi) -> None:
        """Look after the connection, until it is lost."""
        lost = api.connection.lost
        while not lost.is_set():
            oldest = self._appending.oldest
            with suppress(TimeoutError):
                async with asyncio.timeout(PULSE):
                    await lost.wait()
                    break
            self._note(await api.info())
            if oldest and self._appending.oldest == oldest:
                self._appending.send_again()  # a server that lost its lead may not have answered
        raise api.connection.fault or ConnectionError("the connection was lost")

    async def connected(self) -> StreamApi:
        """Return the API, waiting for a connection.

        Raises:
            JournalError: the journal is closed.
        """
        await self.open()
        while self.api is None:
            await self._is_up.wait()
            self._check_open()
        return self.api

    async def _stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    async def aclose(self) -> None:
        """Store what was accepted, within ``timeout``, and the acks, and close. Idempotent."""
        if self._closed:
            return
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(self.timeout):
                    await self._appending.flush()
                    for reading in list(self._readings):
                        await reading.aclose()
        finally:
            self._closed = True
            self._appending.close()
            await self._stop()
            self._is_up.set()  # whoever waits for it shall see that it is closed
            for reading in list(self._readings):
                await reading.aclose()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    # Append

    async def append(self, *events: Event) -> int:
        """Store ``events``, and return the position of the last; see ``Journal.append``.

        While the server is away, or the stream is full, it waits.

        Raises:
            JournalError: one is too large for the server, and is named; or the journal was closed.
        """
        await self.open()
        return await self._appending.append(events) if events else await self.flush()

    def append_nowait(self, event: Event) -> bool:
        """Accept ``event``, to be stored soon; False if there is no room, or it is too large."""
        self._check_open()
        return self._appending.append_nowait(event)

    async def room(self) -> None:
        """Return when ``append_nowait`` would accept an event, or when waiting is no use."""
        await self._appending.room()

    async def flush(self) -> int:
        """Return when all that was accepted before is stored; the newest position."""
        await self.open()
        await self._appending.flush()
        return await self._newest()

    # Read

    def read(
        self,
        *bindings: Binding,
        after: int | None = None,
        since: datetime | timedelta | None = None,
        last: int | None = None,
        live: bool = True,
    ) -> StreamReading:
        """Return the entries that any of ``bindings`` matches; see ``Journal.read``."""
        self._check_open()
        start = start_of(after, since, last)
        bindings = checked_bindings(bindings) if bindings else ()
        reading = StreamReading(self, bindings, start, live=live)
        self._readings.add(reading)
        if start.is_now:
            reading.now = asyncio.ensure_future(self._now(self._appending.accepted))
            reading.now.add_done_callback(lambda done: done.cancelled() or done.exception())
        return reading

    async def _now(self, accepted: int) -> int:
        """Return the newest position, but none of what was accepted here after ``accepted``.

        The server answers when it comes to it, and may have stored by then what was appended after
        the question.
        """
        first_after = self._appending.after(accepted)
        newest = await self._newest()
        if self._appending.accepted > accepted:
            await self._appending.flush()
            if first_after.done():
                return min(newest, first_after.result() - 1)
        return newest

    async def _newest(self) -> int:
        while True:
            try:
                self._note(await (await self.connected()).info())
                return int(self._state["last_seq"])
            except StreamError as exc:
                raise JournalError(f"{self!r} cannot be asked now: {exc}") from exc
            except (ConnectionError, TimeoutError):
                continue  # there will be another connection

    @property
    def newest(self) -> int:
        """The newest position that is known here."""
        return max(int(self._state["last_seq"]), self._appending.newest)

    async def position_before_last(self, bindings: tuple[Binding, ...], count: int) -> int:
        """Return behind which position the last ``count`` entries are that match.

        By reading ever longer ends of the stream: a server cannot look into bodies.
        """
        newest = await self._newest()
        if not count:
            return newest
        before_first = int(self._state["first_seq"]) - 1
        span = count
        while True:
            after = max(before_first, newest - span)
            found: list[int] = []
            async with StreamReading(self, bindings, Start(after, None, None), live=False) as ends:
                self._readings.add(ends)
                async for item in ends:
                    if isinstance(item, Entry) and item.position <= newest:
                        found.append(item.position)  # noqa: PERF401 - of a few, at the end
            if len(found) >= count or after == before_first:
                return found[-count:][0] - 1 if found else newest
            span *= 8

    async def reader(
        self,
        name: str,
        *bindings: Binding,
        start: Literal["oldest", "now"] | int = "oldest",
        max_unacked: int = 1024,
        rebind: bool = False,
    ) -> StreamReader:
        """Open the reader ``name``, where it was; see ``Journal.reader``."""
        consumer_of(name)
        if max_unacked < 1:
            raise ValueError(f"max_unacked is 1 or more, not {max_unacked}")
        if start not in ("oldest", "now") and (not isinstance(start, int) or start < 0):
            raise ValueError(f'start is "oldest", "now" or a position, not {start!r}')
        self._check_open()
        if name in self._readers:
            raise ReaderInUse(name)
        bindings = checked_bindings(bindings) if bindings else ()
        reader = StreamReader(self, name, bindings, start, max_unacked, rebind=rebind)
        self._readers[name] = reader
        self._readings.add(reader)
        try:
            if start == "now":
                await self.flush()
            await reader.open()
        except BaseException:
            self.is_done(reader)
            raise
        return reader

    async def readers(self) -> tuple[ReaderStatus, ...]:
        """Return the state of every reader that there is, open or not, by name."""
        api = await self.connected()
        try:
            newest = (await api.info())["state"]["last_seq"]
            found = [
                reader_status(consumer, newest, self._readers) async for consumer in api.consumers()
            ]
        except _FAULTS as exc:
            raise JournalError(f"{self!r} cannot be asked now: {exc}") from exc
        return tuple(sorted(status for status in found if status is not None))

    async def forget(self, name: str) -> None:
        """Delete what is remembered of the reader ``name``; no entry is touched.

        Raises:
            ReaderInUse: it is open.
            JournalError: there is no such reader.
        """
        if name in self._readers:
            raise ReaderInUse(name)
        api = await self.connected()
        try:
            await api.delete_consumer(consumer_of(name))
        except StreamError as exc:
            if exc.code == NO_SUCH_CONSUMER:
                raise JournalError(f"there is no reader {name!r}") from exc
            raise JournalError(str(exc)) from exc

    def is_done(self, reading: StreamReading) -> None:
        """Hear that a reading has ended."""
        self._readings.discard(reading)
        if isinstance(reading, StreamReader) and self._readers.get(reading.name) is reading:
            del self._readers[reading.name]

    def statistics(self) -> JournalStatistics:
        """Return the counts of this moment; those of the stream are some seconds old, at most."""
        appending = self._appending
        newest = self.newest
        return JournalStatistics(
            first=min(max(1, self._state["first_seq"]), newest) if newest else 0,
            last=newest,
            bytes=self._state["bytes"] + appending.bytes - self._bytes_then,
            appended=appending.appended,
            waiting=appending.waiting,
            lost=max(0, self._state["first_seq"] - max(1, self._first_at_open)),
            corrupt=self.corrupt,
            failed=appending.failed,
            error=self._error or appending.error,
        )
