"""``StreamCursor``: reads the entries of a stream in order, by pull requests.

It requests ``BATCH`` messages at a time from a JetStream consumer, two requests ahead, so that the
next messages arrive before the last ones are used. (``fetch`` of the client library waits for each
batch and makes a subscription for it: twice the cost.)

**Nothing is skipped.** A JetStream consumer numbers its messages. If a number is missing, or the
consumer or the connection is lost, it is created again after the last entry that was read.

**Loss.** Positions of a stream are dense, so a cursor of everything sees each hole. A cursor that
has filters compares its position with the stream's first entry: before it takes an entry that does
not follow the last one, unless ``RetentionBounds`` excludes a loss. One question serves all
messages that have come until then. The gap counts entries of any kind. It can count entries that
the cursor would have passed over, if retention overtakes it between two questions; it never counts
less.

While it waits for an entry, its position moves on to the newest one that the server has passed
over, so that what retention removes later is not taken for a loss.

Invariants: a cancelled call has taken nothing; at most three batches are here and not taken.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from math import inf
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

from uuid_utils import uuid7

from edr.bus import Gap
from edr.delivery import MAX_DELAY
from edr.errors import InvalidEventError
from edr.journal import Entry, JournalError, WrongJournalError
from edr.links.errors import LinkError
from edr.links.log import logger
from edr.links.nats_client import (
    NO_RESPONDERS,
    YIELD_EVERY,
    Connection,
    status_of,
)
from edr.links.stream_api import MessageMetadata, StreamApi, StreamError, parse_reply
from edr.links.stream_retention import EPOCH, RetentionBounds
from edr.links.subject import filters_of, stem_of
from edr.records import Binding, Event

BATCH = 256
"""Messages of a request. More make nothing faster, and a slow consumer holds them."""

PULLS_AHEAD = 2
"""Requests that stand at the server: one is being answered, the other one comes next."""

PULL_EXPIRES = 30.0
"""Seconds for which a request stands, if nothing comes."""

MAX_FILTERS = 32
"""Filters of a JetStream consumer; the server compares each message with each."""

INACTIVE_THRESHOLD = 300.0
"""Seconds without a request after which the server deletes the JetStream consumer of a cursor. The
cursor creates it again."""

RECREATE_INTERVAL = 0.1
"""Seconds between two attempts to make a server consumer that the server keeps ending."""

INFO_INTERVAL = 0.25
"""Seconds without a message after which a cursor that is not known to be caught up asks."""

IDLE_INFO_INTERVAL = 5.0
"""Seconds between two questions while it is caught up and waits, at most."""

MIN_INFO_INTERVAL = 0.05
"""The same, at least."""

CONFLICT = 409


class Start(NamedTuple):
    """Where a cursor starts."""

    after: int | None
    since: datetime | None
    last: int | None

    @property
    def is_now(self) -> bool:
        """Whether it starts after the newest entry."""
        return self == (None, None, None)


def start_of(after: int | None, since: datetime | timedelta | None, last: int | None) -> Start:
    """Return where a cursor starts.

    Raises:
        ValueError: more than one is given, or a wrong one.
    """
    if sum(value is not None for value in (after, since, last)) > 1:
        raise ValueError("give one of after, since and last")
    for name, value in (("after", after), ("last", last)):
        if value is not None and (not isinstance(value, int) or value < 0):
            raise ValueError(f"{name} is a number, 0 or more, not {value!r}")
    if isinstance(since, timedelta):
        if since < timedelta():
            raise ValueError(f"since is a time that has passed, not {since}")
        since = datetime.now(UTC) - since
    if since is not None and since.tzinfo is None:
        raise ValueError("since needs a UTC offset; this one is naive")
    return Start(after, since, last)


class StreamJournal(Protocol):
    """The journal, as its cursors see it."""

    timeout: float
    corrupt: int
    prefix: str

    @property
    def api(self) -> StreamApi | None:
        """The API of the present connection."""
        ...

    @property
    def id(self) -> str:
        """The journal's."""
        ...

    async def connected(self) -> StreamApi:
        """Return the API, waiting for a connection."""
        ...

    async def info(self, api: StreamApi) -> Mapping[str, Any]:
        """Return the settings and the state of the stream, which is the one that was opened."""
        ...

    @property
    def first(self) -> int:
        """The oldest position that is known here."""
        ...

    async def position_before_last(self, bindings: tuple[Binding, ...], count: int) -> int:
        """Return the position before the last ``count`` entries that match."""
        ...

    @property
    def newest(self) -> int:
        """The newest position that is known here."""
        ...

    def remove_cursor(self, cursor: StreamCursor) -> None:
        """Called by a cursor when it was closed."""
        ...


