"""``JetStreamJournal``: a journal in a stream of NATS JetStream, which many machines share.

``edr.journal`` documents the promises of a journal. This class joins the parts that keep them:
``stream_appender`` stores events, ``stream_cursor`` and ``stream_consumer`` read them, and
``stream_session`` holds the connection and verifies the stream.

**Full.** With ``discard="new"`` a full stream refuses, and ``append`` waits until there is room,
for at most ``timeout`` seconds: back-pressure. With ``"old"`` the oldest entry is removed, and
consumers get a ``Gap``.

**Stored** means that the server has it. A single server writes to its disk at once, but waits for
the disk each two minutes only, unless its ``sync_interval`` is ``always``: an event survives
``kill -9`` there, and power loss with three replicas.

Unlike the embedded journal, several processes may append. A consumer that two processes open at
once is shared between them without an error.
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
    ConsumerInUseError,
    ConsumerStatus,
    Entry,
    JournalError,
    JournalStatistics,
    JournalUnusableError,
)
from edr.journal.draining import settle
from edr.journal.options import check_consumer, check_seconds, checked_bindings
from edr.journal.receipts import Receipt
from edr.links.errors import LinkError
from edr.links.log import logger
from edr.links.nats_client import address_of, checked_options, denied_by
from edr.links.stream_api import NO_SUCH_CONSUMER, StreamApi, StreamError
from edr.links.stream_appender import Appender
from edr.links.stream_consumer import StreamConsumer
from edr.links.stream_cursor import StreamCursor
from edr.links.stream_metadata import bookmark_of, consumer_of, consumer_status
from edr.links.stream_session import StreamSession
from edr.links.stream_start import Start, start_of
from edr.links.subject import checked_prefix
from edr.records import Binding, Event

DUPLICATES = 120.0
"""Seconds for which the stream knows an id again."""

STATE_RETRY_DELAY = 0.25
"""Seconds between two questions for the newest position, while it cannot be asked."""

_FAULTS = (LinkError, ConnectionError, TimeoutError)
_STREAM = re.compile(r"[A-Za-z0-9_-]{1,64}")


class JetStreamJournal:
    """A journal in a stream of a NATS server of version 2.10 or newer, with JetStream.

    Args:
        url: of a server, or of several of one cluster.
        stream: its name.
        bindings: of the events that a bus passes to it; without one, what the default binding
            matches.
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
        urls = [url] if isinstance(url, str) else list(url)
        where = ",".join(address_of(each) for each in urls)
        self._stream = stream
        self._bindings = bindings or (Binding(),)
        self.prefix: str = checked_prefix(prefix or f"edr-journal.{stream}")
        age = (max_age or timedelta()).total_seconds()
        config = {
            "name": stream,
            "subjects": [f"{self.prefix}.>"],
            "retention": "limits",
            "storage": "file",
            "discard": discard,
            "max_bytes": max_bytes or -1,
            "max_msgs": max_events or -1,
            "max_age": int(age * 1e9),
            # A server takes none that is longer than max_age.
            "duplicate_window": int(min(DUPLICATES, age or DUPLICATES) * 1e9),
            "num_replicas": replicas,
        }
        self.timeout = timeout
        self.corrupt = 0
        self._appender = Appender(
            stream, self.prefix, max_pending, timeout, on_mismatch=self._check_soon
        )
        self._session = StreamSession(
            urls,
            where,
            config,
            create=create,
            timeout=timeout,
            client=checked_options(client),
            on_up=self._up,
            on_down=self._down,
            on_state=self._on_state,
            on_end=self._ended,
            on_violation=self._violated,
        )
        self._cursors: set[StreamCursor] = set()
        self._consumers: dict[str, StreamConsumer] = {}

    def __repr__(self) -> str:
        return f"<JetStreamJournal {self._stream!r}>"

    @property
    def id(self) -> str:
        """The stream's name, and the time at which it was made."""
        if not self._session.id:
            raise JournalError(f"{self!r} was not opened yet")
        return self._session.id

    @property
    def api(self) -> StreamApi | None:
        """The API of the connection that there is now."""
        return self._session.api

    @property
    def bindings(self) -> tuple[Binding, ...]:
        """The bindings of the events that a bus passes to it."""
        return self._bindings

    def set_bindings(self, bindings: tuple[Binding, ...]) -> None:
        """Replace ``bindings``; see ``Journal``. Users call ``Bus.record``."""
        self._bindings = bindings

    # Life

    async def open(self) -> None:
        """Connect, and verify the stream, or make it.

        Raises:
            JournalUnusableError: the stream does not exist, or a journal cannot use it.
            JournalError: no server was reached within ``timeout``; or it was closed.
        """
        await self._session.open()

    async def connected(self) -> StreamApi:
        """Return the API, waiting for a connection.

        Raises:
            JournalError: the journal is closed.
        """
        return await self._session.connected()

    async def info(self, api: StreamApi) -> Mapping[str, Any]:
        """Return the settings and the state of the stream; see ``StreamSession.info``."""
        return await self._session.info(api)

    async def _up(self, api: StreamApi, info: Mapping[str, Any]) -> None:
        await self._appender.begin(api, info["config"]["max_bytes"], info["state"]["last_seq"])

    def _down(self, reason: str) -> None:
        self._appender.end(reason)
        self._wake()

    def _on_state(self) -> None:
        for consumer in self._consumers.values():
            consumer.checkpoint_if_due()

    def _ended(self, error: JournalError) -> None:
        self._appender.fail(error)
        self._wake()

    def _violated(self, words: str) -> None:
        self._appender.not_permitted(words)
        _, subject = denied_by(words) or ("", "")
        for cursor in list(self._cursors):
            cursor.not_permitted(subject, words)

    def _wake(self) -> None:
        for cursor in list(self._cursors):
            cursor.wake()

    def _check_soon(self) -> None:
        self._session.check_soon()

    async def drain(self, timeout: float | None = None) -> int:
        """Wait until the handlers of consumers have finished, and close; see ``Journal``."""
        if timeout is not None:
            check_seconds("timeout", timeout)
        failed = self.statistics().failed
        try:
            left = await settle(lambda: list(self._consumers.values()), timeout)
            if left:
                logger.warning(
                    "%r closes, and consumers did not acknowledge all entries: %s",
                    self,
                    ", ".join(f"{name!r} {count}" for name, count in left.items()),
                )
        finally:
            await self.aclose()
        return self.statistics().failed - failed

    async def aclose(self) -> None:
        """Store what was accepted, within ``timeout``, and the acks, and close. Idempotent."""
        if self._session.is_closed:
            return
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(self.timeout):
                    await self._appender.drain()
                    await self._end_cursors()
        finally:
            self._appender.close()
            await self._session.close()
            await self._end_cursors()

    async def _end_cursors(self) -> None:
        for cursor in list(self._cursors):
            with suppress(JournalError):  # it is logged
                await cursor.aclose()

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

        While the server is away, or the stream or the account is full, it waits, at most until
        nothing was stored for ``timeout`` seconds. The events stay accepted then, and may yet be
        stored, unless the error is a ``JournalFullError``.

        Raises:
            EventsRefusedError: the server will never take some of them: they are too large, or not
                permitted. The others are stored.
            JournalFullError: the stream, the account or the server is full.
            JournalUnusableError: the stream was deleted, created again or changed: it is final.
            JournalError: the server is away, or does not answer; or the journal was closed.
        """
        await self.open()
        return await self._appender.append(events) if events else await self.flush()

    def append_nowait(self, event: Event) -> bool:
        """Accept ``event``, to be stored soon; return False if the journal is full.

        One that the server then refuses for good is counted as ``failed`` and logged, and the next
        ``flush`` raises for it.
        """
        self._session.check_open()
        return self._appender.append_nowait(event)

    def report_refused(self, event: Event, reason: str) -> None:
        """Report ``event`` by the next ``flush``; see ``Journal.report_refused``."""
        self._appender.report_refused(event, reason)

    def submit(self, event: Event) -> Receipt | None:
        """Accept ``event``, and return a receipt to await; None if the journal is full.

        Raises:
            JournalError: the journal was closed, or its stream cannot be used any more.
        """
        self._session.check_open()
        return self._appender.submit(event)

    async def room(self) -> None:
        """Return when ``append_nowait`` would accept an event, or when waiting cannot help."""
        await self._appender.room()

    async def flush(self) -> int:
        """Return when all that was accepted before is stored; the newest position.

        Raises:
            EventsRefusedError, JournalFullError, JournalError: as ``append``; see
                ``Journal.flush``.
        """
        await self.open()
        await self._appender.flush()
        return int((await self._session.look())["last_seq"])

    # Read

    def cursor(
        self,
        *bindings: Binding,
        after: int | None = None,
        since: datetime | timedelta | None = None,
        last: int | None = None,
        live: bool = True,
    ) -> StreamCursor:
        """Return the entries that any of ``bindings`` matches; see ``Journal.cursor``."""
        self._session.check_open()
        start = start_of(after, since, last)
        bindings = checked_bindings(bindings)
        cursor = StreamCursor(self, bindings, start, live=live)
        self._cursors.add(cursor)
        if start.is_now:
            cursor.now = asyncio.ensure_future(self._now(self._appender.accepted))
            cursor.now.add_done_callback(lambda done: done.cancelled() or done.exception())
        return cursor

    async def _now(self, accepted: int) -> int:
        """Return the newest position, without events accepted here after ``accepted``.

        The server answers when it comes to it, and may have stored by then what was appended after
        the question.
        """
        first_after = self._appender.after(accepted)
        while True:
            try:
                newest = int((await self._session.look())["last_seq"])
                if self._appender.accepted > accepted:
                    await self._appender.settle()
                    if first_after.done():
                        return min(newest, first_after.result() - 1)
            except JournalUnusableError:
                raise
            except JournalError:  # it cannot be asked now
                self._session.check_open()
                await asyncio.sleep(STATE_RETRY_DELAY)
            else:
                return newest

    @property
    def first(self) -> int:
        """The oldest known position."""
        return int(self._session.state["first_seq"])

    @property
    def newest(self) -> int:
        """The newest known position."""
        return max(int(self._session.state["last_seq"]), self._appender.newest)

    async def position_before_last(self, bindings: tuple[Binding, ...], count: int) -> int:
        """Return the position before the last ``count`` entries that match.

        It reads longer and longer ends of the stream: a server cannot match bodies.
        """
        state = await self._session.look()
        newest, before_first = int(state["last_seq"]), int(state["first_seq"]) - 1
        if not count:
            return newest
        span = count
        while True:
            after = max(before_first, newest - span)
            found: list[int] = []
            async with StreamCursor(self, bindings, Start(after, None, None), live=False) as ends:
                self._cursors.add(ends)
                async for item in ends:
                    if isinstance(item, Entry) and item.position <= newest:
                        found.append(item.position)  # noqa: PERF401 - of a few, at the end
            if len(found) >= count or after == before_first:
                return found[-count:][0] - 1 if found else newest
            span *= 8

    async def consumer(
        self,
        name: str,
        *bindings: Binding,
        start: Literal["oldest", "now"] | int = "oldest",
        max_unacked: int = 1024,
        rebind: bool = False,
    ) -> StreamConsumer:
        """Open the consumer ``name``, where it was; see ``Journal.consumer``."""
        check_consumer(name, start, max_unacked)
        self._session.check_open()
        if name in self._consumers:
            raise ConsumerInUseError(name)
        bindings = checked_bindings(bindings)
        consumer = StreamConsumer(self, name, bindings, start, max_unacked, rebind=rebind)
        self._consumers[name] = consumer
        self._cursors.add(consumer)
        try:
            if start == "now":
                await self._appender.settle()
            await consumer.open()
        except BaseException:
            self.remove_cursor(consumer)
            raise
        return consumer

    async def consumers(self) -> tuple[ConsumerStatus, ...]:
        """Return the state of every consumer that there is, open or not, by name."""
        api = await self._session.soon()
        try:
            newest = (await self.info(api))["state"]["last_seq"]
            found = [
                consumer_status(info, newest, self._consumers) async for info in api.consumers()
            ]
        except _FAULTS as exc:
            raise JournalError(f"{self!r} cannot be asked now: {exc}") from exc
        return tuple(sorted(status for status in found if status is not None))

    async def forget(self, name: str) -> None:
        """Delete the consumer ``name``. The entries stay.

        Raises:
            ConsumerInUseError: it is open.
            JournalError: the consumer does not exist.
        """
        if name in self._consumers:
            raise ConsumerInUseError(name)
        api = await self._session.soon()
        try:
            with suppress(StreamError):  # of a rebind that was interrupted
                await api.delete_consumer(bookmark_of(name))
            await api.delete_consumer(consumer_of(name))
        except _FAULTS as exc:
            if isinstance(exc, StreamError) and exc.code == NO_SUCH_CONSUMER:
                raise JournalError(f"there is no consumer {name!r}") from exc
            raise JournalError(f"{self!r} cannot forget consumer {name!r} now: {exc}") from exc

    def remove_cursor(self, cursor: StreamCursor) -> None:
        """Called by a cursor when it was closed."""
        self._cursors.discard(cursor)
        if isinstance(cursor, StreamConsumer) and self._consumers.get(cursor.name) is cursor:
            del self._consumers[cursor.name]

    def statistics(self) -> JournalStatistics:
        """Return the counts of this moment; those of the stream are some seconds old, at most."""
        appending, state, newest = self._appender, self._session.state, self.newest
        # Entries stored since the last check count with the mean size of those stored here.
        unseen = newest - state["last_seq"]
        mean = appending.bytes // appending.appended if appending.appended else 0
        return JournalStatistics(
            first=min(max(1, state["first_seq"]), newest) if newest else 0,
            last=newest,
            bytes=state["bytes"] + unseen * mean,
            appended=appending.appended,
            waiting=appending.waiting,
            lost=max(0, state["first_seq"] - max(1, self._session.first_at_open)),
            corrupt=self.corrupt,
            failed=appending.failed,
            error=self._session.error or appending.error,
        )