class StreamCursor:
    """Reads the entries of a stream in order; see ``edr.journal.Cursor``."""

    def __init__(
        self, journal: StreamJournal, bindings: tuple[Binding, ...], start: Start, *, live: bool
    ) -> None:
        self._journal = journal
        self._bindings = bindings
        self._start = start
        self._live = live
        self._filters = (
            list(filters_of(*bindings, limit=MAX_FILTERS, prefix=journal.prefix))
            if bindings
            else []
        )
        self.now: asyncio.Future[int] | None = None
        """The newest position when the cursor was created, if it starts there."""
        self._position = 0
        self._is_placed = False
        self._caught_up = False
        self._closed = False
        self._waiting_task: asyncio.Task[Any] | None = None
        # Messages as they arrived, and the entries that were made of them.
        self._raw: deque[tuple[bytes, bytes, bytes]] = deque()
        self._ready: deque[Entry | Gap] = deque()
        self._arrived = asyncio.Event()
        self._retention = RetentionBounds()
        self._recorded_at = EPOCH
        """No entry after the position was recorded earlier."""
        self._covered = 0
        """The number of the last message that had arrived when the state was last requested."""
        self._answered = 0
        """The same, when the answer arrived."""
        self._end: int | None = None
        """The last position of a cursor that is not live."""
        self._fault: str | None = None
        """The error of the server when it did not permit something."""
        self._pause = RECREATE_INTERVAL
        self._idle = IDLE_INFO_INTERVAL
        """Seconds between two requests for the state while it is caught up."""
        self._wait = INFO_INTERVAL
        """Seconds until the next request while it is not."""

        self._api: StreamApi | None = None
        self._listens_on: Connection | None = None
        self._consumer_name = ""
        self._inbox = ""
        self._number = 0
        self._next = 1
        self._batch = BATCH
        self._at_once = YIELD_EVERY
        """Entries that are made of messages before one of them is taken."""
        self._pulls = 0
        self._open_pulls: dict[int, int] = {}
        self._made_at = -inf

    @property
    def position(self) -> int:
        """Where it stands: ``cursor(after=position)`` goes on from here."""
        ready = (item.position - 1 for item in self._ready if isinstance(item, Entry))
        return next(ready, self._position)

    @property
    def caught_up(self) -> bool:
        """Whether it has given everything that was stored when it last looked."""
        return self._caught_up and not self._ready

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Entry | Gap:
        """Return the next entry that is wanted, waiting until there is one.

        Cancellation: safe. A cancelled call has taken nothing.

        Raises:
            JournalError: it cannot be read now; or another task asks it.
            WrongJournalError: it was to begin at a position that the journal never gave.
        """
        if self._ready and self._waiting_task is None and not self._closed:
            return self._ready.popleft()
        while self._waiting_task is not None:
            if not self._waiting_task.cancelling():
                raise JournalError("another task waits for the next entry of this reading")
            await asyncio.sleep(0)  # it was cancelled, and has not had its turn yet
        self._waiting_task = asyncio.current_task()
        try:
            while not self._closed:
                if self._ready:
                    return self._ready.popleft()
                if self._end is not None and self._position >= self._end:
                    await self.aclose()
                elif self._raw:
                    await self._take_some()
                else:
                    await self._fill()
            raise StopAsyncIteration
        finally:
            self._waiting_task = None

    def wake(self) -> None:
        """Wake the waiting call: the connection was lost, or the journal was closed."""
        self._arrived.set()

    def not_permitted(self, subject: str, words: str) -> None:
        """Fail the waiting call, if the server denied a subject of this cursor."""
        if f".{self._consumer_name}".lower() in subject:
            self._fault = words
            self.wake()

    async def aclose(self) -> None:
        """End it. Idempotent."""
        if self._closed:
            return
        self._closed = True
        if self.now is not None:
            self.now.cancel()
        self._journal.remove_cursor(self)
        self._arrived.set()
        await self._leave()
        self._position = self.position  # before the entries that were ready and not returned
        self._ready.clear()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    # The JetStream consumer

    async def _fill(self) -> None:
        """Wait until a message has come, or until something else has happened."""
        try:
            api = await self._journal.connected()
            if api is not self._api:
                await self._consume(api)
                return
            self._pause = RECREATE_INTERVAL
            self._pull(api)
            self._arrived.clear()
            try:
                async with asyncio.timeout(self._patience()):
                    await self._arrived.wait()
                self._wait = INFO_INTERVAL
            except TimeoutError:
                await self._refresh(api)
            self._check_permitted()
        except LinkError as exc:
            self._api = None
            if not (isinstance(exc, StreamError) and exc.is_temporary):
                raise JournalError(f"{self._journal!r} cannot be read now: {exc}") from exc
            # Such as: a leader is being elected. As after a lost connection, it is tried again.
            logger.info("%r: %s; trying again", self._journal, exc)
            await asyncio.sleep(self._pause)
            self._pause = min(2 * self._pause, MAX_DELAY)
        except (ConnectionError, TimeoutError):
            self._api = None  # and again, when there is a new connection
        except JournalError:
            if not self._closed:
                raise

    def _check_permitted(self) -> None:
        if self._fault is not None:
            words, self._fault, self._api = self._fault, None, None
            raise JournalError(f"{self._journal!r} cannot be read: {words}")

    def _patience(self) -> float | None:
        """Return the seconds to wait for a message, before the server is asked what there is."""
        if not self._is_settled:
            return self._wait
        if not self._filters or not self._retention.can_remove:
            return None  # a missing range would be seen, or cannot occur
        return self._idle

    @property
    def _is_settled(self) -> bool:
        """Whether only new entries are expected."""
        return self._caught_up

    async def _refresh(self, api: StreamApi) -> None:
        """Move to the newest entry, if the server has skipped all entries that do not match."""
        self._wait = min(2 * self._wait, IDLE_INFO_INTERVAL)
        last, asked_at = self._retention.last, self._retention.asked_at
        await self._ask_stream(api)
        info = await api.consumer(self._consumer_name)
        if info is None:
            self._api = None
            return
        if self._api is not api or self._raw:
            return
        grown, passed = self._retention.last - last, self._retention.asked_at - asked_at
        if grown:
            # A quarter of the time in which retention removes all that there is now.
            size = self._retention.last - self._retention.first
            self._idle = min(
                IDLE_INFO_INTERVAL, max(MIN_INFO_INTERVAL, passed * size / (4 * grown))
            )
        # A request that waits at the server has found nothing, whatever num_pending says: that can
        # be too high after retention has removed entries.
        most = info["config"].get("max_ack_pending", inf)  # none where none is acknowledged
        waits = info["num_waiting"] and info["num_ack_pending"] < most
        if waits or not info["num_pending"]:
            self._settle(is_idle=True)

    def _settle(self, *, is_idle: bool = False) -> None:  # noqa: ARG002 - for a consumer
        """Stand at the newest entry that there was when the stream was asked."""
        self._caught_up = True
        if self._retention.last > self._position:
            self._position = self._retention.last
            self._recorded_at = self._retention.at

    async def _consume(self, api: StreamApi) -> None:
        """Listen, and create a JetStream consumer after the last entry that was read."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._made_at + RECREATE_INTERVAL - loop.time()))
        self._made_at = loop.time()
        self._raw.clear()
        self._open_pulls.clear()
        self._next = 1
        self._inbox = api.connection.new_inbox()
        if self._listens_on is api.connection:
            await api.connection.unlisten(self._number)
        self._listens_on = api.connection
        self._number = await api.connection.listen(f"{self._inbox}.*", self._on_message)
        await self._make(api)
        self._api = api

    async def _make(self, api: StreamApi) -> None:
        if not self._is_placed:
            self._position = await self._begin(api)
            self._is_placed = True
        await self._ask_stream(api)
        begins = {"deliver_policy": "by_start_sequence", "opt_start_seq": self._position + 1}
        if self._start.since is not None and not self._position:
            since = self._start.since.astimezone(UTC).isoformat()
            begins = {"deliver_policy": "by_start_time", "opt_start_time": since}
        else:
            self._skip_lost(self._retention.first - 1 - self._position)
        self._consumer_name = f"edr-{uuid7().hex}"
        made = await api.create_consumer(
            self._consumer_name,
            {
                **begins,
                "ack_policy": "none",
                "filter_subjects": self._filters,
                "inactive_threshold": int(INACTIVE_THRESHOLD * 1e9),
                "mem_storage": True,
                "num_replicas": 1,
            },
        )
        self._compare_filters(made)
        self._note_pending(made)

    async def _begin(self, api: StreamApi) -> int:
        """Return the position after which it starts."""
        if self.now is not None:
            return await asyncio.shield(self.now)
        last_position = (await self._journal.info(api))["state"]["last_seq"]
        after = self._start.after
        if after is not None:
            if after > last_position:
                raise WrongJournalError(after, self._journal.id)
            return after
        if self._start.last is not None:
            return await self._journal.position_before_last(self._bindings, self._start.last)
        return 0

    async def _leave(self) -> None:
        """Delete the JetStream consumer, if its connection still exists."""
        api = self._api
        if api is not None and api is self._journal.api:
            with suppress(LinkError, ConnectionError, TimeoutError):
                await self._release(api)

    async def _release(self, api: StreamApi) -> None:
        await api.connection.unlisten(self._number)
        await api.delete_consumer(self._consumer_name)

    def _compare_filters(self, info: Mapping[str, Any]) -> None:
        config = info["config"]
        one = [config["filter_subject"]] if config.get("filter_subject") else []
        found = config.get("filter_subjects") or one
        if sorted(found) != sorted(self._filters):
            raise JournalError(f"the server was asked for {self._filters}, and gives {found}")

    async def _ask_stream(self, api: StreamApi) -> None:
        """Ask for the state of the stream; the answer covers the messages that are here now."""
        asked_at, covered = self._now(), self._newest_number
        self._retention.note(await self._journal.info(api), asked_at)
        self._covered, self._answered = covered, self._newest_number

    @property
    def _newest_number(self) -> int:
        """The JetStream consumer's number of the last message that has come."""
        return self._next + len(self._raw) - 1

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _note_pending(self, info: Mapping[str, Any]) -> None:
        self._caught_up = not info["num_pending"]
        if not self._live and self._end is None:
            self._end = self._retention.last
        if self._caught_up:
            self._settle()

    def _pull(self, api: StreamApi) -> None:
        while len(self._open_pulls) < PULLS_AHEAD:
            self._pulls += 1
            self._open_pulls[self._pulls] = self._batch
            api.pull(self._consumer_name, self._batch, PULL_EXPIRES, f"{self._inbox}.{self._pulls}")

    # Its messages

    def _on_message(
        self, number: int, subject: bytes, reply: bytes, payload: bytes, headers: bytes | None
    ) -> None:
        if number != self._number:
            return  # for the JetStream consumer before this one
        status = 0 if payload else status_of(headers)
        if status:
            # The status of a request comes to the request; the messages under their own subjects.
            self._open_pulls.pop(int(subject[subject.rfind(b".") + 1 :]), None)
            if status == NO_RESPONDERS or (status == CONFLICT and b"Completed" not in headers):  # type: ignore[operator]  # it has a status
                self._api = None  # the JetStream consumer is gone, or has moved
        else:
            self._raw.append((subject, reply, payload))
            for pull, left in self._open_pulls.items():  # they are answered one after the other
                if left > 1:
                    self._open_pulls[pull] = left - 1
                else:
                    del self._open_pulls[pull]
                break
        self._arrived.set()

    async def _take_some(self) -> None:
        """Take up to ``YIELD_EVERY`` messages, at most until ``_at_once`` entries are ready."""
        for _ in range(YIELD_EVERY):
            if not self._raw or len(self._ready) >= self._at_once:
                return
            meta = parse_reply(self._raw[0][1])
            if meta.position > self._position + 1 and self._may_hide_a_loss(meta):
                if not self._ready:  # else it is asked when those were taken
                    await self._look()
                return  # the messages may be gone by now
            self._take(meta)
        if not self._ready:
            await asyncio.sleep(0)

    def _may_hide_a_loss(self, meta: MessageMetadata) -> bool:
        """Return whether entries may have been removed unseen, in front of this message."""
        return (
            bool(self._filters)
            and meta.consumer_position > self._covered
            and not self._retention.keeps_all_after(self._position, self._recorded_at, self._now())
        )

    def _take(self, meta: MessageMetadata) -> None:
        """Take a message; its entry is ready then, if it is wanted."""
        subject, reply, payload = self._raw.popleft()
        if meta.consumer_position != self._next:
            self._api = None  # one was lost on the way: again behind the last that was taken
            self._raw.clear()
            return
        self._next += 1
        if self._api is not None and len(self._open_pulls) < PULLS_AHEAD:
            with suppress(ConnectionError):
                self._pull(self._api)
        self._caught_up = not meta.pending
        self._read(meta, subject, reply, payload)
        if self._caught_up and meta.consumer_position > self._answered:
            self._settle()  # the server gave it after it had told what is the last one

    def _read(self, meta: MessageMetadata, subject: bytes, reply: bytes, payload: bytes) -> None:
        if not self._position and self._start.since is not None:
            self._position = meta.position - 1
        if self._end is not None and meta.position > self._end:
            self._position = self._end
            return
        if meta.position == self._position + 1:
            self._position = meta.position
            self._recorded_at = meta.recorded_at
        elif meta.position > self._position:
            first = self._retention.first
            lost_before = min(first, meta.position) if self._filters else meta.position
            self._skip_lost(lost_before - 1 - self._position)
            self._position = meta.position
            self._recorded_at = meta.recorded_at
        event = self._event(subject, payload)
        if event is None:
            self._journal.corrupt += 1
            self._ready.append(Gap(1))
            self._skip(meta.position, reply)
        elif not self._bindings or any(binding.matches(event) for binding in self._bindings):
            self._deliver(Entry(meta.position, meta.recorded_at, event, meta.delivery), reply)
        else:
            self._skip(meta.position, reply)

    def _event(self, subject: bytes, payload: bytes) -> Event | None:
        """Return the event of a message; None if it is invalid or does not fit its subject."""
        try:
            event = Event.from_json(payload)
        except InvalidEventError:
            return None
        stem = subject[: subject.rfind(b".")]
        return event if stem_of(event, self._journal.prefix).encode() == stem else None

    def _deliver(self, entry: Entry, _reply: bytes) -> None:
        self._ready.append(entry)

    def _skip(self, position: int, reply: bytes) -> None:
        """Called for a message that gives no entry; a consumer acknowledges it."""

    def _skip_lost(self, count: int) -> None:
        """Report ``count`` removed entries after the position, and move past them."""
        if count > 0:
            self._position += count
            self._ready.append(Gap(count))

    async def _look(self) -> None:
        """Request the state of the stream. If that fails, create the consumer again."""
        api = self._api
        if api is not None:
            try:
                await self._ask_stream(api)
            except (LinkError, ConnectionError, TimeoutError):
                self._api = None
        if self._api is None:
            self._raw.clear()  # they come again, after the position
